//! What links and jobs read and write, in batches and across orgs.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::OrgId;
use crate::devices::identity::Peer;
use crate::devices::model::{DeviceId, LinkId};
use crate::devices::reported::{JoinRecord, Joined, Progress};
use crate::platform::nodes::{DEAD_AFTER, NodeId};
use crate::platform::sweep::Sweep;
use crate::products::ProductId;

/// Writes what devices said when they joined, and gives what was stored before. No device may stand in it twice.
pub(in crate::devices) async fn join(
    conn: &mut PgConnection,
    _proof: Sweep,
    node: NodeId,
    records: &[JoinRecord],
    now: OffsetDateTime,
) -> sqlx::Result<Vec<Joined>> {
    let ids: Vec<Uuid> = records.iter().map(|record| record.peer.device().0).collect();
    let links: Vec<Uuid> = records.iter().map(|record| record.link.0).collect();
    let text = |pick: fn(&JoinRecord) -> Option<String>| records.iter().map(pick).collect::<Vec<_>>();
    let addresses = text(|r| Some(r.address.clone()));
    let api_versions = text(|r| r.join.device_api_version.clone());
    let fwup_versions = text(|r| r.join.fwup_version.clone());
    let products = text(|r| r.join.firmware.product.clone());
    let versions = text(|r| r.join.firmware.version.clone());
    let platforms = text(|r| r.join.firmware.platform.clone());
    let architectures = text(|r| r.join.firmware.architecture.clone());
    let authors = text(|r| r.join.firmware.author.clone());
    let descriptions = text(|r| r.join.firmware.description.clone());
    let vcs = text(|r| r.join.firmware.vcs_identifier.clone());
    let misc = text(|r| r.join.firmware.misc.clone());
    let validations = text(|r| Some(r.validation().name().to_owned()));
    let uuids: Vec<Option<Uuid>> = records.iter().map(JoinRecord::firmware_uuid).collect();
    let reverted: Vec<bool> = records
        .iter()
        .map(|r| r.join.meta.firmware_auto_revert_detected.unwrap_or(false))
        .collect();
    let rows = sqlx::query!(
        r#"WITH new AS (
               SELECT * FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::text[], $10::text[],
                   $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::bool[])
               AS n (device_id, link_id, address, api_version, fwup_version, uuid, product, version, platform, architecture,
                     author, description, vcs_identifier, misc, validation, reverted)),
           old AS (
               SELECT s.device_id, s.firmware_uuid, s.firmware_version, s.update_status,
                   CASE WHEN s.connection = 'connected' AND s.node_id <> $2 THEN s.link_id END AS elsewhere
               FROM device_states s JOIN new USING (device_id)
               ORDER BY s.device_id FOR UPDATE OF s),
           seen AS (
               UPDATE devices d SET first_seen_at = $1 FROM new WHERE d.id = new.device_id AND d.first_seen_at IS NULL)
           UPDATE device_states s SET connection = 'connected', link_id = new.link_id, node_id = $2, connected_at = $1,
               disconnect_reason = NULL, last_seen_at = $1, address = new.address, api_version = new.api_version,
               fwup_version = new.fwup_version, firmware_uuid = new.uuid, firmware_product = new.product,
               firmware_version = new.version, firmware_platform = new.platform, firmware_architecture = new.architecture,
               firmware_author = new.author, firmware_description = new.description,
               firmware_vcs_identifier = new.vcs_identifier, firmware_misc = new.misc, validation = new.validation,
               auto_reverted = new.reverted,
               firmware_since = CASE WHEN s.firmware_uuid IS DISTINCT FROM new.uuid THEN $1 ELSE s.firmware_since END
           FROM new JOIN old USING (device_id) WHERE s.device_id = new.device_id
           RETURNING s.device_id AS "device_id: DeviceId", old.firmware_uuid, old.firmware_version, old.update_status,
               old.elsewhere AS "elsewhere: LinkId""#,
        now,
        node.0,
        &ids,
        &links,
        &addresses as &[Option<String>],
        &api_versions as &[Option<String>],
        &fwup_versions as &[Option<String>],
        &uuids as &[Option<Uuid>],
        &products as &[Option<String>],
        &versions as &[Option<String>],
        &platforms as &[Option<String>],
        &architectures as &[Option<String>],
        &authors as &[Option<String>],
        &descriptions as &[Option<String>],
        &vcs as &[Option<String>],
        &misc as &[Option<String>],
        &validations as &[Option<String>],
        &reverted
    )
    .fetch_all(conn)
    .await?;
    let joined = rows.into_iter().map(|row| Joined {
        device: row.device_id,
        previous_firmware: row.firmware_uuid,
        previous_version: row.firmware_version,
        in_flight: row.update_status.is_some(),
        elsewhere: row.elsewhere,
    });
    Ok(joined.collect())
}

/// Writes the ends of links. A link that is not the device's any more changes nothing.
pub(in crate::devices) async fn disconnect(
    conn: &mut PgConnection,
    _proof: Sweep,
    ends: &[(DeviceId, LinkId, &'static str)],
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(DeviceId, OrgId, ProductId)>> {
    let ids: Vec<Uuid> = ends.iter().map(|(device, _, _)| device.0).collect();
    let links: Vec<Uuid> = ends.iter().map(|(_, link, _)| link.0).collect();
    let reasons: Vec<String> = ends.iter().map(|(_, _, reason)| (*reason).to_owned()).collect();
    let rows = sqlx::query!(
        r#"UPDATE device_states s SET connection = 'disconnected', disconnected_at = $1, disconnect_reason = e.reason,
               link_id = NULL, node_id = NULL
           FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS e (device_id, link_id, reason), devices d
           WHERE s.device_id = e.device_id AND s.link_id = e.link_id AND d.id = s.device_id
           RETURNING d.id AS "id: DeviceId", d.org_id AS "org_id: OrgId", d.product_id AS "product_id: ProductId""#,
        now,
        &ids,
        &links,
        &reasons
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.org_id, row.product_id))
        .collect())
}

/// Ends every link of nodes that are dead. `ours`: links of this node too, as at its start.
pub(in crate::devices) async fn disconnect_dead_nodes(
    conn: &mut PgConnection,
    _proof: Sweep,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(DeviceId, OrgId, ProductId)>> {
    let rows = sqlx::query!(
        r#"UPDATE device_states s SET connection = 'disconnected', disconnected_at = $1, disconnect_reason = 'server_stopped',
               link_id = NULL, node_id = NULL
           FROM devices d
           WHERE d.id = s.device_id AND s.connection IN ('connecting', 'connected')
             AND NOT EXISTS (SELECT FROM nodes n WHERE n.id = s.node_id AND n.seen_at > $2)
           RETURNING d.id AS "id: DeviceId", d.org_id AS "org_id: OrgId", d.product_id AS "product_id: ProductId""#,
        now,
        now - DEAD_AFTER
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.org_id, row.product_id))
        .collect())
}

/// Writes when devices were last heard.
pub(in crate::devices) async fn update_last_seen(
    conn: &mut PgConnection,
    _proof: Sweep,
    seen: &[(DeviceId, OffsetDateTime)],
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = seen.iter().map(|(device, _)| device.0).collect();
    let times: Vec<OffsetDateTime> = seen.iter().map(|(_, at)| *at).collect();
    sqlx::query!(
        "UPDATE device_states s SET last_seen_at = n.at FROM unnest($1::uuid[], $2::timestamptz[]) AS n (device_id, at)
         WHERE s.device_id = n.device_id",
        &ids,
        &times
    )
    .execute(conn)
    .await?;
    Ok(())
}

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
