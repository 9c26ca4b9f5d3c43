//! What an image is written to.

mod bits;
mod cache;
mod device;
mod file;
mod memory;
mod trimmed;

use std::{io, ops::Range};

pub(crate) use bits::BLOCK;
pub(crate) use cache::Cache;
pub(crate) use device::WriteMode;
pub use file::FileTarget;
pub use memory::MemoryTarget;

/// What an image is written to: positioned reads and writes, a size, and a flush that makes things durable.
pub trait BlockTarget {
    /// Reads into `buf` from `offset` (bytes). Returns how many bytes were read; fewer than asked for, or 0, means that
    /// the target ends there.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `buf` at `offset` (bytes). A file may grow.
    fn write_at(&mut self, offset: u64, buf: &[u8]) -> io::Result<()>;

    /// The size in bytes as it is now, if known. It tells partitions that expand how far they may.
    fn size(&self) -> io::Result<Option<u64>>;

    /// A byte offset that nothing may be written behind. None for a target that may grow.
    fn hard_end(&self) -> Option<u64> {
        None
    }

    /// Tells the medium that what a byte range holds is of no use any more. It need not do anything; bytes of the range
    /// may read as before or as zeros afterwards. True when it did something.
    fn trim(&mut self, range: Range<u64>) -> io::Result<bool> {
        let _ = range;
        Ok(false)
    }

    /// Returns only when everything written before is durable.
    fn flush(&mut self) -> io::Result<()>;
}

impl<T: BlockTarget + ?Sized> BlockTarget for &mut T {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> io::Result<()> {
        (**self).write_at(offset, buf)
    }

    fn size(&self) -> io::Result<Option<u64>> {
        (**self).size()
    }

    fn hard_end(&self) -> Option<u64> {
        (**self).hard_end()
    }

    fn trim(&mut self, range: Range<u64>) -> io::Result<bool> {
        (**self).trim(range)
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }
}
