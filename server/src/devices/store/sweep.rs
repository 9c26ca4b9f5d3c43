//! What links and jobs read and write, in batches and across orgs.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::devices::identity::Peer;
use crate::devices::model::DeviceId;
use crate::devices::reported::Progress;
use crate::platform::sweep::Sweep;

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
