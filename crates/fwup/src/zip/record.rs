//! The records of an archive that is being written: headers, descriptors, the directory's end (format §1.2).
//!
//! From 4 GiB on a number stands in a 64-bit extra field or record, and all ones stand in its old place.

use super::{CENTRAL, DESCRIPTOR, END, END64, EXTRA_TIME, EXTRA_ZIP64, LOCAL, unix_to_dos};

/// Extra field with Unix owners.
const EXTRA_OWNER: u16 = 0x7875;
/// Mark of the record that says where the 64-bit end of the directory is.
const LOCATOR64: [u8; 4] = *b"PK\x06\x07";
/// Bit 3: a descriptor follows.
const FLAG_DESCRIPTOR: u16 = 8;
/// A regular file, readable by all, as Unix attributes.
const ATTRIBUTES: u32 = 0o100_644 << 16;
/// Made on Unix.
const UNIX: u8 = 3;
/// Version of the format that has 64-bit sizes.
const VERSION64: u16 = 45;
/// From this size on the descriptor is a 64-bit one; what deflate may add still fits below.
const WIDE_FROM: u64 = 0xff00_0000;

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

/// What is known of an entry's bytes when they have been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) crc: u32,
    pub(crate) compressed: u64,
    pub(crate) size: u64,
}

