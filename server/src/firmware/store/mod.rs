//! SQL of firmware.

pub(super) mod sweep;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::model::{Facts, Firmware, FirmwareId};
use super::url::Ticket;
use crate::keys::KeyId;
use crate::platform::blobs::BlobName;
use crate::products::Product;

struct Row {
    id: FirmwareId,
    uuid: Uuid,
    version: String,
    platform: String,
    architecture: String,
    author: Option<String>,
    description: Option<String>,
    misc: Option<String>,
    vcs_identifier: Option<String>,
    size_bytes: i64,
    sha256: Vec<u8>,
    blob: String,
    signed_by: String,
    uploaded_by: Option<String>,
    created_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
}

impl From<Row> for Firmware {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            uuid: row.uuid,
            version: row.version,
            platform: row.platform,
            architecture: row.architecture,
            author: row.author,
            description: row.description,
            misc: row.misc,
            vcs_identifier: row.vcs_identifier,
            size_bytes: row.size_bytes.unsigned_abs(),
            sha256: row.sha256.try_into().unwrap_or_default(),
            signed_by: row.signed_by,
            uploaded_by: row.uploaded_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            blob: BlobName::stored(row.blob),
        }
    }
}

/// The product's firmware, in no order.
pub(super) async fn list(conn: &mut PgConnection, product: &Product) -> sqlx::Result<Vec<Firmware>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT f.id AS "id: FirmwareId", f.uuid, f.version, f.platform, f.architecture, f.author, f.description, f.misc,
                  f.vcs_identifier, f.size_bytes, f.sha256, f.blob, k.name AS signed_by, u.name AS "uploaded_by?",
                  f.created_at, f.expires_at
           FROM firmwares f JOIN signing_keys k ON k.id = f.signing_key_id LEFT JOIN users u ON u.id = f.uploaded_by
           WHERE f.product_id = $1 AND f.org_id = $2"#,
        product.id().0,
        product.org().id().0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Firmware::from).collect())
}

/// The product's firmware of this UUID.
pub(super) async fn find(conn: &mut PgConnection, product: &Product, uuid: Uuid) -> sqlx::Result<Option<Firmware>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT f.id AS "id: FirmwareId", f.uuid, f.version, f.platform, f.architecture, f.author, f.description, f.misc,
                  f.vcs_identifier, f.size_bytes, f.sha256, f.blob, k.name AS signed_by, u.name AS "uploaded_by?",
                  f.created_at, f.expires_at
           FROM firmwares f JOIN signing_keys k ON k.id = f.signing_key_id LEFT JOIN users u ON u.id = f.uploaded_by
           WHERE f.product_id = $1 AND f.org_id = $2 AND f.uuid = $3"#,
        product.id().0,
        product.org().id().0,
        uuid
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Firmware::from))
}

/// Whether the product has this version for this platform and architecture.
pub(super) async fn has_version(conn: &mut PgConnection, product: &Product, facts: &Facts) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM firmwares WHERE product_id = $1 AND version = $2 AND platform = $3
                          AND architecture = $4) AS "has!""#,
        product.id().0,
        facts.version,
        facts.platform,
        facts.architecture
    )
    .fetch_one(conn)
    .await
}

/// Firmware to insert.
pub(super) struct NewFirmware {
    pub(super) id: FirmwareId,
    pub(super) facts: Facts,
    pub(super) key: KeyId,
    pub(super) size_bytes: u64,
    pub(super) sha256: [u8; 32],
    pub(super) blob: BlobName,
    pub(super) uploaded_by: Option<Uuid>,
    pub(super) expires_at: Option<OffsetDateTime>,
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    product: &Product,
    new: &NewFirmware,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let facts = &new.facts;
    sqlx::query!(
        "INSERT INTO firmwares (id, org_id, product_id, signing_key_id, uuid, version, platform, architecture, author,
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

pub(super) async fn delete(conn: &mut PgConnection, product: &Product, id: FirmwareId) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "DELETE FROM firmwares WHERE id = $1 AND product_id = $2 AND org_id = $3",
        id.0,
        product.id().0,
        product.org().id().0
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The archive that a signed link is for.
pub(super) struct Archive {
    pub(super) uuid: Uuid,
    pub(super) size_bytes: u64,
    pub(super) sha256: Vec<u8>,
    pub(super) blob: BlobName,
}

pub(super) async fn find_archive(conn: &mut PgConnection, ticket: &Ticket) -> sqlx::Result<Option<Archive>> {
    let row = sqlx::query!(
        "SELECT uuid, size_bytes, sha256, blob FROM firmwares WHERE id = $1 AND org_id = $2",
        ticket.firmware().0,
        ticket.org().0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Archive {
        uuid: row.uuid,
        size_bytes: row.size_bytes.unsigned_abs(),
        sha256: row.sha256,
        blob: BlobName::stored(row.blob),
    }))
}
