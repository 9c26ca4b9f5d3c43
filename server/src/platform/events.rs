//! News: rows with an increasing id, kept one hour. NOTIFY is only a bell, rung outside the acts' own transactions; each
//! node reads on from the last id it saw, so a missed bell loses nothing and a browser may resume.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The channel of the bell.
const BELL: &str = "muster_events";
/// News that a slow subscriber may lag behind before it must read the rows again, by [`after`].
const BACKLOG: usize = 4096;
/// Rows read at once.
pub const BATCH: i64 = 1000;
/// A node looks without a bell this often.
const POLL: Duration = Duration::from_secs(2);
/// Ids are handed out before they are committed: a gap is waited for this long.
const SETTLE: time::Duration = time::Duration::seconds(5);
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
    /// A deployment group was changed.
    pub const DEPLOYMENT: &str = "deployment.changed";
    /// Firmware was added or removed.
    pub const FIRMWARE: &str = "firmware.changed";
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
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG),
            ring: Arc::new(Notify::new()),
        }
    }
}

impl Bus {
    /// Everything from now on that this node reads.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    /// Rings the bell for what was just committed; returns at once. Many rings become one NOTIFY.
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
            if let Err(error) = sqlx::query("SELECT pg_notify($1, '')").bind(BELL).execute(&db).await {
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

    async fn follow(&self, db: &PgPool, tail: &mut Tail) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(db).await?;
        listener.listen(BELL).await?;
        if tail.last.is_none() {
            tail.last = Some(newest(db).await?);
        }
        loop {
            let _ = tokio::time::timeout(POLL, listener.recv()).await;
            // One bell may stand for more rows than are read at once.
            while self.hand_on(tail.read(db).await?) >= BATCH as usize {}
        }
    }
}

/// Where a reader stands. Transactions commit out of order, so ids seen to be missing are asked for again for a while.
#[derive(Debug, Default)]
struct Tail {
    last: Option<i64>,
    gaps: Vec<(i64, OffsetDateTime)>,
}

impl Tail {
    /// Rows that were seen to be missing and have come since.
    async fn late(&self, db: &PgPool) -> sqlx::Result<Vec<Row>> {
        if self.gaps.is_empty() {
            return Ok(Vec::new());
        }
        let missing: Vec<i64> = self.gaps.iter().map(|(id, _)| *id).collect();
        sqlx::query_as!(
            Row,
            "SELECT id, at, org_id, product_id, kind, subject_id FROM events WHERE id = ANY($1) ORDER BY id",
            &missing
        )
        .fetch_all(db)
        .await
    }

    async fn read(&mut self, db: &PgPool) -> sqlx::Result<Vec<Event>> {
        let last = self.last.unwrap_or_default();
        let mut rows = self.late(db).await?;
        // By itself this is a walk along the key; with the late ones in the same condition it is a scan of the table.
        let new = sqlx::query_as!(
            Row,
            "SELECT id, at, org_id, product_id, kind, subject_id FROM events WHERE id > $1 ORDER BY id LIMIT $2",
            last,
            BATCH
        );
        rows.extend(new.fetch_all(db).await?);
        let mut expected = last + 1;
        for row in &rows {
            self.gaps.retain(|(id, _)| *id != row.id);
            if row.id > last {
                self.gaps
                    .extend((expected..row.id).map(|id| (id, row.at)).take(BATCH as usize));
                expected = row.id + 1;
            }
        }
        self.last = Some(last.max(expected - 1));
        if let Some(newest) = rows.last() {
            let horizon = newest.at - SETTLE;
            self.gaps.retain(|(_, at)| *at > horizon);
        }
        let event = |row: Row| Event {
            id: row.id,
            org_id: row.org_id,
            product_id: row.product_id,
            kind: row.kind,
            subject_id: row.subject_id,
        };
        Ok(rows.into_iter().map(event).collect())
    }
}

#[derive(Debug)]
struct Row {
    id: i64,
    at: OffsetDateTime,
    org_id: Uuid,
    product_id: Option<Uuid>,
    kind: String,
    subject_id: Uuid,
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

async fn newest(db: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT coalesce(max(id), 0) AS "id!" FROM events"#)
        .fetch_one(db)
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
