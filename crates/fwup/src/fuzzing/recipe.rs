//! Archives made by a recipe, so that lengths and checksums agree where they should and a change of one byte is not
//! stopped by the first of them.

use std::io::Write as _;

use flate2::{Compression, write::DeflateEncoder};

/// Takes bytes off the front of the fuzzer's data; zeros when it is used up.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (part, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        part
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(super) fn short(&mut self) -> usize {
        usize::from(self.byte()) | (usize::from(self.byte()) << 8)
    }
}

/// How an entry is written; every deviation is a bit of one byte.
#[derive(Clone, Copy)]
pub(crate) struct Style(pub(crate) u8);

impl Style {
    /// Whether the reader must be able to read such an entry. Nothing but a mark tells where a stored one of unknown
    /// size ends, so that content with a mark in it can end early, and an empty one looks the same with short and with long
    /// sizes.
    pub(crate) fn is_readable(self, content: &[u8]) -> bool {
        let [deflate, descriptor, unmarked, wide, unsized_, wrong] = self.bits();
        let searched = !deflate && (unsized_ || content.is_empty());
        let forged = || content.windows(4).any(|bytes| bytes == b"PK\x07\x08");
        !(wrong || descriptor && (searched && (unmarked || forged()) || wide && content.is_empty()))
    }

    fn bits(self) -> [bool; 6] {
        std::array::from_fn(|bit| self.0 >> bit & 1 == 1)
    }
}

/// Adds an entry.
pub(crate) fn entry(out: &mut Vec<u8>, name: &[u8], content: &[u8], style: Style) {
    let [deflate, descriptor, unmarked, wide, unsized_, wrong] = style.bits();
    let packed = if deflate { deflated(content) } else { content.to_vec() };
    let crc = crc32fast::hash(content) ^ u32::from(wrong);
    let unknown = descriptor && unsized_;
    let (size, compressed) = if unknown { (0, 0) } else { (content.len(), packed.len()) };
    out.extend_from_slice(b"PK\x03\x04\x14\0");
    out.extend_from_slice(&[
        if descriptor { 8 } else { 0 },
        0,
        if deflate { 8 } else { 0 },
        0,
        0,
        0,
        0x21,
        0,
    ]);
    out.extend_from_slice(&(if descriptor { 0 } else { crc }).to_le_bytes());
    let in_extra = wide && !unknown;
    for size in [compressed, size] {
        out.extend_from_slice(&(if in_extra { u32::MAX } else { size as u32 }).to_le_bytes());
    }
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(&[if in_extra { 20 } else { 0 }, 0]);
    out.extend_from_slice(name);
    if in_extra {
        out.extend_from_slice(&[1, 0, 16, 0]);
        out.extend_from_slice(&(size as u64).to_le_bytes());
        out.extend_from_slice(&(compressed as u64).to_le_bytes());
    }
    out.extend_from_slice(&packed);
    if descriptor {
        out.extend_from_slice(if unmarked { b"" } else { b"PK\x07\x08" });
        out.extend_from_slice(&crc.to_le_bytes());
        for size in [packed.len() as u64, content.len() as u64] {
            out.extend_from_slice(&size.to_le_bytes()[..if wide { 8 } else { 4 }]);
        }
    }
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(content);
    assert!(written.is_ok());
    encoder.finish().unwrap_or_default()
}
