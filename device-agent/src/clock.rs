//! The one place that reads the machine's clocks; everything else takes a [`Now`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970, as far as the device knows; it may jump.
    pub wall_ms: u64,
    /// The monotonic clock.
    pub instant: Instant,
}

impl Now {
    /// This moment, later by `span`.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self {
            wall_ms: self.wall_ms.saturating_add(millis(span)),
            instant: self.instant + span,
        }
    }
}

/// Reads both clocks.
pub fn now() -> Now {
    Now {
        wall_ms: wall().duration_since(UNIX_EPOCH).map_or(0, millis),
        instant: Instant::now(),
    }
}

/// The wall clock, for comparison with a server's `Date`.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that others take as an argument"
)]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// A duration in whole milliseconds.
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
