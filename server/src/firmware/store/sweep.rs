//! What the server's own sweep reads and deletes, across orgs.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::platform::blobs::BlobName;
use crate::platform::sweep::Sweep;

/// Deletes what has expired and is used by no release; its blobs are left to be deleted.
pub(in crate::firmware) async fn delete_expired(
    conn: &mut PgConnection,
    _proof: Sweep,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<BlobName>> {
    let blobs = sqlx::query_scalar!(
        "DELETE FROM firmwares f WHERE f.expires_at <= $1 AND NOT EXISTS (SELECT FROM releases r WHERE r.firmware_id = f.id)
         RETURNING f.blob",
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(blobs.into_iter().map(BlobName::stored).collect())
}

/// Of these blobs, those that a row has.
pub(in crate::firmware) async fn list_known_blobs(
    conn: &mut PgConnection,
    _proof: Sweep,
    blobs: &[String],
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("SELECT blob FROM firmwares WHERE blob = ANY ($1)", blobs)
        .fetch_all(conn)
        .await
}
