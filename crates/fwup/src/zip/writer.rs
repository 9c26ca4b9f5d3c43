//! Writing an archive the way fwup does: sizes in the local header, checksum in a descriptor (format §1.2).

use std::io::{self, Write};

use flate2::{Compression, write::DeflateEncoder};

use super::{CENTRAL, DESCRIPTOR, END, EXTRA_TIME, LOCAL, unix_to_dos};
use crate::{caps, error::Error};

/// Extra field with Unix owners.
const EXTRA_OWNER: u16 = 0x7875;
/// Bit 3: a descriptor follows.
const FLAG_DESCRIPTOR: u16 = 8;
/// A regular file, readable by all, as Unix attributes.
const ATTRIBUTES: u32 = 0o100_644 << 16;

/// An entry to be written.
#[derive(Debug)]
pub(crate) struct NewEntry<'a> {
    /// Name within the archive.
    pub(crate) name: &'a str,
    /// Bytes that will follow; None when only the descriptor can tell.
    pub(crate) size: Option<u64>,
    /// Seconds since 1970. None writes 1980-01-01.
    pub(crate) mtime: Option<i64>,
    /// Without compression.
    pub(crate) stored: bool,
}

/// Writes entries one after the other; nothing is written twice, so that any [`Write`] will do.
#[derive(Debug)]
pub(crate) struct ZipWriter<W> {
    out: Counted<W>,
    level: Compression,
    central: Vec<u8>,
    entries: u16,
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

/// Where an entry's bytes go.
enum Sink<'a, W: Write> {
    Stored(&'a mut W),
    Deflated(DeflateEncoder<&'a mut W>),
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
    pub(crate) fn add(
        &mut self,
        entry: &NewEntry<'_>,
        next: &mut dyn FnMut(&mut [u8]) -> Result<usize, Error>,
    ) -> Result<(), Error> {
        let offset = narrow(entry.name, self.out.offset)?;
        let size = narrow(entry.name, entry.size.unwrap_or(0))?;
        let compressed = if entry.stored { size } else { 0 };
        let header = common_header(entry, 0, compressed, size);
        let extra = extra_fields(entry.mtime);
        let local = [
            &LOCAL[..],
            &header,
            &extra_lens(entry.name, &extra),
            entry.name.as_bytes(),
            &extra,
        ]
        .concat();
        self.out.write_all(&local).map_err(Error::Output)?;

        let begin = self.out.offset;
        let (crc, written) = self.copy(entry, next)?;
        if let Some(expected) = entry.size.filter(|size| *size != written) {
            let reason = format!("it has {written} bytes now, {expected} were expected");
            return Err(Error::ConfigResource {
                resource: entry.name.to_owned(),
                reason,
            });
        }
        let compressed = narrow(entry.name, self.out.offset - begin)?;
        let size = narrow(entry.name, written)?;
        let sizes = [crc.to_le_bytes(), compressed.to_le_bytes(), size.to_le_bytes()].concat();
        self.out
            .write_all(&[&DESCRIPTOR[..], &sizes].concat())
            .map_err(Error::Output)?;

        self.remember(entry, &common_header(entry, crc, compressed, size), &extra, offset);
        Ok(())
    }

    /// Adds an entry to the central directory.
    fn remember(&mut self, entry: &NewEntry<'_>, header: &[u8], extra: &[u8], offset: u32) {
        let made_by = [if entry.stored { 10 } else { 20 }, 3];
        let lens = [
            &extra_lens(entry.name, extra)[..],
            &[0; 6],
            &ATTRIBUTES.to_le_bytes(),
            &offset.to_le_bytes(),
        ]
        .concat();
        for part in [&CENTRAL[..], &made_by, header, &lens, entry.name.as_bytes(), extra] {
            self.central.extend_from_slice(part);
        }
        self.entries += 1;
    }

    /// Copies the bytes, compressing if wanted; returns their checksum and number.
    fn copy(
        &mut self,
        entry: &NewEntry<'_>,
        next: &mut dyn FnMut(&mut [u8]) -> Result<usize, Error>,
    ) -> Result<(u32, u64), Error> {
        let mut crc = crc32fast::Hasher::new();
        let (mut buf, mut written) = (vec![0; caps::CHUNK], 0);
        let mut sink = if entry.stored {
            Sink::Stored(&mut self.out)
        } else {
            Sink::Deflated(DeflateEncoder::new(&mut self.out, self.level))
        };
        loop {
            let count = next(&mut buf)?;
            let part = &buf[..count];
            crc.update(part);
            written += count as u64;
            match &mut sink {
                Sink::Stored(out) => out.write_all(part),
                Sink::Deflated(encoder) if count > 0 => encoder.write_all(part),
                Sink::Deflated(encoder) => encoder.try_finish(),
            }
            .map_err(Error::Output)?;
            if count == 0 {
                return Ok((crc.finalize(), written));
            }
        }
    }

    /// Writes the central directory.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let offset = narrow("the central directory", self.out.offset)?;
        self.out.write_all(&self.central).map_err(Error::Output)?;
        let (count, size) = (self.entries.to_le_bytes(), (self.central.len() as u32).to_le_bytes());
        let end = [&END[..], &[0; 4], &count, &count, &size, &offset.to_le_bytes(), &[0; 2]].concat();
        self.out.write_all(&end).map_err(Error::Output)?;
        self.out.flush().map_err(Error::Output)
    }
}

/// The 32-bit form of a size or offset; 64-bit archives are not made.
fn narrow(place: &str, value: u64) -> Result<u32, Error> {
    u32::try_from(value)
        .ok()
        .filter(|value| *value != u32::MAX)
        .ok_or_else(|| Error::Unsupported {
            place: place.to_owned(),
            what: "making an archive or resource of 4 GiB or more".to_owned(),
        })
}

/// The fields that local and central headers share: version to sizes.
fn common_header(entry: &NewEntry<'_>, crc: u32, compressed: u32, size: u32) -> Vec<u8> {
    let (version, method): (u16, u16) = if entry.stored { (10, 0) } else { (20, 8) };
    let (date, time) = unix_to_dos(entry.mtime.unwrap_or_default());
    let mut header = Vec::with_capacity(22);
    for word in [version, FLAG_DESCRIPTOR, method, time, date] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    for size in [crc, compressed, size] {
        header.extend_from_slice(&size.to_le_bytes());
    }
    header
}

fn extra_lens(name: &str, extra: &[u8]) -> Vec<u8> {
    [(name.len() as u16).to_le_bytes(), (extra.len() as u16).to_le_bytes()].concat()
}

fn extra_fields(mtime: Option<i64>) -> Vec<u8> {
    let mut extra = EXTRA_TIME.to_le_bytes().to_vec();
    match mtime.and_then(|time| i32::try_from(time).ok()) {
        Some(time) => {
            extra.extend_from_slice(&[5, 0, 1]);
            extra.extend_from_slice(&time.to_le_bytes());
        }
        None => extra.extend_from_slice(&[1, 0, 0]),
    }
    extra.extend_from_slice(&EXTRA_OWNER.to_le_bytes());
    extra.extend_from_slice(&[11, 0, 1, 4, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    extra
}
