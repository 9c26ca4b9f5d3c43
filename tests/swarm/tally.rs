//! What all devices of the process have seen, and the lines that tell of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::stamp::now_ns;

/// A push is told once all joined devices have read it, or when this long nobody has.
const QUIET_NS: u64 = 500_000_000;

/// Counts and stamps.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    links: usize,
    joined: usize,
    dialing: usize,
    failures: BTreeMap<String, u64>,
    has_news: bool,
    first_dial_ns: Option<u64>,
    last_join_ns: u64,
    join_ns: Vec<u64>,
    all_were_joined: bool,
    pushes: BTreeMap<String, Vec<u64>>,
    beats_ns: Vec<u64>,
    reports: u64,
}

impl Tally {
    /// Counts for this many devices.
    pub fn new(links: usize) -> Self {
        Self(Mutex::new(Counts {
            links,
            ..Counts::default()
        }))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device dials; when.
    pub fn dials(&self) -> u64 {
        let now = now_ns();
        let mut counts = self.counts();
        counts.dialing += 1;
        counts.first_dial_ns.get_or_insert(now);
        now
    }

    /// An attempt failed for this reason.
    pub fn failed(&self, reason: &str) {
        let mut counts = self.counts();
        counts.dialing -= 1;
        *counts.failures.entry(reason.to_owned()).or_default() += 1;
        counts.has_news = true;
    }

    /// The reply to a join was read; the dial began then.
    pub fn joined(&self, dialed_ns: u64) {
        let now = now_ns();
        let mut counts = self.counts();
        counts.dialing -= 1;
        counts.joined += 1;
        counts.last_join_ns = now;
        counts.join_ns.push(now - dialed_ns);
        counts.has_news = true;
    }

    /// A joined link ended for this reason.
    pub fn left(&self, reason: &str) {
        let mut counts = self.counts();
        counts.joined -= 1;
        counts.all_were_joined = false;
        *counts.failures.entry(format!("left: {reason}")).or_default() += 1;
        counts.has_news = true;
    }

    /// A push of this kind was read now.
    pub fn pushed(&self, kind: &str) {
        let now = now_ns();
        let mut counts = self.counts();
        match counts.pushes.get_mut(kind) {
            Some(stamps) => stamps.push(now),
            None => drop(counts.pushes.insert(kind.to_owned(), vec![now])),
        }
    }

    /// A heartbeat was answered after this long.
    pub fn beat(&self, took_ns: u64) {
        self.counts().beats_ns.push(took_ns);
    }

    /// A health report was sent.
    pub fn reported(&self) {
        self.counts().reports += 1;
    }

    /// The next time that all have joined is measured from the next dial.
    pub fn begin_anew(&self) {
        let mut counts = self.counts();
        counts.first_dial_ns = None;
        counts.join_ns.clear();
    }

    /// The lines that are due, and whether all have joined.
    pub fn lines(&self) -> (Vec<Value>, bool) {
        let now = now_ns();
        let mut counts = self.counts();
        let mut lines = Vec::new();
        if std::mem::take(&mut counts.has_news) {
            lines.push(
                json!({"event": "links", "at_ns": now, "joined": counts.joined, "dialing": counts.dialing,
                "failures": counts.failures}),
            );
        }
        if counts.joined == counts.links && !counts.all_were_joined {
            counts.all_were_joined = true;
            lines.push(counts.all_joined());
        }
        lines.extend(counts.read_pushes(now));
        (lines, counts.all_were_joined)
    }

    /// The line on heartbeats since the last one.
    pub fn beats(&self) -> Value {
        let (mut beats, reports) = {
            let mut counts = self.counts();
            (std::mem::take(&mut counts.beats_ns), counts.reports)
        };
        beats.sort_unstable();
        let us = |percent| at(&beats, percent) / 1000;
        json!({"event": "beats", "n": beats.len(), "p50_us": us(50), "p99_us": us(99), "health_reports": reports})
    }
}

impl Counts {
    fn all_joined(&mut self) -> Value {
        self.join_ns.sort_unstable();
        let ms = |percent| at(&self.join_ns, percent) as f64 / 1e6;
        json!({"event": "joined", "n": self.joined, "first_dial_ns": self.first_dial_ns, "last_join_ns": self.last_join_ns,
            "p50_ms": ms(50), "p99_ms": ms(99)})
    }

    fn read_pushes(&mut self, now: u64) -> Vec<Value> {
        let joined = self.joined;
        let is_due = |stamps: &mut Vec<u64>| {
            stamps.len() >= joined || stamps.last().is_some_and(|last| now.saturating_sub(*last) > QUIET_NS)
        };
        self.pushes
            .extract_if(.., |_, stamps| is_due(stamps))
            .map(|(kind, mut stamps)| {
                stamps.sort_unstable();
                json!({"event": "push", "kind": kind, "n": stamps.len(), "first_ns": at(&stamps, 0),
                    "p50_ns": at(&stamps, 50), "p99_ns": at(&stamps, 99), "last_ns": at(&stamps, 100)})
            })
            .collect()
    }
}

/// The value below which so many of a hundred lie, of sorted values.
fn at(sorted: &[u64], percent: usize) -> u64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(
            (at(&values, 0), at(&values, 50), at(&values, 99), at(&values, 100)),
            (1, 51, 100, 100)
        );
        assert_eq!(at(&[], 50), 0);
    }

    #[test]
    fn all_have_joined_is_told_once_and_again_after_a_loss() {
        let tally = Tally::new(2);
        let count = |tally: &Tally| {
            let (lines, _) = tally.lines();
            lines.iter().filter(|line| line["event"] == "joined").count()
        };
        for _ in 0..2 {
            let dialed = tally.dials();
            tally.joined(dialed);
        }
        assert_eq!((count(&tally), count(&tally)), (1, 0));
        tally.left("closed");
        assert_eq!(count(&tally), 0);
        let dialed = tally.dials();
        tally.joined(dialed);
        assert_eq!(count(&tally), 1);
    }

    #[test]
    fn a_push_is_told_when_all_have_read_it() {
        let tally = Tally::new(2);
        for _ in 0..2 {
            let dialed = tally.dials();
            tally.joined(dialed);
        }
        tally.pushed("update");
        assert!(tally.lines().0.iter().all(|line| line["event"] != "push"));
        tally.pushed("update");
        let (lines, _) = tally.lines();
        assert!(
            lines.iter().any(|line| line["event"] == "push" && line["n"] == 2),
            "{lines:?}"
        );
    }
}
