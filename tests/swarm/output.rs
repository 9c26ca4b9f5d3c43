//! What the program says.

/// A line of JSON on standard output. One that cannot be written (the reader is gone) is dropped.
pub fn line(value: &serde_json::Value) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

/// What went wrong, on standard error.
#[expect(clippy::print_stderr, reason = "this is where the program speaks")]
pub fn problem(error: &anyhow::Error) {
    eprintln!("muster-swarm: {error:#}");
}
