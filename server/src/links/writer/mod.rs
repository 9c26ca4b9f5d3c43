//! What devices say, written in batches: one task a node.
//!
//! What must be written in order (joins, ends of links, ends of updates) stands in a line and is written as it comes, many
//! in one transaction; in a storm it gathers first. The last word of each device (percents, interfaces, times) and what it
//! adds (log lines, keys in overlay networks) are kept in memory and written once a second, after the line. While the database is away both are kept, and written when it is back.

mod desk;
mod kept;
mod line;
#[cfg(test)]
mod tests;
mod update;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub(super) use self::update::{archive_message, update_message};

use self::desk::Desk;
use super::session::{Report, Welcome};
use super::wire::Waiting;
use crate::deployments::Scheduler;
use crate::devices::service::{JoinRecord, LinkEnd, LinkStart};
use crate::devices::{DeviceId, Peer};
use crate::packages::PackageUrls;
use crate::platform::Platform;
use crate::platform::sweep::Sweep;

/// Entries that may wait, and as many more in the line. Past it joins are refused and reports close the link that sent them.
const WAITING_MAX: usize = 16_384;
/// Entries of one transaction.
const BATCH_MAX: usize = 1024;
/// A batch this large is a storm: what a thousand joins a second bring while one batch is written, …
const STORM: usize = 8;
/// … in which a batch begins this much after the last.
const GATHER: Duration = Duration::from_millis(100);
/// How often last words are written.
const FLUSH: Duration = Duration::from_secs(1);
/// How long is waited after the database failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long what is left may take to be written at the end.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// Takes what is to be written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer(mpsc::Sender<Entry>);

/// The other end: what [`run`] takes.
#[derive(Debug)]
pub struct Work(mpsc::Receiver<Entry>);

/// One thing to write. What holds a [`Waiting`] counts against its link until it is written.
#[derive(Debug)]
pub enum Entry {
    /// A device opened a link.
    Open(LinkStart),
    /// A device joined; the answer is what it is told.
    Join(Box<JoinRecord>, oneshot::Sender<Welcome>, Waiting),
    /// Joined devices are told of an update.
    Told(Vec<DeviceId>),
    /// A joined device reports.
    Report(Peer, Report, Waiting),
    /// A link ended.
    End(Box<LinkEnd>),
}

impl Writer {
    pub(super) fn new() -> (Self, Work) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), Work(receiver))
    }

    /// Hands an entry over without waiting; false when the queue is full.
    pub fn write(&self, entry: Entry) -> bool {
        self.0.try_send(entry).is_ok()
    }

    /// Hands the end of a link over, waiting for room: it must not be lost.
    pub async fn write_end(&self, entry: Entry) {
        let _ = self.0.send(entry).await;
    }
}

/// Writes until told to stop, then what is left.
pub(super) async fn run(
    platform: Platform,
    proof: Sweep,
    mut work: Work,
    urls: PackageUrls,
    scheduler: Scheduler,
    stop: CancellationToken,
) {
    let mut desk = Desk::new(platform, proof, urls, scheduler);
    let mut batch = Vec::new();
    let (mut due, mut flush) = (Instant::now(), Instant::now() + FLUSH);
    loop {
        let has_room = desk.waiting() < WAITING_MAX;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            count = work.0.recv_many(&mut batch, BATCH_MAX), if has_room => {
                if count == 0 {
                    break;
                }
                batch.drain(..).for_each(|entry| desk.take(entry));
                // What came before is written first; what came with it is taken while that waits.
                if due > Instant::now() {
                    continue;
                }
            }
            () = sleep_until(due), if desk.waiting() > 0 => {}
            () = sleep_until(flush) => {}
        }
        let began = Instant::now();
        if due <= began && desk.waiting() > 0 {
            due = match desk.write_line(BATCH_MAX).await {
                Ok(written) if written >= STORM => began + GATHER,
                Ok(_) => began,
                Err(error) => {
                    tracing::warn!(%error, waiting = desk.waiting(), "what devices said could not be written; trying again");
                    Instant::now() + RETRY
                }
            };
        }
        if flush <= began || desk.is_urgent() {
            flush = began + FLUSH;
            if desk.waiting() == 0 {
                desk.flush().await;
            }
        }
    }
    while let Ok(entry) = work.0.try_recv() {
        desk.take(entry);
    }
    let rest = async {
        while desk.waiting() > 0 {
            if desk.write_line(BATCH_MAX).await.is_err() {
                tokio::time::sleep(RETRY).await;
            }
        }
        desk.flush().await;
    };
    if tokio::time::timeout(LAST_WORDS, rest).await.is_err() {
        tracing::warn!("what devices said last could not be written in time");
    }
}
