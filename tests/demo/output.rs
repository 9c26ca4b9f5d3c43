//! What the demo prints, and nothing else does.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people to watch")]

use std::io::Write as _;

/// One line.
pub fn line(text: impl std::fmt::Display) {
    println!("{text}");
    let _ = std::io::stdout().flush();
}

/// Why the demo failed.
pub fn problem(error: &anyhow::Error) {
    eprintln!("The demo failed: {error:#}");
}
