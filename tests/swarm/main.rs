//! swarm.

fn main() {}
