//! News: rows with an increasing id, kept one hour. The [`Bell`] only wakes the nodes and is rung outside the acts' own
//! transactions; each node reads on from the last id it saw, so a missed bell loses nothing and a browser may resume.

mod bell;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::bell::{Bell, BellError, NatsUrl};
use self::tail::Tail;

/// News that a slow subscriber may lag behind before it must read the rows again, by [`after`].
const BACKLOG: usize = 4096;
/// Rows read at once.
pub const BATCH: i64 = 1000;
/// A node looks without a bell this often.
const POLL: Duration = Duration::from_secs(2);
/// How long news is kept.
pub const KEPT: time::Duration = time::Duration::hours(1);

/// One piece of news: ids only.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Event {
    /// Increasing.
    pub id: i64,
    /// The tenant that may hear of it.
    pub org_id: Uuid,
    /// The product, where there is one.
    pub product_id: Option<Uuid>,
    /// What happened, such as `device.changed`.
    pub kind: String,
    /// To what.
    pub subject_id: Uuid,
}

/// Kinds of news.
pub mod kind {
    /// A device connected, disconnected, or reported something.
    pub const DEVICE: &str = "device.changed";
    /// An operator registered or changed a device.
    pub const EDITED: &str = "device.edited";
    /// Updates were assigned to the device and wait to be told.
    pub const ASSIGNED: &str = "device.assigned";
    /// The device's link must end: deleted, moved, or its credential is gone.
    pub const CUT: &str = "device.cut";
    /// The device is asked to make itself seen.
    pub const IDENTIFY: &str = "device.identify";
    /// The device is asked to reboot.
    pub const REBOOT: &str = "device.reboot";
    /// The device is asked to connect anew.
    pub const RECONNECT: &str = "device.reconnect";
    /// All connected devices are asked to make themselves seen. The subject is the product.
    pub const IDENTIFY_ALL: &str = "product.identify";
    /// All connected devices are asked to reboot. The subject is the product.
    pub const REBOOT_ALL: &str = "product.reboot";
    /// All connected devices are asked to connect anew. The subject is the product.
    pub const RECONNECT_ALL: &str = "product.reconnect";
    /// A shared secret was deactivated: the links of devices that came by it must end. The subject is the secret.
    pub const SECRET_OFF: &str = "shared_secret.deactivated";
    /// A product was deleted: the links of its devices must end. The subject is the product.
    pub const PRODUCT_GONE: &str = "product.deleted";
    /// It was switched which extensions a product's devices, or one device, may use. The subject is the product or the device.
    pub const EXTENSIONS: &str = "extensions.switched";
    /// A link gave way to a newer one of its device on another node. The subject is the link.
    pub const REPLACED: &str = "link.replaced";
    /// A deployment group was changed.
    pub const DEPLOYMENT: &str = "deployment.changed";
    /// Firmware was added or removed.
    pub const FIRMWARE: &str = "firmware.changed";
    /// An archive was added or removed.
    pub const ARCHIVE: &str = "archive.changed";
    /// A group's release has another archive: its devices are sent it. The subject is the group.
    pub const ARCHIVE_RELEASED: &str = "deployment.archive";
    /// A device may be sent its group's archive: it came into the group, or its block ended.
    pub const ELIGIBLE: &str = "device.eligible";
}

/// News to write.
#[derive(Debug, Clone, Copy)]
pub struct News {
    /// One of [`kind`].
    pub kind: &'static str,
    /// The tenant.
    pub org_id: Uuid,
    /// The product, where there is one.
    pub product_id: Option<Uuid>,
    /// To what.
    pub subject_id: Uuid,
}

/// The bus: where news is written, and where this node's readers listen.
#[derive(Debug, Clone)]
pub struct Bus {
    sender: broadcast::Sender<Event>,
    ring: Arc<Notify>,
    bell: Bell,
}

