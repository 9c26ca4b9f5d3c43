//! What commands say on standard output. A closed pipe is not an error of theirs.

use std::fmt::Display;
use std::io::Write as _;

/// Writes a line.
pub fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes a line about what went wrong, on standard error.
pub fn problem(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
