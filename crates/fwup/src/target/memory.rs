//! A target in memory, for tests and tools.

use std::io;

use super::BlockTarget;
use crate::caps;

/// An image in memory that grows when written behind its end, up to [`caps::MEMORY_TARGET_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryTarget {
    /// The bytes of the image.
    pub bytes: Vec<u8>,
}

impl MemoryTarget {
    /// An image of `size` zero bytes.
    pub fn new(size: usize) -> Self {
        Self { bytes: vec![0; size] }
    }
}

impl BlockTarget for MemoryTarget {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|start| self.bytes.get(start..))
            .unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start
            .checked_add(buf.len())
            .filter(|end| *end <= self.bytes.len().max(caps::MEMORY_TARGET_MAX))
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "the image would be too large for memory"))?;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(buf);
        Ok(())
    }

    fn size(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.bytes.len() as u64))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
