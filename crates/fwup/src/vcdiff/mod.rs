//! Binary patches in the VCDIFF format (RFC 3284), as fwup's decoder reads them and xdelta3 writes them (format §10).
//!
//! A patch is a row of windows. A window makes the next bytes of the target out of three sections: data to be added,
//! instructions, and the addresses of copies. An address counts through a segment of the source and then through what
//! the window has made so far. Only the default code table and the address cache of 4 near and 3 same slots are used; a
//! window may carry the Adler-32 of what it makes.

mod address;
mod adler;
mod code_table;
mod decode;
mod encode;
mod history;
mod index;
mod matcher;
#[cfg(test)]
mod tests;
mod varint;
mod window;

pub(crate) use decode::{Decoder, Source, VcdiffError, read_header};
pub(crate) use encode::{Encoder, HEADER, View};
pub(crate) use index::Index;

/// Header: a secondary compressor is named.
const HEADER_SECONDARY: u8 = 1;
/// Header: a code table of its own follows.
const HEADER_CODE_TABLE: u8 = 2;
/// Header: bytes for the application follow.
const HEADER_APPLICATION: u8 = 4;
/// Window: it copies from a segment of the source.
const WINDOW_SOURCE: u8 = 1;
/// Window: it copies from a segment of the target.
const WINDOW_TARGET: u8 = 2;
/// Window: the Adler-32 of what it makes is given.
const WINDOW_ADLER32: u8 = 4;
