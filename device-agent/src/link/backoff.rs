//! How long to wait before the link is dialled again (device-link §5.1).

use std::time::Duration;

/// A server that asks for more patience than this is dialled after this.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);
/// A server that closes with 1013 and says no more wants at least this.
const TRY_AGAIN_LATER: Duration = Duration::from_secs(10);
/// The close code of a server that restarts.
const CODE_RESTART: u16 = 1012;
/// The close code of a server that has too much to do.
const CODE_TRY_AGAIN_LATER: u16 = 1013;

/// Why the link is not up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It could not be opened, or was lost.
    Failed,
    /// The server asks for this much patience.
    Asked(Duration),
    /// The device has no network: a try costs the server nothing.
    NoNetwork,
}

/// The delays; the last repeats.
#[derive(Debug, Clone)]
pub struct Backoff {
    steps: Vec<Duration>,
    without_network: Duration,
    failed: usize,
}

impl Backoff {
    /// Delays by these base values, and the delay while there is no network.
    pub fn new(steps: Vec<Duration>, without_network: Duration) -> Self {
        Self {
            steps,
            without_network,
            failed: 0,
        }
    }

    /// The delay after one more failed attempt: the base stretched by up to half, by a `chance` of 0 to 1, so that a fleet
    /// does not come back in step. What a server asks for counts where it is longer. Attempts without a network are not
    /// counted.
    pub fn next(&mut self, chance: f64, why: Why) -> Duration {
        let stretched = |base: Duration| base.mul_f64(1.0 + 0.5 * chance.clamp(0.0, 1.0));
        if why == Why::NoNetwork {
            return stretched(self.without_network);
        }
        let base = self.steps.get(self.failed).or(self.steps.last());
        self.failed = (self.failed + 1).min(self.steps.len());
        let own = base.copied().map_or(Duration::from_secs(1), stretched);
        match why {
            Why::Asked(asked) => own.max(stretched(asked.min(RETRY_AFTER_MAX))),
            Why::Failed | Why::NoNetwork => own,
        }
    }

    /// The link came up: begin with the first delay again.
    pub fn reset(&mut self) {
        self.failed = 0;
    }
}

/// What a server that closes the link asks for: the seconds that its reason names, such as `retry after 30`, where it
/// restarts or has too much to do.
pub fn asked(code: u16, reason: &str) -> Why {
    let seconds = || {
        let digits = |c: char| c.is_ascii_digit();
        let start = reason.find(digits)?;
        let number: String = reason.get(start..)?.chars().take_while(|c| digits(*c)).collect();
        number.parse().ok().map(Duration::from_secs)
    };
    match code {
        CODE_RESTART => seconds().map_or(Why::Failed, Why::Asked),
        CODE_TRY_AGAIN_LATER => Why::Asked(seconds().unwrap_or(TRY_AGAIN_LATER)),
        _ => Why::Failed,
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
        Backoff::new([1, 2, 60].map(Duration::from_secs).to_vec(), Duration::from_secs(3))
    }

    #[test]
    fn delays_grow_and_the_last_repeats_until_the_link_was_up() {
        let mut backoff = backoff();
        let delays: Vec<_> = (0..5).map(|_| backoff.next(0.0, Why::Failed).as_secs()).collect();
        assert_eq!(delays, [1, 2, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(0.0, Why::Failed), Duration::from_secs(1));
    }

    #[test]
    fn chance_stretches_by_up_to_half() {
        assert_eq!(backoff().next(1.0, Why::Failed), Duration::from_millis(1500));
        assert_eq!(backoff().next(0.5, Why::Failed), Duration::from_millis(1250));
    }

    #[test]
    fn servers_wish_counts_where_it_is_longer_and_has_a_bound() {
        let after = |asked| backoff().next(0.0, Why::Asked(asked));
        assert_eq!(after(Duration::from_secs(30)), Duration::from_secs(30));
        assert_eq!(after(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(after(Duration::MAX), RETRY_AFTER_MAX);
    }

    #[test]
    fn without_a_network_the_pause_stays_short() {
        let mut backoff = backoff();
        for _ in 0..9 {
            assert_eq!(backoff.next(0.0, Why::NoNetwork), Duration::from_secs(3));
        }
        assert_eq!(backoff.next(0.0, Why::Failed), Duration::from_secs(1));
    }

    #[test]
    fn close_codes_are_honoured() {
        let seconds = |seconds| Why::Asked(Duration::from_secs(seconds));
        assert_eq!(asked(1012, "server_stopped"), Why::Failed);
        assert_eq!(asked(1012, "retry after 20"), seconds(20));
        assert_eq!(asked(1013, ""), seconds(10));
        assert_eq!(asked(1013, "retry-after=90 please"), seconds(90));
        assert_eq!(asked(1013, "99999999999999999999999"), seconds(10));
        assert_eq!(asked(1000, "retry after 20"), Why::Failed);
    }

    #[test]
    fn chance_is_within_its_bounds() {
        assert!((0.0..=1.0).contains(&chance()));
    }
}
