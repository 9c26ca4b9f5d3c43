//! What `--unsafe` allows: firmware writes files, runs commands and updates UBI volumes of this machine.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use muster_fwup::{Host, HostSink, Outlet};

/// This machine.
#[derive(Debug)]
pub(crate) struct Machine;

impl Host for Machine {
    fn execute(&self, command: &OsStr) -> io::Result<()> {
        check(shell(command).stdin(Stdio::null()).status()?)
    }

    fn open(&self, outlet: Outlet<'_>) -> io::Result<Box<dyn HostSink>> {
        Ok(match outlet {
            Outlet::File(path) => Box::new(FileSink {
                file: File::create(path)?,
                ends_in_hole: false,
            }),
            Outlet::Command(command) => Box::new(Pipe {
                child: shell(command).stdin(Stdio::piped()).spawn()?,
                done: false,
            }),
            Outlet::UbiVolume { path, len } => Box::new(open_ubi_volume(path, len)?),
        })
    }
}

/// A command of the shell. What it says goes to standard error, because standard output carries our own frames.
fn shell(command: &OsStr) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdout(io::stderr());
    shell
}

fn check(status: ExitStatus) -> io::Result<()> {
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("the command ended with {status}")))
    }
}

struct FileSink {
    file: File,
    ends_in_hole: bool,
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ends_in_hole = false;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl HostSink for FileSink {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        let len = i64::try_from(len).map_err(io::Error::other)?;
        self.ends_in_hole = len > 0;
        self.file.seek(SeekFrom::Current(len)).map(|_| ())
    }

    /// A file that ends in a hole gets its length by its last byte.
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.ends_in_hole {
            let end = self.file.stream_position()?;
            self.file.write_all_at(&[0], end - 1)?;
        }
        Ok(())
    }
}

struct Pipe {
    child: Child,
    done: bool,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.child.stdin {
            Some(stdin) => stdin.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl HostSink for Pipe {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.done = true;
        drop(self.child.stdin.take());
        check(self.child.wait()?)
    }
}

impl Drop for Pipe {
    /// A command whose data did not come to its end must not take what came for all of it.
    fn drop(&mut self) {
        if !self.done {
            // it may be gone already
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl HostSink for UbiVolume {
    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// A UBI volume whose update has begun; it is whole when the announced bytes have been written.
struct UbiVolume(File);

impl Write for UbiVolume {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

mod ioctl {
    // begins the update of a UBI volume with so many bytes: UBI_IOCVOLUP of <mtd/ubi-user.h>
    nix::ioctl_write_ptr!(update_volume, b'O', 0, i64);
}

#[expect(
    unsafe_code,
    reason = "UBI volumes are updated through an ioctl that no safe interface offers"
)]
fn open_ubi_volume(path: &Path, len: u64) -> io::Result<UbiVolume> {
    let len = i64::try_from(len).map_err(io::Error::other)?;
    let file = OpenOptions::new().write(true).open(path)?;
    // SAFETY: the descriptor is open, and the kernel reads 64 bits from a variable that outlives the call.
    unsafe { ioctl::update_volume(file.as_raw_fd(), &raw const len) }?;
    Ok(UbiVolume(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ubi_volume_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "as it was").unwrap();
        for path in [path.as_path(), Path::new("/dev/null")] {
            let outlet = Outlet::UbiVolume { path, len: 5 };
            let error = Machine.open(outlet).err().unwrap();
            assert_eq!(error.raw_os_error(), Some(nix::libc::ENOTTY), "{error}");
        }
        assert_eq!(std::fs::read(path).unwrap(), b"as it was");
    }

    #[test]
    fn a_command_that_gets_only_a_part_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole");
        let command = format!("cat >/dev/null; touch {}", whole.display());
        let mut sink = Machine.open(Outlet::Command(OsStr::new(&command))).unwrap();
        sink.write_all(b"a part").unwrap();
        drop(sink);
        assert!(!whole.exists());
        let mut sink = Machine.open(Outlet::Command(OsStr::new(&command))).unwrap();
        sink.write_all(b"all").unwrap();
        sink.finish().unwrap();
        assert!(whole.exists());
    }

    #[test]
    fn a_command_must_end_well() {
        let open = |command: &str| Machine.open(Outlet::Command(OsStr::new(command))).unwrap();
        assert!(open("exit 3").finish().is_err());
        assert!(open("cat >/dev/null").finish().is_ok());
        assert!(Machine.execute(OsStr::new("exit 3")).is_err());
        assert!(Machine.execute(OsStr::new("true")).is_ok());
        // a command that closes its input early does not kill us
        let mut sink = open("exec <&-; sleep 60");
        let ended = (0..1000).find_map(|_| sink.write_all(&[0; 4096]).err());
        assert_eq!(ended.unwrap().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn holes_of_a_file_read_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "something longer that was there before").unwrap();
        let mut sink = Machine.open(Outlet::File(&path)).unwrap();
        sink.skip(3).unwrap();
        sink.write_all(b"ab").unwrap();
        sink.skip(4).unwrap();
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"\0\0\0ab\0\0\0\0");
        assert!(Machine.open(Outlet::File(&dir.path().join("no/folder"))).is_err());
    }
}
