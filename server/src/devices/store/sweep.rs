//! What links and jobs read and write, in batches and across orgs.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::OrgId;
use crate::devices::identity::Peer;
use crate::devices::model::DeviceId;
use crate::devices::reported::Progress;
use crate::platform::sweep::Sweep;
use crate::products::ProductId;

/// Copies the updates in flight to where lists read them; `None` where there is none any more.
pub(in crate::devices) async fn update_progress(
    conn: &mut PgConnection,
    _proof: Sweep,
    progress: &[Progress],
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = progress.iter().map(|one| one.device.0).collect();
    let statuses: Vec<Option<String>> = progress.iter().map(|one| one.status.map(str::to_owned)).collect();
    let percents: Vec<Option<i16>> = progress.iter().map(|one| one.percent).collect();
    sqlx::query!(
        "UPDATE device_states s SET update_status = n.status, update_percent = n.percent
         FROM unnest($1::uuid[], $2::text[], $3::int2[]) AS n (device_id, status, percent) WHERE s.device_id = n.device_id",
        &ids,
        &statuses as &[Option<String>],
        &percents as &[Option<i16>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The running firmware was found good.
pub(in crate::devices) async fn update_validated(conn: &mut PgConnection, peer: &Peer) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE device_states SET validation = 'validated' WHERE device_id = $1",
        peer.device().0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The interfaces that carry these links.
pub(in crate::devices) async fn update_interfaces(
    conn: &mut PgConnection,
    _proof: Sweep,
    interfaces: &[(DeviceId, String)],
) -> sqlx::Result<()> {
    let (ids, names): (Vec<Uuid>, Vec<String>) = interfaces
        .iter()
        .map(|(device, interface)| (device.0, interface.clone()))
        .unzip();
    sqlx::query!(
        "UPDATE device_states s SET interface = n.interface FROM unnest($1::uuid[], $2::text[]) AS n (device_id, interface)
         WHERE s.device_id = n.device_id AND s.interface IS DISTINCT FROM n.interface",
        &ids,
        &names
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// No deployment tells these devices before then; `None` lifts it.
pub(in crate::devices) async fn update_blocked(
    conn: &mut PgConnection,
    _proof: Sweep,
    devices: &[DeviceId],
    until: Option<OffsetDateTime>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = devices.iter().map(|device| device.0).collect();
    sqlx::query!(
        "UPDATE devices SET updates_blocked_until = $2 WHERE id = ANY ($1)",
        &ids,
        until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes back blocks that have ended, at most `limit`, and gives their devices. Several nodes take each one once.
pub(in crate::devices) async fn lift_ended_blocks(
    conn: &mut PgConnection,
    _proof: Sweep,
    now: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<(DeviceId, OrgId, ProductId)>> {
    let rows = sqlx::query!(
        r#"UPDATE devices d SET updates_blocked_until = NULL
           FROM (SELECT id FROM devices WHERE updates_blocked_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED) AS ended
           WHERE d.id = ended.id
           RETURNING d.id AS "id: DeviceId", d.org_id AS "org_id: OrgId", d.product_id AS "product_id: ProductId""#,
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.org_id, row.product_id))
        .collect())
}
