//! Where an archive comes from: a file, or standard input, perhaps in frames.

use std::{
    fs::File,
    io::{self, Read},
};

#[cfg(target_os = "linux")]
use nix::fcntl::{FcntlArg, fcntl};

use super::{Failure, options::Args};

/// Bytes that a pipe is made to hold.
#[cfg(target_os = "linux")]
const PIPE: i32 = 1 << 20;

/// Opens the archive.
pub(crate) fn open(args: &Args) -> Result<Box<dyn Read + Send>, Failure> {
    match &args.input {
        Some(path) if path.as_os_str() != "-" => Ok(Box::new(
            File::open(path).map_err(|error| format!("{}: {error}", path.display()))?,
        )),
        _ if args.framing => Ok(Box::new(Framed {
            inner: stdin(),
            left: 0,
            ended: false,
        })),
        _ => Ok(Box::new(stdin())),
    }
}

/// Standard input; a pipe holds more than it does by itself, so that it and its reader wake one another less often.
fn stdin() -> io::Stdin {
    let stdin = io::stdin();
    // a file has no such size, and a user may have pipes enough already: then it stays as it is
    #[cfg(target_os = "linux")]
    let _ = fcntl(&stdin, FcntlArg::F_SETPIPE_SZ(PIPE));
    stdin
}

/// Reads standard input to its end.
pub(crate) fn drain() {
    // whoever waits for the end of the program closes the pipe; what comes before is of no use
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
}

/// Frames of a four-byte length and that many bytes; a length of 0 is the end.
struct Framed<R> {
    inner: R,
    left: u32,
    ended: bool,
}

impl<R: Read> Read for Framed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            let mut length = [0; 4];
            match self.inner.read_exact(&mut length) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                other => other?,
            }
            self.left = u32::from_be_bytes(length);
            self.ended = self.left == 0;
        }
        if self.ended {
            // reading nothing from a pipe would wait for something
            return Ok(0);
        }
        let most = buf.len().min(self.left as usize);
        let count = self.inner.read(&mut buf[..most])?;
        self.left -= count as u32;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_joined() {
        let bytes = b"\0\0\0\x02ab\0\0\0\x01c\0\0\0\0rest";
        let mut all = Vec::new();
        Framed {
            inner: &bytes[..],
            left: 0,
            ended: false,
        }
        .read_to_end(&mut all)
        .unwrap();
        assert_eq!(all, b"abc");
    }
}
