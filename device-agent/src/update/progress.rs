//! Which progress is worth a message (device-link §5.3).

use std::time::{Duration, Instant};

use muster_link::Stage;

/// At most this often.
const INTERVAL: Duration = Duration::from_millis(500);

/// Lets the first value of a stage through, then only greater ones, not too often.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Option<(Stage, u8, Instant)>,
}

impl Throttle {
    /// Whether this percentage is to be sent now.
    pub(super) fn passes(&mut self, stage: Stage, percent: u8, now: Instant) -> bool {
        if let Some((of, last, at)) = self.last
            && of == stage
            && (percent <= last || now.saturating_duration_since(at) < INTERVAL)
        {
            return false;
        }
        self.last = Some((stage, percent, now));
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
        assert!(throttle.passes(Stage::Downloading, 90, start));
        assert!(throttle.passes(Stage::Updating, 0, start));
        assert!(!throttle.passes(Stage::Updating, 1, start));
        assert!(!throttle.passes(Stage::Updating, 0, later));
        assert!(throttle.passes(Stage::Updating, 1, later));
        assert!(!throttle.passes(Stage::Updating, 1, later + INTERVAL));
    }
}
