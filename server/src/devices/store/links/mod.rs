//! SQL of links: what an operator sees of them here, what links write in [`sweep`].

pub(in crate::devices) mod sweep;

use sqlx::PgConnection;

use crate::accounts::Org;
use crate::devices::model::{DeviceId, LinkId, PastLink};

/// The newest links of a device that have ended, newest first.
pub(in crate::devices) async fn past(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
    limit: i64,
) -> sqlx::Result<Vec<PastLink>> {
    sqlx::query_as!(
        PastLink,
        r#"SELECT l.link_id AS "link: LinkId", l.ended_at, l.reason, l.address FROM device_links l
           JOIN devices d ON d.id = l.device_id
           WHERE d.org_id = $1 AND l.device_id = $2 ORDER BY l.link_id DESC LIMIT $3"#,
        org.id().0,
        device.0,
        limit
    )
    .fetch_all(conn)
    .await
}

/// How many links a device opened from `since` on, the one that is open now included.
pub(in crate::devices) async fn count_since(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
    since: LinkId,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM device_links l WHERE l.device_id = d.id AND l.link_id >= $3)
                + (SELECT count(*) FROM device_states s WHERE s.device_id = d.id AND s.link_id >= $3) AS "count!"
           FROM devices d WHERE d.org_id = $1 AND d.id = $2"#,
        org.id().0,
        device.0,
        since.0
    )
    .fetch_one(conn)
    .await
}

/// Forgets a device's links.
pub(in crate::devices) async fn delete(conn: &mut PgConnection, org: &Org, device: DeviceId) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM device_links l USING devices d WHERE d.org_id = $1 AND d.id = $2 AND l.device_id = d.id",
        org.id().0,
        device.0
    )
    .execute(conn)
    .await?;
    Ok(())
}
