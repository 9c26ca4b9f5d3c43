//! Who is let in, before a byte of TLS is read: so many new connections a second, and so many handshakes at once. Devices
//! beyond that wait in the listener's queue; when that is full too, the kernel lets them try again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::platform::metrics::Metrics;

/// Connections taken each second, unless configured otherwise.
pub const RATE: u32 = 4000;
/// Handshakes at once, unless configured otherwise.
pub const HANDSHAKES: u32 = 1024;
/// How long a device may take for its handshake.
const PATIENCE: Duration = Duration::from_secs(15);
/// … and while half of the places are taken.
const PATIENCE_WHEN_CROWDED: Duration = Duration::from_secs(5);
/// A node that is full looks again after this time.
const LOOK: Duration = Duration::from_millis(20);

/// How many may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections a second; a burst may be as large.
    pub rate: u32,
    /// Handshakes at once.
    pub handshakes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate: RATE,
            handshakes: HANDSHAKES,
        }
    }
}

/// The gate of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    bucket: Mutex<Bucket>,
    handshakes: AtomicUsize,
    metrics: Metrics,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    fn fill(&mut self, rate: u32, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = f64::from(rate).min(self.tokens + seconds * f64::from(rate));
        self.filled_at = now;
    }
}

impl Admission {
    /// An open gate.
    pub fn new(limits: Limits, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            limits,
            bucket: Mutex::new(Bucket {
                tokens: f64::from(limits.rate),
                filled_at: Instant::now(),
            }),
            handshakes: AtomicUsize::new(0),
            metrics,
        }))
    }

    /// Whether a connection may be taken now; if not, when to ask again.
    ///
    /// # Errors
    /// The time to wait.
    pub fn check(&self, now: Instant) -> Result<(), Duration> {
        let limits = self.0.limits;
        if self.0.handshakes.load(Ordering::Relaxed) >= limits.handshakes as usize {
            self.0.metrics.connections_held.inc();
            return Err(LOOK);
        }
        let mut bucket = self.0.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.fill(limits.rate, now);
        if bucket.tokens >= 1.0 {
            return Ok(());
        }
        self.0.metrics.connections_held.inc();
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) / f64::from(limits.rate)).max(Duration::from_millis(1)))
    }

    /// Takes a connection: its handshake begins.
    pub fn enter(&self, now: Instant) -> Entered {
        let mut bucket = self.0.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.fill(self.0.limits.rate, now);
        bucket.tokens -= 1.0;
        drop(bucket);
        let before = self.0.handshakes.fetch_add(1, Ordering::Relaxed);
        self.0.metrics.handshakes.inc();
        let is_crowded = before >= self.0.limits.handshakes as usize / 2;
        Entered {
            admission: self.clone(),
            patience: if is_crowded { PATIENCE_WHEN_CROWDED } else { PATIENCE },
        }
    }
}

/// A handshake that was begun; its place is given back when this is dropped.
#[derive(Debug)]
pub struct Entered {
    admission: Admission,
    /// How long it may take.
    pub patience: Duration,
}

impl Entered {
    /// Counts how it ended.
    pub fn ends(&self, outcome: &'static str) {
        let ended = &self.admission.0.metrics.handshakes_ended;
        ended.with_label_values(&[outcome]).inc();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.admission.0.handshakes.fetch_sub(1, Ordering::Relaxed);
        self.admission.0.metrics.handshakes.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(rate: u32, handshakes: u32) -> Admission {
        Admission::new(Limits { rate, handshakes }, Metrics::new().unwrap())
    }

    #[test]
    fn so_many_a_second_and_no_more() {
        let (admission, start) = (admission(100, 10_000), Instant::now());
        let mut entered = Vec::new();
        let mut let_in = |now| {
            let before = entered.len();
            while admission.check(now).is_ok() {
                entered.push(admission.enter(now));
            }
            entered.len() - before
        };
        assert_eq!(let_in(start), 100);
        assert_eq!(let_in(start + Duration::from_millis(500)), 50);
        assert!((99..=100).contains(&let_in(start + Duration::from_mins(1))));
        let wait = admission.check(start + Duration::from_mins(1)).unwrap_err();
        assert!(wait <= Duration::from_millis(11), "{wait:?}");
    }

    #[test]
    fn handshakes_at_once_are_bounded_and_shorter_when_many() {
        let (admission, now) = (admission(1000, 4), Instant::now());
        let mut entered: Vec<Entered> = (0..4).map(|_| admission.enter(now)).collect();
        assert_eq!(admission.check(now), Err(LOOK));
        let patience: Vec<Duration> = entered.iter().map(|one| one.patience).collect();
        assert_eq!(
            patience,
            [PATIENCE, PATIENCE, PATIENCE_WHEN_CROWDED, PATIENCE_WHEN_CROWDED]
        );
        entered.pop();
        assert_eq!(admission.check(now), Ok(()));
    }
}
