//! How long to wait before the link is dialled again (device-link §5.1).

use std::time::Duration;

/// A server that asks for more patience than this is dialled after this.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// The delays; the last repeats.
#[derive(Debug, Clone)]
pub struct Backoff {
    steps: Vec<Duration>,
    failed: usize,
}

impl Backoff {
    /// Delays by these base values.
    pub fn new(steps: Vec<Duration>) -> Self {
        Self { steps, failed: 0 }
    }

    /// The delay after one more failed attempt: the base stretched by up to half, by a `chance` of 0 to 1, so that a fleet
    /// does not come back in step. A server's `Retry-After` counts where it is longer.
    pub fn next(&mut self, chance: f64, retry_after: Option<Duration>) -> Duration {
        let base = self.steps.get(self.failed).or(self.steps.last());
        self.failed = (self.failed + 1).min(self.steps.len());
        let stretched = |base: Duration| base.mul_f64(1.0 + 0.5 * chance.clamp(0.0, 1.0));
        let own = base.copied().map_or(Duration::from_secs(1), stretched);
        match retry_after {
            Some(asked) => own.max(stretched(asked.min(RETRY_AFTER_MAX))),
            None => own,
        }
    }

    /// The link came up: begin with the first delay again.
    pub fn reset(&mut self) {
        self.failed = 0;
    }
}

/// A number from 0 to 1 that no two devices share; 0.5 where the system has no randomness to give.
pub fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new([1, 2, 60].map(Duration::from_secs).to_vec())
    }

    #[test]
    fn delays_grow_and_the_last_repeats_until_the_link_was_up() {
        let mut backoff = backoff();
        let delays: Vec<_> = (0..5).map(|_| backoff.next(0.0, None).as_secs()).collect();
        assert_eq!(delays, [1, 2, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(0.0, None), Duration::from_secs(1));
    }

    #[test]
    fn chance_stretches_by_up_to_half() {
        assert_eq!(backoff().next(1.0, None), Duration::from_millis(1500));
        assert_eq!(backoff().next(0.5, None), Duration::from_millis(1250));
    }

    #[test]
    fn servers_wish_counts_where_it_is_longer_and_has_a_bound() {
        assert_eq!(
            backoff().next(0.0, Some(Duration::from_secs(30))),
            Duration::from_secs(30)
        );
        assert_eq!(backoff().next(0.0, Some(Duration::ZERO)), Duration::from_secs(1));
        assert_eq!(backoff().next(0.0, Some(Duration::MAX)), RETRY_AFTER_MAX);
    }

    #[test]
    fn chance_is_within_its_bounds() {
        assert!((0.0..=1.0).contains(&chance()));
    }
}
