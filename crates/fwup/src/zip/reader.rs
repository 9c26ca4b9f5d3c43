//! Reading entries one after the other, front to back.

use std::{collections::BTreeSet, fmt, io::Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::{
    CENTRAL, DESCRIPTOR, END, END64, LOCAL, Written, descriptor,
    header::{self, LocalHeader, Method},
    source::Source,
};
use crate::{caps, error::Error};

/// What is known of an entry before its bytes are read.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Checked name; a folder's ends with a slash.
    pub(crate) name: String,
    /// Bytes when unpacked, if the header tells.
    pub(crate) size: Option<u64>,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
}

/// The entry that is being read.
#[derive(Debug)]
struct Current {
    header: LocalHeader,
    compressed: u64,
    size: u64,
    crc: crc32fast::Hasher,
    /// The compressed stream has said that it ends.
    stream_ended: bool,
    /// The entry's end was checked.
    finished: bool,
}

/// Reads a ZIP archive as a stream. It stops at the central directory and reads nothing behind it on purpose.
pub(crate) struct ZipReader<R> {
    source: Source<R>,
    inflate: Decompress,
    current: Option<Current>,
    names: BTreeSet<String>,
    ended: bool,
}

impl<R> fmt::Debug for ZipReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZipReader")
            .field("source", &self.source)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

impl<R: Read> ZipReader<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            source: Source::new(reader),
            inflate: Decompress::new(false),
            current: None,
            names: BTreeSet::new(),
            ended: false,
        }
    }

    /// Goes to the next entry; what is left of the current one is passed over. None at the end of the archive.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.pass_over(u64::MAX)?;
        if self.ended || !self.at_entry()? {
            self.ended = true;
            return Ok(None);
        }
        let header = header::read(&mut self.source).map_err(|error| error.at("", self.source.offset()))?;
        if self.names.len() >= caps::ENTRIES_MAX {
            return Err(self.source.corrupt(&header.name, "there are too many entries"));
        }
        if !self.names.insert(header.name.clone()) {
            return Err(Error::DuplicateEntry { name: header.name }.at("", self.source.offset()));
        }
        let entry = Entry {
            name: header.name.clone(),
            size: header.size,
            mtime: header.mtime,
        };
        self.inflate.reset(false);
        self.current = Some(Current {
            header,
            compressed: 0,
            size: 0,
            crc: crc32fast::Hasher::new(),
            stream_ended: false,
            finished: false,
        });
        Ok(Some(entry))
    }

    /// Whether a local header follows; false at the central directory and at a clean end.
    fn at_entry(&mut self) -> Result<bool, Error> {
        let first = self.source.offset() == 0;
        let bytes = self.source.fill(4)?;
        match bytes.get(..4) {
            Some(mark) if *mark == LOCAL => Ok(true),
            Some(mark) if [CENTRAL, END, END64].iter().any(|end| mark == end) => Ok(false),
            _ if first => Err(Error::NotAnArchive),
            None if bytes.is_empty() => Ok(false),
            None => Err(self.source.truncated("an entry's header")),
            Some(_) => Err(self
                .source
                .corrupt("the archive", "something that is no entry follows an entry")),
        }
    }

    /// Reads unpacked bytes of the current entry. 0 means that the entry ended and that its checksum and sizes agree.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let Some(current) = self.current.as_mut() else {
            return Ok(0);
        };
        if current.finished || buf.is_empty() {
            return Ok(0);
        }
        let count = match current.header.method {
            Method::Deflated => read_deflated(&mut self.source, &mut self.inflate, current, buf)?,
            Method::Stored => read_stored(&mut self.source, current, buf)?,
        };
        current.crc.update(&buf[..count]);
        current.size += count as u64;
        let place = &current.header.name;
        if current.header.size.is_some_and(|size| current.size > size) {
            return Err(self.source.corrupt(place, "it is longer than its header says"));
        }
        if count == 0 {
            finish(&mut self.source, current)?;
        }
        Ok(count)
    }

    /// Passes over the rest of the current entry, without unpacking it where its length is known. Else it is an error
    /// when the entry has more than `most` bytes.
    pub(crate) fn pass_over(&mut self, most: u64) -> Result<(), Error> {
        let Some(current) = self.current.as_mut() else {
            return Ok(());
        };
        if let (Some(compressed), false, false) =
            (current.header.compressed, current.header.descriptor, current.finished)
        {
            while current.compressed < compressed {
                let available = self.source.fill(1)?.len();
                if available == 0 {
                    return Err(self.source.truncated(&current.header.name));
                }
                let count = (compressed - current.compressed).min(available as u64);
                self.source.consume(count as usize);
                current.compressed += count;
            }
        } else {
            let mut scratch = [0; 8192];
            while self.read(&mut scratch)? > 0 {
                if let Some(current) = self.current.as_ref().filter(|current| current.size > most) {
                    let reason = format!("it is passed over, and has more than {most} bytes");
                    return Err(self.source.corrupt(&current.header.name, reason));
                }
            }
        }
        self.current = None;
        Ok(())
    }

    /// How the current entry is packed, when it was read to its end: whether it is stored, and its checksum and sizes.
    pub(crate) fn packed(&self) -> Option<(bool, Written)> {
        let current = self.current.as_ref().filter(|current| current.finished)?;
        let written = Written {
            crc: current.crc.clone().finalize(),
            compressed: current.compressed,
            size: current.size,
        };
        Some((current.header.method == Method::Stored, written))
    }

    /// Bytes of the archive that were used so far.
    pub(crate) fn offset(&self) -> u64 {
        self.source.offset()
    }
}

