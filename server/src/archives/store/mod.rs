//! SQL of archives.

mod sweep;

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::model::ArchiveId;
use crate::packages::{Kind, New, Package, Stored, Ticket};
use crate::platform::blobs::BlobName;
use crate::platform::events::kind;
use crate::products::Product;

/// How long the link of an archive is good for (device-link §4.9).
const LINK_LIFETIME: Duration = Duration::seconds(3600);

type Row = crate::packages::Row<ArchiveId>;

impl Kind for ArchiveId {
    const WORD: &'static str = "archive";
    const PLURAL: &'static str = "archives";
    const FOLDER: &'static str = "archives";
    const SIGNED_AS: &'static str = "archive ";
    const LINK_LIFETIME: Option<Duration> = Some(LINK_LIFETIME);
    const UPLOADED: &'static str = "archive.uploaded";
    const DELETED: &'static str = "archive.deleted";
    const NEWS: &'static str = kind::ARCHIVE;

    async fn list(conn: &mut PgConnection, product: &Product, uuid: Option<Uuid>) -> sqlx::Result<Vec<Package<Self>>> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT a.id AS "id: ArchiveId", a.uuid, a.version, a.platform, a.architecture, a.author, a.description,
                      a.misc, a.vcs_identifier, a.size_bytes, a.sha256, a.blob, k.name AS signed_by,
                      u.name AS "uploaded_by?", a.created_at, a.expires_at
               FROM archives a JOIN signing_keys k ON k.id = a.signing_key_id LEFT JOIN users u ON u.id = a.uploaded_by
               WHERE a.product_id = $1 AND a.org_id = $2 AND ($3::uuid IS NULL OR a.uuid = $3)"#,
            product.id().0,
            product.org().id().0,
            uuid
        )
        .fetch_all(conn)
        .await?;
        Ok(rows.into_iter().map(Package::from).collect())
    }

    async fn insert(
        conn: &mut PgConnection,
        product: &Product,
        new: &New<Self>,
        now: OffsetDateTime,
    ) -> sqlx::Result<()> {
        let facts = &new.facts;
        sqlx::query!(
            "INSERT INTO archives (id, org_id, product_id, signing_key_id, uuid, version, platform, architecture, author,
                 description, misc, vcs_identifier, size_bytes, sha256, blob, uploaded_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
            new.id.0,
            product.org().id().0,
            product.id().0,
            new.key.0,
            facts.uuid,
            facts.version,
            facts.platform,
            facts.architecture,
            facts.author,
            facts.description,
            facts.misc,
            facts.vcs_identifier,
            new.size_bytes as i64,
            new.sha256.as_slice(),
            new.blob.as_str(),
            new.uploaded_by,
            now,
            new.expires_at
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn delete(conn: &mut PgConnection, product: &Product, id: Self) -> sqlx::Result<bool> {
        let done = sqlx::query!(
            "DELETE FROM archives WHERE id = $1 AND product_id = $2 AND org_id = $3",
            id.0,
            product.id().0,
            product.org().id().0
        )
        .execute(conn)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn releases(
        conn: &mut PgConnection,
        product: &Product,
        id: Self,
        limit: i64,
    ) -> sqlx::Result<Vec<(String, i32)>> {
        let rows = sqlx::query!(
            "SELECT g.name, r.number FROM releases r JOIN deployment_groups g ON g.id = r.group_id
             WHERE r.archive_id = $1 AND g.product_id = $2 ORDER BY lower(g.name), r.number DESC LIMIT $3",
            id.0,
            product.id().0,
            limit
        )
        .fetch_all(conn)
        .await?;
        Ok(rows.into_iter().map(|row| (row.name, row.number)).collect())
    }

    async fn stored(conn: &mut PgConnection, ticket: &Ticket<Self>) -> sqlx::Result<Option<Stored>> {
        let row = sqlx::query!(
            "SELECT uuid, size_bytes, sha256, blob FROM archives WHERE id = $1 AND org_id = $2",
            ticket.package().0,
            ticket.org().0
        )
        .fetch_optional(conn)
        .await?;
        Ok(row.map(|row| Stored {
            uuid: row.uuid,
            size_bytes: row.size_bytes.unsigned_abs(),
            sha256: row.sha256,
            blob: BlobName::stored(row.blob),
        }))
    }
}
