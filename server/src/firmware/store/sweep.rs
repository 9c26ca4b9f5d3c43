//! What the server's own sweep reads and deletes, across orgs.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::FirmwareId;
use crate::packages::Swept;
use crate::platform::blobs::BlobName;
use crate::platform::sweep::Sweep;

impl Swept for FirmwareId {
    async fn delete_expired(
        conn: &mut PgConnection,
        _proof: Sweep,
        now: OffsetDateTime,
    ) -> sqlx::Result<Vec<BlobName>> {
        let blobs = sqlx::query_scalar!(
            "DELETE FROM firmwares f WHERE f.expires_at <= $1
                 AND NOT EXISTS (SELECT FROM releases r WHERE r.firmware_id = f.id)
             RETURNING f.blob",
            now
        )
        .fetch_all(conn)
        .await?;
        Ok(blobs.into_iter().map(BlobName::stored).collect())
    }

    async fn list_known_blobs(conn: &mut PgConnection, _proof: Sweep, blobs: &[String]) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar!("SELECT blob FROM firmwares WHERE blob = ANY ($1)", blobs)
            .fetch_all(conn)
            .await
    }
}
