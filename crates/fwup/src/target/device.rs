//! Writing to the target: within its end, read back or compared before where that is wanted.

use super::BlockTarget;
use crate::error::Error;

/// How segments are written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WriteMode {
    /// Read back and compare.
    pub(crate) verify: bool,
    /// Read first and skip what is the same.
    pub(crate) minimize: bool,
}

/// The target and what is known of it.
pub(super) struct Device<'t> {
    target: &'t mut dyn BlockTarget,
    mode: WriteMode,
    /// Bytes before anything was written, if the target tells.
    pub(super) size: Option<u64>,
    pub(super) hard_end: Option<u64>,
    /// Something was written.
    pub(super) written: bool,
    /// What was read to compare with.
    back: Vec<u8>,
}

impl<'t> Device<'t> {
    pub(super) fn new(target: &'t mut dyn BlockTarget, mode: WriteMode) -> Result<Self, Error> {
        let size = target.size().map_err(|source| Error::Target { offset: 0, source })?;
        let hard_end = target.hard_end();
        Ok(Self {
            target,
            mode,
            size,
            hard_end,
            written: false,
            back: Vec::new(),
        })
    }

    /// Bytes between an offset and the hard end.
    pub(super) fn room(&self, offset: u64) -> u64 {
        self.hard_end.map_or(u64::MAX, |end| end.saturating_sub(offset))
    }

    /// Reads; fewer bytes than asked for mean that the target ends there.
    pub(super) fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        self.target
            .read_at(offset, buf)
            .map_err(|source| Error::Target { offset, source })
    }

    /// Writes what lies before the hard end.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let len = usize::try_from(self.room(offset)).unwrap_or(usize::MAX).min(data.len());
        let data = &data[..len];
        if data.is_empty() || (self.mode.minimize && self.holds(offset, data)?) {
            return Ok(());
        }
        self.written = true;
        self.target
            .write_at(offset, data)
            .map_err(|source| Error::Target { offset, source })?;
        if self.mode.verify && !self.holds(offset, data)? {
            return Err(Error::VerifyWrite { offset });
        }
        Ok(())
    }

    /// Whether these bytes are on the target.
    fn holds(&mut self, offset: u64, data: &[u8]) -> Result<bool, Error> {
        let mut back = std::mem::take(&mut self.back);
        back.resize(data.len(), 0);
        let count = self.read(offset, &mut back)?;
        let same = count == data.len() && back == data;
        self.back = back;
        Ok(same)
    }

    /// Tells the medium that nobody needs these bytes any more.
    pub(super) fn trim(&mut self, bytes: std::ops::Range<u64>) -> std::io::Result<()> {
        self.written |= self.target.trim(bytes)?;
        Ok(())
    }

    /// Makes durable what was written.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if !self.written {
            return Ok(());
        }
        self.target
            .flush()
            .map_err(|source| Error::Target { offset: 0, source })
    }
}
