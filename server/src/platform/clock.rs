//! Time is an argument: whoever needs it holds a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::{Duration, OffsetDateTime};

/// The time of day. The system's in a server, a hand-moved one in tests.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is moved by [`Clock::advance`].
    pub fn manual(start: OffsetDateTime) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(
            start.unix_timestamp_nanos() as i64 / 1000,
        ))))
    }

    /// Now, in UTC, with the database's precision of a microsecond.
    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
            Source::System => {
                let now = OffsetDateTime::now_utc();
                now.replace_nanosecond(now.nanosecond() / 1000 * 1000).unwrap_or(now)
            }
            Source::Manual(micros) => {
                let nanos = i128::from(micros.load(Ordering::SeqCst)) * 1000;
                OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
            }
        }
    }

    /// Moves a manual clock forward; the system's clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(micros) = &self.0 {
            micros.fetch_add(by.whole_microseconds() as i64, Ordering::SeqCst);
        }
    }
}
