//! What the user or the calling program sees.

use std::{
    io::{self, Write},
    time::Instant,
};

use super::options::Args;

/// Equals signs of a full progress bar.
const BAR: usize = 36;

/// Writes lines or frames to standard output.
pub(crate) struct Output {
    framing: bool,
    numbers: bool,
    quiet: bool,
    out: io::Stdout,
    /// A bar stands in the current line.
    bar: bool,
    started: Instant,
}

impl Output {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            framing: args.framing,
            numbers: args.numbers,
            quiet: args.quiet,
            out: io::stdout(),
            bar: false,
            started: Instant::now(),
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

    /// A percentage, and how many bytes were read of the archive and written to the target.
    pub(crate) fn progress(&mut self, percent: u8, read: u64, written: u64) {
        if self.quiet {
            return;
        }
        if self.framing {
            self.frame(*b"PR", u16::from(percent), "");
        } else if self.numbers {
            self.put(format!("{percent}\n").as_bytes());
        } else {
            self.put(bar(percent, read, written).as_bytes());
            self.bar = true;
        }
    }

    /// An archive was applied: under a bar a person is told so.
    pub(crate) fn applied(&mut self) {
        if self.bar {
            self.end_bar();
            let elapsed = self.started.elapsed();
            let (minutes, seconds) = (elapsed.as_secs() / 60, elapsed.as_secs() % 60);
            let text = if minutes > 0 {
                format!("{minutes} min {seconds:02} s")
            } else {
                format!("{seconds}.{:03} s", elapsed.subsec_millis())
            };
            self.put(format!("Success!\nElapsed time: {text}\n").as_bytes());
        }
    }

    /// An archive was not applied: programs that watch standard error get their empty line.
    pub(crate) fn not_applied(&mut self) {
        if !self.quiet {
            // nobody is there to be told when it is closed
            let _ = io::stderr().write_all(b"\n");
        }
    }

    /// Asks and waits for a line.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<String> {
        io::stderr().write_all(question.as_bytes())?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer)
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

/// A line that replaces itself: ` 43% [===============                     ] 5.10 MB in / 9.00 MB out`.
fn bar(percent: u8, read: u64, written: u64) -> String {
    let full = "=".repeat(usize::from(percent.min(100)) * BAR / 100);
    let amounts = if read + written > 0 {
        format!(" {} in / {} out ", size(read), size(written))
    } else {
        String::new()
    };
    format!("\r{percent:3}% [{full:BAR$}]{amounts}")
}

/// Bytes in the largest unit of 1000 that leaves a whole.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.2} KB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_with_the_percentage() {
        assert_eq!(bar(0, 0, 0), format!("\r  0% [{}]", " ".repeat(36)));
        let half = format!(
            "\r 50% [{}{}] 1.50 KB in / 2.00 MB out ",
            "=".repeat(18),
            " ".repeat(18)
        );
        assert_eq!(bar(50, 1500, 2_000_000), half);
        assert!(bar(100, 999, 31_000_000_000).ends_with("=] 999 bytes in / 31.00 GB out "));
    }
}
