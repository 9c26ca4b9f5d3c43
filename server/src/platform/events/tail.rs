//! Reading on from where a node stands.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{BATCH, Event};

/// Ids are handed out before they are committed: a gap is waited for this long.
const SETTLE: time::Duration = time::Duration::seconds(5);

/// Where a reader stands. Transactions commit out of order, so ids seen to be missing are asked for again for a while.
#[derive(Debug, Default)]
pub(super) struct Tail {
    last: Option<i64>,
    gaps: Vec<(i64, OffsetDateTime)>,
}

impl Tail {
    /// Begins behind the newest row, unless it has begun.
    pub(super) async fn begin(&mut self, db: &PgPool) -> sqlx::Result<()> {
        if self.last.is_none() {
            let newest = sqlx::query_scalar!(r#"SELECT coalesce(max(id), 0) AS "id!" FROM events"#);
            self.last = Some(newest.fetch_one(db).await?);
        }
        Ok(())
    }

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

    /// What has come since the last look, at most [`BATCH`] rows and those that were late.
    pub(super) async fn read(&mut self, db: &PgPool) -> sqlx::Result<Vec<Event>> {
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
