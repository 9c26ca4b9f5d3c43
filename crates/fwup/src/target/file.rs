//! A regular file or a block device.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek as _, SeekFrom},
    ops::Range,
    os::unix::fs::{FileExt as _, FileTypeExt as _},
    path::Path,
};

use nix::fcntl::{FallocateFlags, fallocate};

use super::BlockTarget;

/// A regular file or a block device. A regular file may grow unless it was given a greatest size; a device may not.
#[derive(Debug)]
pub struct FileTarget {
    file: File,
    device: bool,
    /// False for `/dev/null` and its like, which cannot be synchronised.
    durable: bool,
    device_size: u64,
    max_size: Option<u64>,
    trim: bool,
}

impl FileTarget {
    /// Opens an existing file or block device for reading and writing.
    ///
    /// # Errors
    /// What the system says; a missing file is not made.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::from_file(OpenOptions::new().read(true).write(true).open(path)?)
    }

    /// Opens a file, and makes an empty one if there is none. Below `/dev` nothing is made.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let make = !path.starts_with("/dev");
        Self::from_file(
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(make)
                .truncate(false)
                .open(path)?,
        )
    }

    /// Takes a file that is open for reading and writing.
    ///
    /// # Errors
    /// What the system says about its size.
    pub fn from_file(mut file: File) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        let device = kind.is_block_device();
        if !device && !kind.is_file() && !kind.is_char_device() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the target is neither a file nor a block device",
            ));
        }
        let device_size = if device { file.seek(SeekFrom::End(0))? } else { 0 };
        Ok(Self {
            file,
            device,
            durable: device || kind.is_file(),
            device_size,
            max_size: None,
            trim: false,
        })
    }

    /// Sets a greatest size in bytes, at which the target ends even if the file or device is larger.
    #[must_use]
    pub fn with_max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(if self.device {
            bytes.min(self.device_size)
        } else {
            bytes
        });
        self
    }

    /// Tells a device which bytes are of no use any more. Files and devices that cannot be told stay as they are.
    #[must_use]
    pub fn with_trim(mut self) -> Self {
        self.trim = self.device;
        self
    }

    /// False for `/dev/null` and its like, from which nothing can be read back.
    pub fn is_storage(&self) -> bool {
        self.durable
    }

    /// True for a block device.
    pub fn is_device(&self) -> bool {
        self.device
    }
}

impl BlockTarget for FileTarget {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn size(&self) -> io::Result<Option<u64>> {
        if let Some(max) = self.max_size {
            return Ok(Some(max));
        }
        Ok(Some(if self.device {
            self.device_size
        } else {
            self.file.metadata()?.len()
        }))
    }

    fn hard_end(&self) -> Option<u64> {
        self.max_size.or(self.device.then_some(self.device_size))
    }

    /// Punches a hole into a device, which makes it forget the blocks where it can and never reads as anything but zeros
    /// then.
    fn trim(&mut self, range: Range<u64>) -> io::Result<bool> {
        let end = range.end.min(self.hard_end().unwrap_or(u64::MAX));
        if !self.trim || range.start >= end {
            return Ok(false);
        }
        let (start, len) = (i64::try_from(range.start), i64::try_from(end - range.start));
        let (Ok(start), Ok(len)) = (start, len) else {
            return Ok(false);
        };
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&self.file, mode, start, len)?;
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.durable { self.file.sync_data() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_grows_and_reads_stop_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        assert!(FileTarget::open(&path).is_err());
        let mut target = FileTarget::create(&path).unwrap();
        target.write_at(1000, b"abc").unwrap();
        target.flush().unwrap();
        assert_eq!(target.size().unwrap(), Some(1003));
        assert_eq!(target.hard_end(), None);
        let mut buf = [9; 8];
        assert_eq!(target.read_at(999, &mut buf).unwrap(), 4);
        assert_eq!(&buf, b"\0abc\x09\x09\x09\x09");
        assert_eq!(target.with_max_size(2048).hard_end(), Some(2048));
    }
}
