//! Local headers.

use std::io::Read;

use super::{EXTRA_TIME, EXTRA_ZIP64, dos_to_unix, name, source::Source};
use crate::{caps, error::Error};

/// Bytes of a local header without name and extra fields.
const FIXED: usize = 30;

/// How an entry's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// What a local header says. A size that only the descriptor will tell is None.
#[derive(Debug)]
pub(super) struct LocalHeader {
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) compressed: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) crc: Option<u32>,
    pub(super) descriptor: bool,
    /// Seconds since 1970.
    pub(super) mtime: i64,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Reads a local header whose four-byte mark is known to be there.
pub(super) fn read<R: Read>(source: &mut Source<R>) -> Result<LocalHeader, Error> {
    let fixed = source.take(FIXED, "an entry's header")?;
    let (flags, method) = (u16_at(&fixed, 6), u16_at(&fixed, 8));
    let name_len = usize::from(u16_at(&fixed, 26));
    if name_len > caps::ENTRY_NAME_MAX {
        return Err(Error::BadEntryName {
            name: format!("({name_len} bytes)"),
            reason: "it is too long",
        });
    }
    let name = name::check(source.take(name_len, "an entry's name")?)?;
    let extra = source.take(usize::from(u16_at(&fixed, 28)), &name)?;
    let unsupported = |what: String| Error::Unsupported {
        place: name.clone(),
        what,
    };
    if flags & 0x2041 != 0 {
        return Err(unsupported("ZIP encryption".into()));
    }
    let method = match method {
        0 => Method::Stored,
        8 => Method::Deflated,
        other => return Err(unsupported(format!("compression method {other}"))),
    };
    let mut header = LocalHeader {
        method,
        compressed: Some(u64::from(u32_at(&fixed, 18))),
        size: Some(u64::from(u32_at(&fixed, 22))),
        crc: Some(u32_at(&fixed, 14)),
        descriptor: flags & 8 != 0,
        mtime: dos_to_unix(u16_at(&fixed, 12), u16_at(&fixed, 10)),
        name,
    };
    apply_extra(&mut header, &extra);
    forget_unknown(&mut header);
    Ok(header)
}

/// Takes times and 64-bit sizes from the extra fields; a field that runs over the end is passed over.
fn apply_extra(header: &mut LocalHeader, mut extra: &[u8]) {
    while extra.len() >= 4 {
        let (id, len) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(field) = extra.get(4..4 + len) else { return };
        match id {
            EXTRA_TIME if field.len() >= 5 && field[0] & 1 != 0 => {
                header.mtime = i64::from(u32_at(field, 1).cast_signed());
            }
            EXTRA_ZIP64 => {
                let mut sizes = field
                    .chunks_exact(8)
                    .map(|b| u64::from(u32_at(b, 0)) | (u64::from(u32_at(b, 4)) << 32));
                for size in [&mut header.size, &mut header.compressed] {
                    if *size == Some(u64::from(u32::MAX))
                        && let Some(large) = sizes.next()
                    {
                        *size = Some(large);
                    }
                }
            }
            _ => {}
        }
        extra = &extra[4 + len..];
    }
}

/// With a descriptor to follow, a zero in the header means that the value is not known yet.
fn forget_unknown(header: &mut LocalHeader) {
    if !header.descriptor {
        return;
    }
    header.crc = None;
    if header.method == Method::Stored && header.compressed == Some(0) {
        header.compressed = header.size;
    }
    for size in [&mut header.size, &mut header.compressed] {
        if *size == Some(0) {
            *size = None;
        }
    }
}
