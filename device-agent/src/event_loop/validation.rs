//! Bookkeeping of new firmware's trial: when to check it, when to say that it stays, when the watchdog bites.

use std::time::Duration;

use tokio::time::Instant;

use crate::platform::Conduct;

/// Firmware that is not healthy yet is checked again after this (device-link §5.2).
const CHECK_AGAIN: Duration = Duration::from_secs(10);

/// The trial.
#[derive(Debug)]
pub(super) struct Validation {
    on_trial: bool,
    validates: bool,
    joined: bool,
    checking: bool,
    server_knows: bool,
    check_at: Option<Instant>,
    watchdog: Option<Instant>,
}

impl Validation {
    /// Firmware that has just booted.
    pub(super) fn new(conduct: Conduct, validated: Option<bool>, now: Instant) -> Self {
        let on_trial = validated == Some(false);
        Self {
            on_trial,
            validates: conduct.validates,
            joined: false,
            checking: false,
            server_knows: false,
            check_at: None,
            watchdog: conduct.watchdog.filter(|_| on_trial).map(|timeout| now + timeout),
        }
    }

    /// When the watchdog bites.
    pub(super) fn watchdog(&self) -> Option<Instant> {
        self.watchdog
    }

    /// When a check is due.
    pub(super) fn check_at(&self) -> Option<Instant> {
        self.check_at
    }

    /// A join says this of the firmware.
    pub(super) fn told(&mut self, validated: Option<bool>) {
        self.server_knows = validated != Some(false);
    }

    /// The server has us: half of being healthy.
    pub(super) fn joined(&mut self, now: Instant) {
        self.joined = true;
        if self.on_trial && self.validates && !self.checking {
            self.check_at = Some(now);
        }
    }

    /// The server is gone.
    pub(super) fn lost(&mut self) {
        self.joined = false;
        self.check_at = None;
    }

    /// Whether a check is to begin now.
    pub(super) fn begin_check(&mut self, now: Instant) -> bool {
        if self.checking || self.check_at.is_none_or(|at| at > now) {
            return false;
        }
        self.check_at = None;
        self.checking = true;
        true
    }

    /// The check failed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.checking = false;
        if self.joined {
            self.check_at = Some(now + CHECK_AGAIN);
        }
    }

    /// The firmware is here to stay; returns whether the server must still be told.
    pub(super) fn succeeded(&mut self) -> bool {
        self.checking = false;
        self.on_trial = false;
        self.watchdog = None;
        self.check_at = None;
        let tell = !self.server_knows;
        self.server_knows = true;
        tell
    }

    /// A reboot is under way: nothing of this matters any more.
    pub(super) fn stop(&mut self) {
        self.check_at = None;
        self.watchdog = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> (Validation, Instant) {
        let conduct = Conduct {
            crashes: false,
            dials: true,
            validates: true,
            watchdog: Some(Duration::from_secs(30)),
        };
        let now = Instant::now();
        (Validation::new(conduct, Some(false), now), now)
    }

    #[test]
    fn firmware_is_checked_once_it_is_joined_and_told_once() {
        let (mut trial, now) = trial();
        assert!(!trial.begin_check(now));
        trial.told(Some(false));
        trial.joined(now);
        assert!(trial.begin_check(now));
        assert!(!trial.begin_check(now));
        assert!(trial.succeeded());
        assert!(!trial.succeeded());
        assert_eq!(trial.watchdog(), None);
    }

    #[test]
    fn failed_check_comes_again_while_the_watchdog_waits() {
        let (mut trial, now) = trial();
        trial.joined(now);
        assert!(trial.begin_check(now));
        trial.failed(now);
        assert!(!trial.begin_check(now));
        assert!(trial.begin_check(now + CHECK_AGAIN));
        assert_eq!(trial.watchdog(), Some(now + Duration::from_secs(30)));
    }

    #[test]
    fn firmware_that_stays_is_never_checked() {
        let (mut trial, now) = trial();
        trial.succeeded();
        trial.told(Some(true));
        trial.joined(now);
        assert!(!trial.begin_check(now));
    }
}
