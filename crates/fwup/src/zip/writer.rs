//! Writing an archive the way fwup does: sizes in the local header, checksum in a descriptor (format §1.2).

use std::io::{self, Read, Write};

use flate2::Compression;

use super::{
    deflate::{Next, deflate, workers},
    record::{NewEntry, Written, end},
};
use crate::{caps, error::Error};

/// Writes entries one after the other; nothing is written twice, so that any [`Write`] will do.
#[derive(Debug)]
pub(crate) struct ZipWriter<W> {
    out: Counted<W>,
    level: Compression,
    central: Vec<u8>,
    entries: u64,
}

#[derive(Debug)]
struct Counted<W> {
    inner: W,
    offset: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buf)?;
        self.offset += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> ZipWriter<W> {
    pub(crate) fn new(out: W, level: u8) -> Self {
        Self {
            out: Counted { inner: out, offset: 0 },
            level: compression(level),
            central: Vec::new(),
            entries: 0,
        }
    }

    /// Writes an entry whose bytes `next` hands out; it returns 0 at their end.
    pub(crate) fn add(&mut self, entry: &NewEntry<'_>, next: &mut Next<'_>) -> Result<(), Error> {
        let offset = self.out.offset;
        self.write(&entry.local())?;
        let written = self.copy(entry, next)?;
        if let Some(expected) = entry.size.filter(|size| *size != written.size) {
            let reason = format!("it has {} bytes now, {expected} were expected", written.size);
            return Err(Error::ConfigResource {
                resource: entry.name.to_owned(),
                reason,
            });
        }
        self.write(&entry.descriptor(written))?;
        self.central.extend(entry.central(written, offset));
        self.entries += 1;
        Ok(())
    }

    /// Writes an entry whose bytes are packed already; `packed` hands them out as they are to stand in the archive.
    pub(crate) fn add_packed(
        &mut self,
        entry: &NewEntry<'_>,
        written: Written,
        packed: &mut dyn Read,
    ) -> Result<(), Error> {
        let offset = self.out.offset;
        self.write(&entry.local())?;
        let copied = io::copy(packed, &mut self.out).map_err(Error::Output)?;
        if copied != written.compressed || entry.size != Some(written.size) {
            let what = "what was packed has changed since";
            return Err(Error::Output(io::Error::other(what)));
        }
        self.write(&entry.descriptor(written))?;
        self.central.extend(entry.central(written, offset));
        self.entries += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::Output)
    }

    /// Copies the bytes, compressing if wanted.
    fn copy(&mut self, entry: &NewEntry<'_>, next: &mut Next<'_>) -> Result<Written, Error> {
        pack((!entry.stored).then_some(self.level), next, &mut self.out)
    }

    /// Writes the central directory; returns the bytes of the archive.
    pub(crate) fn finish(mut self) -> Result<u64, Error> {
        let offset = self.out.offset;
        let central = std::mem::take(&mut self.central);
        self.write(&central)?;
        self.write(&end(self.entries, offset, central.len() as u64))?;
        self.out.flush().map_err(Error::Output)?;
        Ok(self.out.offset)
    }
}

/// Deflates bytes without an archive around them; they can be added to one later.
pub(crate) fn deflated(level: u8, next: &mut Next<'_>, out: &mut dyn Write) -> Result<Written, Error> {
    pack(Some(compression(level)), next, &mut Counted { inner: out, offset: 0 })
}

fn compression(level: u8) -> Compression {
    Compression::new(u32::from(level.clamp(1, 9)))
}

/// Copies bytes, compressing them at a level, or not.
fn pack<W: Write>(level: Option<Compression>, next: &mut Next<'_>, out: &mut Counted<W>) -> Result<Written, Error> {
    let begin = out.offset;
    let (mut crc, mut size) = (crc32fast::Hasher::new(), 0);
    let mut next = |buf: &mut [u8]| {
        let count = next(buf)?;
        crc.update(&buf[..count]);
        size += count as u64;
        Ok(count)
    };
    match level {
        None => store(&mut next, out)?,
        Some(level) => deflate(level, workers(), &mut next, out)?,
    }
    Ok(Written {
        crc: crc.finalize(),
        compressed: out.offset - begin,
        size,
    })
}

fn store(next: &mut Next<'_>, out: &mut dyn Write) -> Result<(), Error> {
    let mut buf = vec![0; caps::CHUNK];
    loop {
        match next(&mut buf)? {
            0 => return Ok(()),
            count => out.write_all(&buf[..count]).map_err(Error::Output)?,
        }
    }
}