fn read_deflated<R: Read>(
    source: &mut Source<R>,
    inflate: &mut Decompress,
    current: &mut Current,
    buf: &mut [u8],
) -> Result<usize, Error> {
    if current.stream_ended {
        return Ok(0);
    }
    loop {
        let available = source.fill(1)?;
        let left = current
            .header
            .compressed
            .map_or(u64::MAX, |all| all - current.compressed);
        let input = &available[..available.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        let at_end = input.is_empty();
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(input, buf, FlushDecompress::None);
        let used = inflate.total_in() - before_in;
        let made = (inflate.total_out() - before_out) as usize;
        source.consume(used as usize);
        current.compressed += used;
        match status {
            Err(_) => return Err(source.corrupt(&current.header.name, "its compressed data is damaged")),
            Ok(Status::StreamEnd) => {
                current.stream_ended = true;
                return Ok(made);
            }
            Ok(_) if made > 0 => return Ok(made),
            Ok(_) if at_end && left == 0 => {
                return Err(source.corrupt(&current.header.name, "its compressed data does not end"));
            }
            Ok(_) if at_end => return Err(source.truncated(&current.header.name)),
            Ok(_) if used == 0 => return Err(source.corrupt(&current.header.name, "its compressed data is damaged")),
            Ok(_) => {}
        }
    }
}

fn read_stored<R: Read>(source: &mut Source<R>, current: &mut Current, buf: &mut [u8]) -> Result<usize, Error> {
    let count = match current.header.compressed {
        Some(all) => {
            let left = all - current.compressed;
            let available = source.fill(1)?;
            if available.is_empty() && left > 0 {
                return Err(source.truncated(&current.header.name));
            }
            available
                .len()
                .min(buf.len())
                .min(usize::try_from(left).unwrap_or(usize::MAX))
        }
        None => until_descriptor(source, current)?.min(buf.len()),
    };
    buf[..count].copy_from_slice(&source.buffered()[..count]);
    source.consume(count);
    current.compressed += count as u64;
    Ok(count)
}

/// How many buffered bytes certainly belong to a stored entry of unknown length; 0 at its descriptor.
fn until_descriptor<R: Read>(source: &mut Source<R>, current: &Current) -> Result<usize, Error> {
    let bytes = source.fill(descriptor::MAX)?;
    if bytes.is_empty() {
        return Err(source.truncated(&current.header.name));
    }
    if bytes.starts_with(&DESCRIPTOR) {
        let crc = current.crc.clone().finalize();
        let ends = descriptor::matching(bytes, crc, current.compressed, current.size).is_some();
        return Ok(usize::from(!ends));
    }
    let limit = bytes.windows(4).position(|window| *window == DESCRIPTOR);
    // the last three bytes may be the beginning of a mark
    Ok(limit.unwrap_or_else(|| if bytes.len() > 3 { bytes.len() - 3 } else { bytes.len() }))
}

/// Checks the entry's end: its descriptor or the header's checksum and sizes.
fn finish<R: Read>(source: &mut Source<R>, current: &mut Current) -> Result<(), Error> {
    current.finished = true;
    let (header, crc) = (&current.header, current.crc.clone().finalize());
    if header.compressed.is_some_and(|all| all != current.compressed) {
        return Err(source.corrupt(&header.name, "its compressed size is not what its header says"));
    }
    if header.size.is_some_and(|all| all != current.size) {
        return Err(source.corrupt(&header.name, "it is shorter than its header says"));
    }
    if header.crc.is_some_and(|expected| expected != crc) {
        return Err(source.corrupt(&header.name, "its CRC-32 does not agree"));
    }
    if header.descriptor {
        let bytes = source.fill(descriptor::MAX)?;
        let Some(len) = descriptor::matching(bytes, crc, current.compressed, current.size) else {
            let short = bytes.len() < if bytes.starts_with(&DESCRIPTOR) { 16 } else { 12 };
            return Err(if short {
                source.truncated(&header.name)
            } else {
                source.corrupt(&header.name, "its CRC-32 or size does not agree")
            });
        };
        source.consume(len);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zip::{NewEntry, ZipWriter};

    fn archive(stored: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ZipWriter::new(&mut bytes, 6);
        for (name, len) in [("meta.conf", 20), ("data/a", 100_000), ("data/empty", 0)] {
            let content = vec![b'x'; len];
            let mut rest = &content[..];
            let entry = NewEntry {
                name,
                size: Some(len as u64),
                mtime: Some(1_750_000_000),
                stored,
            };
            writer.add(&entry, &mut |buf| Ok(rest.read(buf).unwrap())).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<(String, usize)>, Error> {
        let mut reader = ZipReader::new(bytes);
        let mut seen = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let (mut len, mut buf) = (0, [0; 1000]);
            loop {
                match reader.read(&mut buf)? {
                    0 => break,
                    n => len += n,
                }
            }
            seen.push((entry.name, len));
        }
        Ok(seen)
    }

    #[test]
    fn what_is_written_is_read() {
        for stored in [false, true] {
            let bytes = archive(stored);
            let want = [
                ("meta.conf".into(), 20),
                ("data/a".into(), 100_000),
                ("data/empty".into(), 0),
            ];
            assert_eq!(read_all(&bytes).unwrap(), want);
            let mut reader = ZipReader::new(&bytes[..]);
            let mtimes: Vec<_> = std::iter::from_fn(|| reader.next_entry().unwrap())
                .map(|entry| entry.mtime)
                .collect();
            assert_eq!(mtimes, [1_750_000_000; 3]);
        }
    }

    #[test]
    fn an_entry_whose_size_comes_at_its_end_is_read() {
        let mut bytes = Vec::new();
        let mut writer = ZipWriter::new(&mut bytes, 6);
        let entry = NewEntry {
            name: "data/a",
            size: None,
            mtime: None,
            stored: false,
        };
        let mut rest = &vec![5; 70_000][..];
        writer.add(&entry, &mut |buf| Ok(rest.read(buf).unwrap())).unwrap();
        writer.finish().unwrap();
        assert_eq!(read_all(&bytes).unwrap(), [("data/a".into(), 70_000)]);
    }

    #[test]
    fn every_cut_is_an_error_or_leaves_whole_entries() {
        let bytes = archive(false);
        for cut in 0..bytes.len() {
            match read_all(&bytes[..cut]) {
                Ok(seen) => assert!(cut > 60 && seen.iter().all(|(_, len)| [20, 100_000, 0].contains(len))),
                Err(Error::NotAnArchive) => assert!(cut < 4),
                Err(e) => assert!(matches!(e, Error::Truncated { .. }), "{cut}: {e}"),
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_harmless_or_an_error() {
        let bytes = archive(false);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            let _ = read_all(&bad);
        }
    }
}
