//! What time it is, on a device whose clock may be wrong.
//!
//! A board without a battery wakes up in 1970. Then nobody can say whether a certificate has expired, and a signature of
//! that time is refused. So: a clock before [`EPOCH`] is no clock. The server's `Date`, which came over an authenticated
//! connection, is the clock then; until there is one, certificates are checked for everything but the time (see
//! `trust.rs`). A clock that runs, but late, is helped when it signs (device-link §1.5).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::Now;

/// Seconds since 1970 before which no agent of this kind existed: 2026-08-01.
pub const EPOCH: u64 = 1_785_542_400;

/// The device's clock and what a server said of the time.
#[derive(Debug, Default)]
pub struct TrustedTime {
    told: Mutex<Option<(u64, Instant)>>,
}

impl TrustedTime {
    /// A server said that it is this late; what another one said before is forgotten.
    pub fn told(&self, date: SystemTime, now: Now) {
        let seconds = date.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((seconds, now.instant));
    }

    /// The time by what the server said, in seconds since 1970.
    fn by_server(&self, now: Now) -> Option<u64> {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.map(|(seconds, at)| seconds + now.instant.saturating_duration_since(at).as_secs())
    }

    /// The time in seconds since 1970, if anybody knows it.
    pub fn known(&self, now: Now) -> Option<u64> {
        let device = now.wall_ms / 1000;
        let server = || self.by_server(now).filter(|server| *server >= EPOCH);
        if device >= EPOCH { Some(device) } else { server() }
    }

    /// The time to sign with, in seconds since 1970: the later of both (device-link §1.5), never rounded up.
    pub fn to_sign(&self, now: Now) -> u64 {
        (now.wall_ms / 1000).max(self.by_server(now).unwrap_or(0))
    }

    /// How far the device's clock is off what a server says now.
    pub fn skew(date: SystemTime, now: Now) -> Duration {
        let device = UNIX_EPOCH + Duration::from_millis(now.wall_ms);
        date.duration_since(device)
            .or_else(|_| device.duration_since(date))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now {
            wall_ms: seconds * 1000 + 999,
            instant: Instant::now(),
        }
    }

    fn date(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn clock_that_runs_is_believed_and_one_that_does_not_is_not() {
        let time = TrustedTime::default();
        assert_eq!(time.known(at(EPOCH + 5)), Some(EPOCH + 5));
        assert_eq!(time.known(at(77)), None);
        let now = at(77);
        time.told(date(EPOCH + 1000), now);
        assert_eq!(time.known(now.after(Duration::from_secs(30))), Some(EPOCH + 1030));
        assert_eq!(time.known(at(EPOCH + 5)), Some(EPOCH + 5));
        time.told(date(3), now);
        assert_eq!(time.known(now), None);
    }

    #[test]
    fn signature_carries_the_later_time_and_a_wrong_date_poisons_nothing_for_long() {
        let (time, now) = (TrustedTime::default(), at(EPOCH));
        assert_eq!(time.to_sign(now), EPOCH);
        time.told(date(EPOCH - 500), now);
        assert_eq!(time.to_sign(now), EPOCH);
        time.told(date(EPOCH + 600), now);
        assert_eq!(time.to_sign(now.after(Duration::from_secs(10))), EPOCH + 610);
        time.told(date(EPOCH), now);
        assert_eq!(time.to_sign(now), EPOCH);
    }
}
