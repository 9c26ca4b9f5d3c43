//! The `muster-agent` binary.

fn main() {}
