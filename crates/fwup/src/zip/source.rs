//! A buffered source that knows its offset and never reads more than it must.

use std::{fmt, io::Read};

use crate::{caps, error::Error};

/// Reads ahead at most one chunk, and only when asked for bytes that are not there yet.
pub(super) struct Source<R> {
    reader: R,
    buf: Box<[u8]>,
    start: usize,
    end: usize,
    offset: u64,
}

impl<R> fmt::Debug for Source<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buf: vec![0; caps::CHUNK].into_boxed_slice(),
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// The offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that are there already.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }

    /// Makes at least `want` bytes available, fewer only when the source ends.
    pub(super) fn fill(&mut self, want: usize) -> Result<&[u8], Error> {
        let want = want.min(self.buf.len());
        if self.buf.len() - self.start < want {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < want {
            match self.reader.read(&mut self.buf[self.end..]) {
                Ok(0) => break,
                Ok(n) => self.end += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = self.offset + (self.end - self.start) as u64;
                    return Err(Error::Source { offset, source });
                }
            }
        }
        Ok(self.buffered())
    }

    /// Passes over bytes that are there.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Reads exactly `len` bytes.
    pub(super) fn take(&mut self, len: usize, place: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(len.min(caps::CHUNK));
        while bytes.len() < len {
            let part = self.fill(1)?;
            let count = part.len().min(len - bytes.len());
            if count == 0 {
                return Err(self.truncated(place));
            }
            bytes.extend_from_slice(&part[..count]);
            self.consume(count);
        }
        Ok(bytes)
    }

    pub(super) fn truncated(&self, place: &str) -> Error {
        Error::Truncated {
            place: place.to_owned(),
            offset: self.offset + (self.end - self.start) as u64,
        }
    }

    pub(super) fn corrupt(&self, place: &str, reason: impl Into<String>) -> Error {
        Error::Corrupt {
            place: place.to_owned(),
            offset: self.offset,
            reason: reason.into(),
        }
    }
}
