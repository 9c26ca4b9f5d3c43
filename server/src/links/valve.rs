//! How many log lines of a link pass (device-link §3.5).

use std::time::{Duration, Instant};

use muster_link::limits::{LOG_BURST, LOG_RATE};

/// How long it takes until one more may pass.
const EACH: Duration = Duration::from_micros(1_000_000 / LOG_RATE as u64);

/// A token bucket of [`LOG_BURST`], filled by [`LOG_RATE`] a second.
#[derive(Debug)]
pub(super) struct Valve {
    /// When the bucket is full, or was.
    full_at: Instant,
}

impl Valve {
    /// A full bucket.
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Whether a line passes now.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + EACH;
        let passes = full_at - now <= EACH * LOG_BURST;
        if passes {
            self.full_at = full_at;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let start = Instant::now();
        let mut valve = Valve::new(start);
        let mut pass = |millis: u64| valve.pass(start + Duration::from_millis(millis));
        assert_eq!((0..100).filter(|_| pass(0)).count(), 10);
        assert_eq!([pass(199), pass(200), pass(201)], [false, true, false]);
        // What is refused costs nothing; a second lets five pass.
        assert_eq!((1..=100).filter(|number| pass(200 + number * 10)).count(), 5);
        assert_eq!(
            (0..100).filter(|_| pass(60_000)).count(),
            10,
            "a bucket is never fuller than full"
        );
    }
}
