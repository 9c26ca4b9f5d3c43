//! Who is due which archive, across orgs.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::OrgId;
use crate::archives::{ArchiveId, Sent};
use crate::devices::DeviceId;
use crate::platform::sweep::Sweep;

/// The archives of the current releases of these devices' groups, for devices that deployments may tell now (device-link
/// §4.9). Where `groups` is given, for devices of these only. What a join is told follows the same rule (`devices::store`).
pub(in crate::deployments) async fn due(
    conn: &mut PgConnection,
    _proof: Sweep,
    devices: &[Uuid],
    groups: Option<&[Uuid]>,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(DeviceId, OrgId, Sent)>> {
    let rows = sqlx::query!(
        r#"SELECT d.id AS "device: DeviceId", d.org_id AS "org: OrgId", a.id AS "id: ArchiveId", a.uuid, a.version, a.description,
                  a.platform, a.architecture, a.size_bytes, a.created_at
           FROM deployment_members m JOIN devices d ON d.id = m.device_id
           JOIN deployment_groups g ON g.id = m.group_id AND g.product_id = d.product_id
           JOIN LATERAL (SELECT r.archive_id FROM releases r WHERE r.group_id = m.group_id ORDER BY r.number DESC LIMIT 1) r ON true
           JOIN archives a ON a.id = r.archive_id
           WHERE m.device_id = ANY ($1) AND ($2::uuid[] IS NULL OR m.group_id = ANY ($2)) AND d.deleted_at IS NULL
             AND d.updates_enabled AND (d.updates_blocked_until IS NULL OR d.updates_blocked_until <= $3)"#,
        devices,
        groups,
        now
    )
    .fetch_all(conn)
    .await?;
    let due = rows.into_iter().map(|row| {
        let sent = Sent {
            id: row.id,
            uuid: row.uuid,
            version: row.version,
            description: row.description,
            platform: row.platform,
            architecture: row.architecture,
            size_bytes: row.size_bytes,
            uploaded_at: row.created_at,
        };
        (row.device, row.org, sent)
    });
    Ok(due.collect())
}
