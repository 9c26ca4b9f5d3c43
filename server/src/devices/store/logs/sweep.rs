//! What links write of log lines, in batches and across orgs.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::devices::reported::{DeviceLogLine, LogLineId};
use crate::platform::sweep::Sweep;

/// Writes lines; those of devices that are gone are left out.
pub(in crate::devices) async fn insert(
    conn: &mut PgConnection,
    _proof: Sweep,
    lines: &[DeviceLogLine],
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = lines.iter().map(|one| one.id.0).collect();
    let devices: Vec<Uuid> = lines.iter().map(|one| one.device.0).collect();
    let times: Vec<OffsetDateTime> = lines.iter().map(|one| one.line.at).collect();
    let levels: Vec<String> = lines.iter().map(|one| one.line.level.to_owned()).collect();
    let messages: Vec<String> = lines.iter().map(|one| one.line.message.clone()).collect();
    let metas: Vec<Value> = lines.iter().map(|one| serde_json::json!(one.line.meta)).collect();
    sqlx::query!(
        "INSERT INTO device_log_lines (id, device_id, at, level, message, meta)
         SELECT n.id, n.device_id, n.at, n.level, n.message, n.meta
         FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::jsonb[])
             AS n (id, device_id, at, level, message, meta) JOIN devices d ON d.id = n.device_id",
        &ids,
        &devices,
        &times,
        &levels,
        &messages,
        &metas
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the oldest lines that came before `before`, at most so many; how many. Nodes that do so at once share the work.
pub(in crate::devices) async fn prune(
    conn: &mut PgConnection,
    _proof: Sweep,
    before: LogLineId,
    most: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM device_log_lines WHERE id IN (
             SELECT id FROM device_log_lines WHERE id < $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)",
        before.0,
        most
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
