//! SQL of log lines: what an operator does to them here, what links write in [`sweep`].

pub(in crate::devices) mod sweep;

use sqlx::PgConnection;

use crate::accounts::Org;
use crate::devices::model::DeviceId;

/// Forgets a device's lines.
pub(in crate::devices) async fn delete(conn: &mut PgConnection, org: &Org, device: DeviceId) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM device_log_lines l USING devices d WHERE d.org_id = $1 AND d.id = $2 AND l.device_id = d.id",
        org.id().0,
        device.0
    )
    .execute(conn)
    .await?;
    Ok(())
}
