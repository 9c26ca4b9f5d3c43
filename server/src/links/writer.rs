//! What devices say, written in batches and in the order in which it came: one task a node.
//!
//! Joins, statuses and ends of links are written as they come, many in one transaction. Percents and interfaces are kept in
//! memory and written once a second, the last one of each device. A join or an end of an update drops what is kept of its device.

use std::collections::HashMap;
use std::time::Duration;

use muster_link::limits::FIELD_MAX;
use muster_link::{FirmwareMeta, Stage, StatusUpdate, ToDevice, Update};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::session::{Report, Welcome};
use crate::deployments::model::Told;
use crate::deployments::{Outcome, Scheduler, Status, service as deployments};
use crate::devices::model::LinkId;
use crate::devices::service::{self as devices, JoinRecord};
use crate::devices::{DeviceId, Peer};
use crate::firmware::{FirmwareId, FirmwareUrls, Holder};
use crate::keys::service as keys;
use crate::platform::Platform;
use crate::platform::sweep::Sweep;

/// Entries that may wait. Past it joins are refused, reports dropped, and the link that sent them is closed.
const WAITING_MAX: usize = 16_384;
/// Entries of one transaction.
const BATCH_MAX: usize = 512;
/// How often percents and times are written.
const FLUSH: Duration = Duration::from_secs(1);
/// Devices of which a time is kept until the next flush.
const HEARD_MAX: usize = 100_000;

/// Takes what is to be written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer(mpsc::Sender<Entry>);

/// The other end: what [`run`] takes.
#[derive(Debug)]
pub struct Work(mpsc::Receiver<Entry>);

/// One thing to write.
#[derive(Debug)]
pub enum Entry {
    /// A device joined; the answer is what it is told.
    Join(Box<JoinRecord>, oneshot::Sender<Welcome>),
    /// A joined device reports.
    Report(Peer, Report),
    /// A link ended, for this reason; the time is when it was last heard.
    End(Peer, LinkId, &'static str),
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

#[derive(Debug)]
struct Desk {
    platform: Platform,
    proof: Sweep,
    urls: FirmwareUrls,
    scheduler: Scheduler,
    percents: HashMap<DeviceId, (Peer, Status, Option<i16>)>,
    heard: HashMap<DeviceId, OffsetDateTime>,
    interfaces: HashMap<DeviceId, String>,
}

/// Writes until told to stop, then what is left.
pub(super) async fn run(
    platform: Platform,
    proof: Sweep,
    mut work: Work,
    urls: FirmwareUrls,
    scheduler: Scheduler,
    stop: CancellationToken,
) {
    let mut desk = Desk {
        platform,
        proof,
        urls,
        scheduler,
        percents: HashMap::new(),
        heard: HashMap::new(),
        interfaces: HashMap::new(),
    };
    let mut flush = tokio::time::interval(FLUSH);
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = flush.tick() => desk.flush().await,
            count = work.0.recv_many(&mut batch, BATCH_MAX) => {
                if count == 0 {
                    break;
                }
                desk.write(std::mem::take(&mut batch)).await;
            }
            () = stop.cancelled() => break,
        }
    }
    while work.0.try_recv().map(|entry| batch.push(entry)).is_ok() {}
    desk.write(batch).await;
    desk.flush().await;
}

