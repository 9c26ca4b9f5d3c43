//! What firmware may do outside of the target, if the caller lets it.

use std::{
    ffi::OsStr,
    fmt,
    io::{self, Write},
    path::Path,
};

/// Does for firmware what reaches outside of the target: files and programs of the machine that applies it (format §4.2).
///
/// The crate does none of this on its own. Without a host in [`crate::ApplyOptions`] a task with such a function is
/// refused before anything is written, and `require-execute` does not hold. Give one only for firmware that may do on the
/// machine whatever the process may.
pub trait Host: fmt::Debug {
    /// Runs a command in the shell and waits for its end.
    ///
    /// # Errors
    /// It did not start, or did not end with status 0.
    fn execute(&self, command: &OsStr) -> io::Result<()>;

    /// Opens what takes the bytes of a resource.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, outlet: Outlet<'_>) -> io::Result<Box<dyn HostSink>>;
}

/// What takes the bytes of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlet<'a> {
    /// A file, made or emptied (`path_write`).
    File(&'a Path),
    /// A shell command's standard input (`pipe_write`).
    Command(&'a OsStr),
    /// A UBI volume, updated as a whole (`ubi_volume_write`).
    UbiVolume {
        /// The volume's device, for example `/dev/ubi0_1`.
        path: &'a Path,
        /// How many bytes it will hold.
        len: u64,
    },
}

/// Takes the bytes of a resource in order.
pub trait HostSink: Write {
    /// Passes over a hole of `len` bytes, which read as zeros. A file may leave it out.
    ///
    /// # Errors
    /// What the system says.
    fn skip(&mut self, len: u64) -> io::Result<()> {
        let zeros = [0; 4096];
        let mut left = len;
        while left > 0 {
            let count = left.min(zeros.len() as u64);
            self.write_all(&zeros[..count as usize])?;
            left -= count;
        }
        Ok(())
    }

    /// Ends the data: closes the file, waits for the command.
    ///
    /// # Errors
    /// What the system says, or that the command did not end with status 0.
    fn finish(self: Box<Self>) -> io::Result<()>;
}
