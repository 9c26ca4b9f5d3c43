//! What the user or the calling program sees.

use std::io::{self, Write};

use super::args::{Args, Show};

/// Writes lines or frames to standard output.
pub(crate) struct Output {
    framing: bool,
    show: Show,
    out: io::Stdout,
    bar: bool,
}

impl Output {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            framing: args.framing,
            show: args.show,
            out: io::stdout(),
            bar: false,
        }
    }

    /// Nobody is there to be told when the output is closed.
    fn put(&mut self, bytes: &[u8]) {
        let _ = self.out.write_all(bytes).and_then(|()| self.out.flush());
    }

    fn frame(&mut self, kind: [u8; 2], code: u16, text: &str) {
        let len = (text.len() + 4) as u32;
        self.put(&[&len.to_be_bytes()[..], &kind, &code.to_be_bytes(), text.as_bytes()].concat());
    }

    fn end_bar(&mut self) {
        if std::mem::take(&mut self.bar) {
            self.put(b"\n");
        }
    }

    /// A percentage.
    pub(crate) fn progress(&mut self, percent: u8) {
        match self.show {
            Show::Nothing => {}
            _ if self.framing => self.frame(*b"PR", u16::from(percent), ""),
            Show::Numbers => self.put(format!("{percent}\n").as_bytes()),
            Show::Bar => {
                let full = usize::from(percent) * 36 / 100;
                self.put(format!("\r{percent:3}% [{:36}]", "=".repeat(full)).as_bytes());
                self.bar = true;
            }
        }
    }

    /// What the firmware says.
    pub(crate) fn info(&mut self, text: &str) {
        if self.framing {
            self.frame(*b"WN", 0, text);
        } else {
            self.end_bar();
            self.put(format!("fwup: {text}\n").as_bytes());
        }
    }

    /// The end of a call that succeeded.
    pub(crate) fn success(&mut self, text: &str) {
        if self.framing {
            self.frame(*b"OK", 0, text);
        } else {
            self.end_bar();
            self.put(text.as_bytes());
        }
    }

    /// The end of a call that failed.
    pub(crate) fn failure(&mut self, text: &str) {
        if self.framing {
            self.frame(*b"ER", 0, text);
        } else {
            self.end_bar();
            self.put(format!("fwup: {text}\n").as_bytes());
        }
    }

    /// Tells a caller that listens for it how the program will end.
    pub(crate) fn handshake(&mut self, status: u8) {
        self.put(&[0x1a, status]);
    }
}
