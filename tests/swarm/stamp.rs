//! The monotonic clock of the machine: its processes compare what they read of it.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since a moment that is the same for all processes of this machine.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or(nix::sys::time::TimeSpec::new(0, 0));
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}
