//! Writing an archive the way fwup does: sizes in the local header, checksum in a descriptor (format §1.2).

use std::io::{self, Write};

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
            level: Compression::new(u32::from(level.clamp(1, 9))),
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

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::Output)
    }

    /// Copies the bytes, compressing if wanted.
    fn copy(&mut self, entry: &NewEntry<'_>, next: &mut Next<'_>) -> Result<Written, Error> {
        let begin = self.out.offset;
        let (mut crc, mut size) = (crc32fast::Hasher::new(), 0);
        let mut next = |buf: &mut [u8]| {
            let count = next(buf)?;
            crc.update(&buf[..count]);
            size += count as u64;
            Ok(count)
        };
        if entry.stored {
            store(&mut next, &mut self.out)?;
        } else {
            deflate(self.level, workers(), &mut next, &mut self.out)?;
        }
        Ok(Written {
            crc: crc.finalize(),
            compressed: self.out.offset - begin,
            size,
        })
    }

    /// Writes the central directory.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let offset = self.out.offset;
        let central = std::mem::take(&mut self.central);
        self.write(&central)?;
        self.write(&end(self.entries, offset, central.len() as u64))?;
        self.out.flush().map_err(Error::Output)
    }
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