impl NewEntry<'_> {
    /// Sizes in 64 bits, because the entry is or may become large.
    pub(super) fn wide(&self) -> bool {
        self.size.is_none_or(|size| size >= WIDE_FROM)
    }

    /// The header before the bytes: it has the sizes as far as they are known, and no checksum.
    pub(super) fn local(&self) -> Vec<u8> {
        let size = self.size.unwrap_or(0);
        let known = Written {
            crc: 0,
            compressed: if self.stored { size } else { 0 },
            size,
        };
        let mut extra = self.extra();
        let mut fixed = self.fixed(known);
        if self.wide() {
            extra.extend(extra64(&[known.size, known.compressed]));
            fixed[14..22].fill(0xff);
        }
        [&LOCAL[..], &fixed, &self.lens(&extra), self.name.as_bytes(), &extra].concat()
    }

    /// The descriptor behind the bytes.
    pub(super) fn descriptor(&self, written: Written) -> Vec<u8> {
        let crc = written.crc.to_le_bytes();
        let sizes = [written.compressed, written.size];
        let sizes: Vec<u8> = if self.wide() {
            sizes.into_iter().flat_map(u64::to_le_bytes).collect()
        } else {
            sizes.into_iter().map(narrow).flat_map(u32::to_le_bytes).collect()
        };
        [&DESCRIPTOR[..], &crc, &sizes].concat()
    }

    /// The entry in the directory.
    pub(super) fn central(&self, written: Written, offset: u64) -> Vec<u8> {
        let mut extra = self.extra();
        let numbers = [written.size, written.compressed, offset];
        let large: Vec<u64> = numbers
            .into_iter()
            .filter(|number| narrow(*number) == u32::MAX)
            .collect();
        if !large.is_empty() {
            extra.extend(extra64(&large));
        }
        let made_by = [self.version() as u8, UNIX];
        [
            &CENTRAL[..],
            &made_by,
            &self.fixed(written),
            &self.lens(&extra),
            &[0; 6],
            &ATTRIBUTES.to_le_bytes(),
            &narrow(offset).to_le_bytes(),
            self.name.as_bytes(),
            &extra,
        ]
        .concat()
    }

    fn version(&self) -> u16 {
        match (self.wide(), self.stored) {
            (true, _) => VERSION64,
            (_, true) => 10,
            (_, false) => 20,
        }
    }

    /// The fields that local and central headers share: version to sizes.
    fn fixed(&self, written: Written) -> Vec<u8> {
        let (date, time) = unix_to_dos(self.mtime.unwrap_or_default());
        let method = if self.stored { 0 } else { 8 };
        let words = [self.version(), FLAG_DESCRIPTOR, method, time, date];
        let numbers = [written.crc, narrow(written.compressed), narrow(written.size)];
        let words = words.into_iter().flat_map(u16::to_le_bytes);
        words.chain(numbers.into_iter().flat_map(u32::to_le_bytes)).collect()
    }

    fn lens(&self, extra: &[u8]) -> Vec<u8> {
        [
            (self.name.len() as u16).to_le_bytes(),
            (extra.len() as u16).to_le_bytes(),
        ]
        .concat()
    }

    /// Extra fields with the time, if there is one, and the owner, who is root.
    fn extra(&self) -> Vec<u8> {
        let mut extra = EXTRA_TIME.to_le_bytes().to_vec();
        match self.mtime.and_then(|time| i32::try_from(time).ok()) {
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
}

/// An extra field with 64-bit numbers.
fn extra64(numbers: &[u64]) -> Vec<u8> {
    let mut field = EXTRA_ZIP64.to_le_bytes().to_vec();
    field.extend_from_slice(&((numbers.len() * 8) as u16).to_le_bytes());
    field.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    field
}

/// The 32-bit form of a number; all ones say that it is elsewhere.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What ends an archive whose directory of so many entries begins at `offset` and has `len` bytes.
pub(super) fn end(entries: u64, offset: u64, len: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if narrow(offset) == u32::MAX || narrow(len) == u32::MAX || entries >= u64::from(u16::MAX) {
        out.extend_from_slice(&END64);
        // the bytes of this record that follow
        out.extend_from_slice(&44_u64.to_le_bytes());
        out.extend_from_slice(&[VERSION64 as u8, UNIX, VERSION64 as u8, 0]);
        out.extend_from_slice(&[0; 8]);
        out.extend([entries, entries, len, offset].into_iter().flat_map(u64::to_le_bytes));
        out.extend_from_slice(&LOCATOR64);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(offset + len).to_le_bytes());
        // there is one disk
        out.extend_from_slice(&1_u32.to_le_bytes());
    }
    let count = u16::try_from(entries).unwrap_or(u16::MAX).to_le_bytes();
    let (len, offset) = (narrow(len).to_le_bytes(), narrow(offset).to_le_bytes());
    let parts = [&END[..], &[0; 4], &count, &count, &len, &offset, &[0; 2]];
    out.extend(parts.concat());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zip::ZipReader;
    use std::io::{Read, repeat};

    const LARGE: u64 = (4 << 30) + 1;

    fn crc_of_zeros(len: u64) -> u32 {
        let mut piece = crc32fast::Hasher::new();
        piece.update(&[0]);
        let mut crc = crc32fast::Hasher::new();
        // doubles the piece for each bit of the length
        for bit in 0..64 - len.leading_zeros() {
            if len >> bit & 1 == 1 {
                crc.combine(&piece);
            }
            let same = piece.clone();
            piece.combine(&same);
        }
        crc.finalize()
    }

    #[test]
    fn an_entry_of_four_gigabytes_is_read() {
        let entry = NewEntry {
            name: "data/large",
            size: Some(LARGE),
            mtime: None,
            stored: true,
        };
        let written = Written {
            crc: crc_of_zeros(LARGE),
            compressed: LARGE,
            size: LARGE,
        };
        let local = entry.local();
        let after = [entry.descriptor(written), entry.central(written, 0)].concat();
        let mut zip = ZipReader::new(local.chain(repeat(0).take(LARGE)).chain(&after[..]));
        assert_eq!(zip.next_entry().unwrap().unwrap().size, Some(LARGE));
        let (mut buf, mut len) = (vec![0; 1 << 16], 0);
        loop {
            match zip.read(&mut buf).unwrap() {
                0 => break,
                count => len += count as u64,
            }
        }
        assert_eq!(len, LARGE);
        assert!(zip.next_entry().unwrap().is_none());
    }

    #[test]
    fn numbers_of_the_directory_have_64_bits_where_they_must() {
        let entry = NewEntry {
            name: "n",
            size: Some(LARGE),
            mtime: None,
            stored: false,
        };
        let written = Written {
            crc: 7,
            compressed: 9,
            size: LARGE,
        };
        let central = entry.central(written, LARGE + 1);
        assert_eq!(central[20..28], [9, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(central[42..46], [0xff; 4]);
        let field = [&[1, 0, 16, 0][..], &LARGE.to_le_bytes(), &(LARGE + 1).to_le_bytes()].concat();
        assert!(central.ends_with(&field));

        assert_eq!(end(3, 100, 50).len(), 22);
        for (entries, offset, len) in [(3, LARGE, 50), (3, 50, LARGE), (65_535, 50, 50)] {
            let end = end(entries, offset, len);
            assert_eq!((end.len(), &end[..4], &end[56..60]), (98, &END64[..], &LOCATOR64[..]));
            assert_eq!(end[32..56], [entries, len, offset].map(u64::to_le_bytes).concat());
            assert_eq!(end[64..72], (offset + len).to_le_bytes());
        }
    }
}
