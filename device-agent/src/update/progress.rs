//! Which progress is worth a message (device-link §5.3).

use std::time::{Duration, Instant};

/// At most this often.
const INTERVAL: Duration = Duration::from_millis(500);

/// Lets the first value through, then only greater ones, not too often.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Option<(u8, Instant)>,
}

impl Throttle {
    /// Whether this percentage is to be sent now.
    pub(super) fn passes(&mut self, percent: u8, now: Instant) -> bool {
        if let Some((last, at)) = self.last
            && (percent <= last || now.saturating_duration_since(at) < INTERVAL)
        {
            return false;
        }
        self.last = Some((percent, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_passes_then_only_growth_at_its_time() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let later = start + INTERVAL;
        assert!(throttle.passes(0, start));
        assert!(!throttle.passes(1, start));
        assert!(!throttle.passes(0, later));
        assert!(throttle.passes(1, later));
        assert!(!throttle.passes(1, later + INTERVAL));
    }
}