impl Desk {
    /// Entries of one kind that stand together are written together; kinds keep their order.
    async fn write(&mut self, entries: Vec<Entry>) {
        let (mut joins, mut ends) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Join(record, answer) => {
                    self.end_links(&mut ends).await;
                    joins.push((*record, answer));
                }
                Entry::End(peer, link, reason) => {
                    self.join(&mut joins).await;
                    ends.push((peer, link, reason));
                }
                Entry::Report(peer, report) => {
                    if joins.iter().any(|(record, _)| record.peer.device() == peer.device()) {
                        self.join(&mut joins).await;
                    }
                    self.report(peer, report).await;
                }
            }
        }
        self.join(&mut joins).await;
        self.end_links(&mut ends).await;
        self.platform.events.ring();
    }

    async fn join(&mut self, joins: &mut Vec<(JoinRecord, oneshot::Sender<Welcome>)>) {
        if joins.is_empty() {
            return;
        }
        let (records, answers): (Vec<_>, Vec<_>) = std::mem::take(joins).into_iter().unzip();
        for record in &records {
            self.percents.remove(&record.peer.device());
        }
        match self.write_joins(&records).await {
            Ok(mut welcomes) => {
                for (record, answer) in records.iter().zip(answers) {
                    let _ = answer.send(welcomes.remove(&record.peer.device()).unwrap_or_default());
                    self.scheduler.wake(record.peer.product());
                }
            }
            // Dropped answers are refused joins; the devices join again.
            Err(error) => tracing::warn!(%error, joins = records.len(), "joins could not be written"),
        }
    }

    async fn write_joins(&self, records: &[JoinRecord]) -> sqlx::Result<HashMap<DeviceId, Welcome>> {
        let mut tx = self.platform.db.begin().await?;
        let joined = devices::join(&mut tx, &self.platform, self.proof, records).await?;
        let mut effects = deployments::arrive(&mut tx, &self.platform, self.proof, records, &joined).await?;
        let wants = |record: &&JoinRecord| record.join.wants_firmware_keys() || record.join.wants_archive_keys();
        let orgs: Vec<_> = records.iter().filter(wants).map(|record| record.peer.org()).collect();
        let keys = if orgs.is_empty() {
            HashMap::new()
        } else {
            keys::of_orgs(&mut tx, self.proof, &orgs).await?
        };
        tx.commit().await?;
        let welcome = |record: &JoinRecord| {
            let update = match effects.remove(&record.peer.device()) {
                Some(deployments::Effect::Tell(told)) => Some(self.update(&told)),
                _ => None,
            };
            Welcome {
                keys: keys.get(&record.peer.org()).cloned().unwrap_or_default(),
                update,
                ..Welcome::default()
            }
        };
        let mut welcome = welcome;
        Ok(records
            .iter()
            .map(|record| (record.peer.device(), welcome(record)))
            .collect())
    }

    fn update(&self, told: &Told) -> ToDevice {
        update_message(&self.urls, told, self.platform.clock.now())
    }

    async fn report(&mut self, peer: Peer, report: Report) {
        self.heard(&peer);
        let outcome = match report {
            Report::Progress(None, 100) => return self.keep(peer, Status::Completed, Some(100)),
            Report::Progress(Some(Stage::Downloading), percent) => {
                return self.keep(peer, Status::Downloading, Some(percent.into()));
            }
            Report::Progress(_, percent) => return self.keep(peer, Status::Updating, Some(percent.into())),
            Report::Status(StatusUpdate::Received) => return self.keep(peer, Status::Received, None),
            Report::Status(StatusUpdate::Started) => return self.keep_started(peer),
            Report::Status(StatusUpdate::Completed) => {
                self.keep(peer, Status::Completed, Some(100));
                return self.flush_percents().await;
            }
            Report::Status(StatusUpdate::Failed { reason }) => Outcome::Failed(or_unsaid(reason)),
            Report::Status(StatusUpdate::Ignored { reason }) => Outcome::Ignored(or_unsaid(reason)),
            Report::Status(StatusUpdate::Rescheduled { delay, reason }) => {
                Outcome::Rescheduled(delay, or_unsaid(reason))
            }
            Report::Validated => return self.validated(&peer).await,
            Report::Interface(interface) => return self.keep_interface(&peer, &interface),
            _ => return,
        };
        self.percents.remove(&peer.device());
        if let Err(error) = deployments::report_end(&self.platform, self.proof, &peer, &outcome).await {
            tracing::warn!(%error, device.id = %peer.device(), "the end of an update could not be written");
        }
        self.scheduler.wake(peer.product());
    }

    fn keep(&mut self, peer: Peer, status: Status, percent: Option<i16>) {
        self.percents.insert(peer.device(), (peer, status, percent));
    }

    /// A device says so again at each retry, in the middle of its progress.
    fn keep_started(&mut self, peer: Peer) {
        if self
            .percents
            .get(&peer.device())
            .is_none_or(|(_, status, _)| *status <= Status::Started)
        {
            self.keep(peer, Status::Started, None);
        }
    }

    fn heard(&mut self, peer: &Peer) {
        if self.heard.len() < HEARD_MAX {
            self.heard.insert(peer.device(), self.platform.clock.now());
        }
    }

    async fn validated(&mut self, peer: &Peer) {
        let written = async {
            let mut conn = self.platform.db.acquire().await?;
            devices::validated(&mut conn, &self.platform, peer).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, device.id = %peer.device(), "a validation could not be written");
        }
        self.scheduler.wake(peer.product());
    }

    /// Every device says it once after its join: a storm of them must not be a statement each.
    fn keep_interface(&mut self, peer: &Peer, interface: &str) {
        if self.interfaces.len() < HEARD_MAX {
            let interface = interface.chars().take(FIELD_MAX / 16).collect();
            self.interfaces.insert(peer.device(), interface);
        }
    }

    async fn end_links(&mut self, ends: &mut Vec<(Peer, LinkId, &'static str)>) {
        if ends.is_empty() {
            return;
        }
        let ends = std::mem::take(ends);
        let rows: Vec<(DeviceId, LinkId, &'static str)> = ends
            .iter()
            .map(|(peer, link, reason)| (peer.device(), *link, *reason))
            .collect();
        let written = async {
            let mut tx = self.platform.db.begin().await?;
            let gone = devices::disconnect(&mut tx, &self.platform, self.proof, &rows).await?;
            deployments::disconnected(&mut tx, &self.platform, self.proof, &gone).await?;
            tx.commit().await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, links = rows.len(), "ends of links could not be written");
        }
        for (peer, ..) in &ends {
            self.scheduler.wake(peer.product());
        }
    }

    async fn flush(&mut self) {
        self.flush_percents().await;
        let seen: Vec<(DeviceId, OffsetDateTime)> = self.heard.drain().collect();
        let interfaces: Vec<(DeviceId, String)> = self.interfaces.drain().collect();
        if seen.is_empty() && interfaces.is_empty() {
            return;
        }
        let written = async {
            let mut conn = self.platform.db.acquire().await?;
            devices::heard(&mut conn, self.proof, &seen).await?;
            devices::set_interfaces(&mut conn, self.proof, &interfaces).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, devices = seen.len(), "when devices were heard could not be written");
        }
    }

    async fn flush_percents(&mut self) {
        if self.percents.is_empty() {
            return;
        }
        let rows: Vec<(DeviceId, Status, Option<i16>)> = self
            .percents
            .drain()
            .map(|(device, (_, status, percent))| (device, status, percent))
            .collect();
        let written = async {
            let mut tx = self.platform.db.begin().await?;
            deployments::report_progress(&mut tx, &self.platform, self.proof, &rows).await?;
            tx.commit().await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, devices = rows.len(), "progress could not be written");
        }
        self.platform.events.ring();
    }
}

fn or_unsaid(reason: String) -> String {
    if reason.trim().is_empty() {
        "The device gave no reason.".to_owned()
    } else {
        reason
    }
}

/// The message that tells a device of its update, with a fresh URL.
pub(super) fn update_message(urls: &FirmwareUrls, told: &Told, now: OffsetDateTime) -> ToDevice {
    let holder = Holder::Device(told.device.0);
    let url = urls.sign(told.org, FirmwareId(told.firmware_id), holder, now);
    let checksum: String = told
        .sha256
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02X}"));
    ToDevice::Update(Box::new(Update {
        update_available: true,
        firmware_url: Some(url),
        firmware_meta: Some(FirmwareMeta {
            uuid: told.uuid.to_string(),
            product: told.product.clone(),
            platform: told.platform.clone(),
            architecture: told.architecture.clone(),
            version: told.version.clone(),
            author: told.author.clone(),
            description: told.description.clone(),
            misc: told.misc.clone(),
            vcs_identifier: told.vcs_identifier.clone(),
        }),
        size: u64::try_from(told.size_bytes).ok(),
        checksum: Some(checksum),
        partials_checksums: None,
        deployment_id: None,
    }))
}
