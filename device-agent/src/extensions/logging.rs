//! The extension `logging`: the agent's own log lines, as many as a server takes (device-link §3.5), and none waits for the
//! link: what does not fit is counted and left out.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use muster_link::LogLine;
use muster_link::limits::{LOG_BURST, LOG_RATE};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::clock::{self, Now};

/// Lines that wait to be sent.
const LINES_MAX: usize = 32;

/// So many lines a second, and so many at once.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Option<Instant>,
}

impl Bucket {
    fn takes(&mut self, now: Instant) -> bool {
        let passed = self
            .at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.tokens = (self.tokens + passed * f64::from(LOG_RATE)).min(f64::from(LOG_BURST));
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[derive(Debug)]
struct Tap {
    sender: mpsc::Sender<LogLine>,
    bucket: Bucket,
    dropped: u64,
}

/// Where lines go while the extension is attached; shared by the log's layer and the agent.
#[derive(Debug, Clone, Default)]
pub struct Valve(Arc<Mutex<Option<Tap>>>);

impl Valve {
    /// The process's one.
    pub fn global() -> Self {
        static VALVE: OnceLock<Valve> = OnceLock::new();
        VALVE.get_or_init(Self::default).clone()
    }

    /// Lines flow from now on.
    pub fn open(&self) -> mpsc::Receiver<LogLine> {
        let (sender, lines) = mpsc::channel(LINES_MAX);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Tap {
            sender,
            bucket: Bucket {
                tokens: f64::from(LOG_BURST),
                at: None,
            },
            dropped: 0,
        });
        lines
    }

    /// No line flows any more.
    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn push(&self, now: Now, line: impl FnOnce(u64) -> Option<LogLine>) {
        let mut tap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tap) = &mut *tap else {
            return;
        };
        if !tap.bucket.takes(now.instant) {
            tap.dropped += 1;
            return;
        }
        let sent = line(tap.dropped).map(|line| tap.sender.try_send(line));
        tap.dropped = if matches!(sent, Some(Ok(()))) {
            0
        } else {
            tap.dropped + 1
        };
    }
}

/// The log's layer. What the link itself says is left out: it would speak of its own speaking.
#[derive(Debug)]
pub struct Forward(pub Valve);

impl<S: Subscriber> Layer<S> for Forward {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target().starts_with("muster_agent::link") || *metadata.level() > Level::INFO {
            return;
        }
        let now = clock::now();
        self.0.push(now, |dropped| line(event, now, dropped));
    }
}

fn line(event: &Event<'_>, now: Now, dropped: u64) -> Option<LogLine> {
    let mut text = Text::default();
    event.record(&mut text);
    let level = match *event.metadata().level() {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    };
    let mut meta = BTreeMap::from([("target".to_owned(), event.metadata().target().to_owned())]);
    if dropped > 0 {
        meta.insert("dropped".to_owned(), dropped.to_string());
    }
    Some(LogLine {
        at: OffsetDateTime::from_unix_timestamp_nanos(i128::from(now.wall_ms) * 1_000_000).ok()?,
        level,
        message: text.message + &text.fields,
        meta,
    })
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn lines_flow_while_the_valve_is_open_and_no_faster_than_they_may() {
        let valve = Valve::default();
        let subscriber = tracing_subscriber::registry().with(Forward(valve.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("nobody listens");
            let mut lines = valve.open();
            tracing::warn!(update.uuid = "u", count = 2, "update failed");
            tracing::debug!("too little");
            tracing::info!(target: "muster_agent::link::session", "of itself");
            let line = lines.try_recv().unwrap();
            assert_eq!(
                (line.level, line.message.as_str()),
                ("warning", "update failed update.uuid=u count=2")
            );
            assert!(lines.try_recv().is_err());
            for _ in 0..100 {
                tracing::info!("flood");
            }
            let taken = std::iter::from_fn(|| lines.try_recv().ok()).count();
            assert!((9..=15).contains(&taken), "{taken}");
            valve.close();
            tracing::info!("nobody listens again");
            assert!(lines.try_recv().is_err());
        });
    }

    #[test]
    fn bucket_fills_again() {
        let start = Instant::now();
        let mut bucket = Bucket { tokens: 1.0, at: None };
        assert!(bucket.takes(start) && !bucket.takes(start));
        assert!(!bucket.takes(start + Duration::from_millis(100)));
        assert!(bucket.takes(start + Duration::from_millis(300)));
    }
}
