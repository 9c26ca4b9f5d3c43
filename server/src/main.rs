//! The `muster-server` binary.

fn main() {}