impl Bus {
    /// A bus whose nodes are woken by this bell.
    pub fn new(bell: Bell) -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG),
            ring: Arc::new(Notify::new()),
            bell,
        }
    }

    /// Everything from now on that this node reads.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    /// Rings the bell for what was just committed; returns at once. Many rings become one.
    pub fn ring(&self) {
        self.ring.notify_one();
    }

    /// Reads and hands on news until told to stop. One task a node.
    pub async fn run(self, db: PgPool, stop: CancellationToken) {
        let bell = self.clone().ring_bells(db.clone());
        let read = self.read(db);
        tokio::select! {
            () = stop.cancelled() => {}
            () = async { tokio::join!(bell, read); } => {}
        }
    }

    async fn ring_bells(self, db: PgPool) {
        loop {
            self.ring.notified().await;
            if let Err(error) = self.bell.ring(&db).await {
                tracing::warn!(%error, "the event bell could not be rung; nodes will look by themselves");
            }
        }
    }

    async fn read(self, db: PgPool) {
        let mut tail = Tail::default();
        loop {
            match self.follow(&db, &mut tail).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "news could not be read; trying again"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Hands news on to this node's readers; how many.
    fn hand_on(&self, news: Vec<Event>) -> usize {
        let count = news.len();
        for event in news {
            let _ = self.sender.send(event);
        }
        count
    }

    async fn follow(&self, db: &PgPool, tail: &mut Tail) -> Result<(), BellError> {
        let mut ear = self.bell.listen(db).await?;
        tail.begin(db).await?;
        loop {
            // A bell that cannot be heard is listened for anew; what it missed is found by the look at the rows.
            if let Ok(heard) = tokio::time::timeout(POLL, ear.heard()).await {
                heard?;
            }
            // One bell may stand for more rows than are read at once.
            while self.hand_on(tail.read(db).await?) >= BATCH as usize {}
        }
    }
}

/// News of all orgs after `id`, for a reader of this node that lagged behind: up to [`BATCH`], from the oldest on.
///
/// # Errors
/// When the database fails.
pub async fn after(conn: &mut PgConnection, id: i64) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as!(
        Event,
        "SELECT id, org_id, product_id, kind, subject_id FROM events WHERE id > $1 ORDER BY id LIMIT $2",
        id,
        BATCH
    )
    .fetch_all(conn)
    .await
}

/// Writes news in the transaction of the act. Call [`Bus::ring`] after the commit.
///
/// # Errors
/// When the database fails.
pub async fn publish(conn: &mut PgConnection, now: OffsetDateTime, news: &[News]) -> sqlx::Result<()> {
    if news.is_empty() {
        return Ok(());
    }
    let kinds: Vec<String> = news.iter().map(|one| one.kind.to_owned()).collect();
    let orgs: Vec<Uuid> = news.iter().map(|one| one.org_id).collect();
    let products: Vec<Option<Uuid>> = news.iter().map(|one| one.product_id).collect();
    let subjects: Vec<Uuid> = news.iter().map(|one| one.subject_id).collect();
    sqlx::query!(
        "INSERT INTO events (at, org_id, product_id, kind, subject_id)
         SELECT $1, o, p, k, s FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::uuid[]) AS n (o, p, k, s)",
        now,
        &orgs,
        &products as &[Option<Uuid>],
        &kinds,
        &subjects
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// News of an org after `id`, for a browser that resumes; at most `limit` rows.
///
/// # Errors
/// When the database fails.
pub async fn since(conn: &mut PgConnection, org_id: Uuid, id: i64, limit: i64) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as!(
        Event,
        "SELECT id, org_id, product_id, kind, subject_id FROM events WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        org_id,
        id,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Deletes what is older than [`KEPT`].
///
/// # Errors
/// When the database fails.
pub async fn prune(conn: &mut PgConnection, now: OffsetDateTime) -> sqlx::Result<u64> {
    Ok(sqlx::query!("DELETE FROM events WHERE at < $1", now - KEPT)
        .execute(conn)
        .await?
        .rows_affected())
}
