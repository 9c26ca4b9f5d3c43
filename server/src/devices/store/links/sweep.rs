//! What links write of devices, in batches and across orgs. Rows that more than one task writes are locked in the order of
//! their devices, so that two batches never wait for each other.

use muster_link::ExtensionSet;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::OrgId;
use crate::archives::{ArchiveId, Sent};
use crate::devices::model::{DeviceId, LinkId};
use crate::devices::reported::{DeviceReport, JoinRecord, Joined, LinkEnd, LinkStart};
use crate::platform::nodes::NodeId;
use crate::platform::sweep::Sweep;
use crate::products::ProductId;
use crate::products::extensions::set_of;

/// Writes what devices said when they joined, and gives what was stored before. No device may stand in it twice. Left out
/// are those that were deleted, or whose credential was revoked, since they were let in.
pub(in crate::devices) async fn join(
    conn: &mut PgConnection,
    _proof: Sweep,
    node: NodeId,
    records: &[JoinRecord],
    now: OffsetDateTime,
) -> sqlx::Result<Vec<Joined>> {
    let ids: Vec<Uuid> = records.iter().map(|record| record.peer.device().0).collect();
    let links: Vec<Uuid> = records.iter().map(|record| record.link.0).collect();
    let credentials: Vec<Uuid> = records.iter().map(|record| record.peer.credential().id()).collect();
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
               SELECT n.* FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::text[], $10::text[],
                   $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::bool[],
                   $19::uuid[])
               AS n (device_id, link_id, address, api_version, fwup_version, uuid, product, version, platform, architecture,
                     author, description, vcs_identifier, misc, validation, reverted, credential_id)
               JOIN devices d ON d.id = n.device_id AND d.deleted_at IS NULL
               JOIN products p ON p.id = d.product_id AND p.deleted_at IS NULL
               WHERE NOT EXISTS (SELECT FROM device_certificates c WHERE c.id = n.credential_id AND c.revoked_at IS NOT NULL)
                 AND NOT EXISTS (SELECT FROM shared_secrets s WHERE s.id = n.credential_id AND s.deactivated_at IS NOT NULL)),
           old AS (
               SELECT s.device_id, s.firmware_uuid, s.firmware_version, s.update_status, s.node_id, s.address,
                   CASE WHEN s.connection = 'connected' AND s.node_id <> $2 THEN s.link_id END AS elsewhere,
                   ARRAY(SELECT unnest(p.extensions) EXCEPT SELECT unnest(d.extensions_off)) AS extensions,
                   concat_ws(E'\n', nullif(g.connecting_code, ''), nullif(d.connecting_code, '')) AS connecting_code,
                   a.id AS archive_id, a.uuid AS archive_uuid, a.version AS archive_version, a.description AS archive_description,
                   a.platform AS archive_platform, a.architecture AS archive_architecture, a.size_bytes AS archive_size,
                   a.created_at AS archive_at
               FROM device_states s JOIN new USING (device_id) JOIN devices d ON d.id = s.device_id
                   JOIN products p ON p.id = d.product_id
                   LEFT JOIN deployment_members m ON m.device_id = d.id
                   LEFT JOIN deployment_groups g ON g.id = m.group_id AND g.product_id = d.product_id
                   LEFT JOIN LATERAL (SELECT r.archive_id FROM releases r WHERE r.group_id = g.id ORDER BY r.number DESC LIMIT 1) r
                       ON d.updates_enabled AND (d.updates_blocked_until IS NULL OR d.updates_blocked_until <= $1)
                   LEFT JOIN archives a ON a.id = r.archive_id
               ORDER BY s.device_id FOR UPDATE OF s),
           past AS (
               INSERT INTO device_links (link_id, device_id, node_id, ended_at, reason, address)
               SELECT elsewhere, device_id, node_id, $1, 'replaced', coalesce(address, '') FROM old WHERE elsewhere IS NOT NULL
               ON CONFLICT (link_id) DO NOTHING),
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
               old.elsewhere AS "elsewhere: LinkId", old.extensions AS "extensions!",
               old.connecting_code AS "connecting_code!", old.archive_id AS "archive_id?: ArchiveId",
               old.archive_uuid AS "archive_uuid?", old.archive_version AS "archive_version?", old.archive_description,
               old.archive_platform AS "archive_platform?", old.archive_architecture AS "archive_architecture?",
               old.archive_size AS "archive_size?", old.archive_at AS "archive_at?""#,
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
        &reverted,
        &credentials
    )
    .fetch_all(conn)
    .await?;
    let joined = rows.into_iter().map(|row| Joined {
        device: row.device_id,
        previous_firmware: row.firmware_uuid,
        previous_version: row.firmware_version,
        in_flight: row.update_status.is_some(),
        elsewhere: row.elsewhere,
        extensions: set_of(&row.extensions),
        connecting_code: row.connecting_code,
        archive: row.archive_id.map(|id| Sent {
            id,
            uuid: row.archive_uuid.unwrap_or_default(),
            version: row.archive_version.unwrap_or_default(),
            description: row.archive_description,
            platform: row.archive_platform.unwrap_or_default(),
            architecture: row.archive_architecture.unwrap_or_default(),
            size_bytes: row.archive_size.unwrap_or_default(),
            uploaded_at: row.archive_at.unwrap_or(now),
        }),
    });
    Ok(joined.collect())
}

/// The extensions that these devices may use now: their products' without those that are off for them.
pub(in crate::devices) async fn extensions(
    conn: &mut PgConnection,
    _proof: Sweep,
    devices: &[DeviceId],
) -> sqlx::Result<Vec<(DeviceId, ExtensionSet)>> {
    let ids: Vec<Uuid> = devices.iter().map(|device| device.0).collect();
    let rows = sqlx::query!(
        r#"SELECT d.id AS "id: DeviceId", p.extensions, d.extensions_off FROM devices d JOIN products p ON p.id = d.product_id
           WHERE d.id = ANY ($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let usable = rows
        .into_iter()
        .map(|row| (row.id, set_of(&row.extensions).without(set_of(&row.extensions_off))));
    Ok(usable.collect())
}

/// Writes the last report of each kind. No kind of a device may stand in it twice; devices that are gone are left out.
pub(in crate::devices) async fn upsert_reports(
    conn: &mut PgConnection,
    _proof: Sweep,
    reports: &[DeviceReport],
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = reports.iter().map(|report| report.device.0).collect();
    let kinds: Vec<String> = reports.iter().map(|report| report.kind.name().to_owned()).collect();
    let times: Vec<OffsetDateTime> = reports.iter().map(|report| report.at).collect();
    let texts: Vec<serde_json::Value> = reports.iter().map(|report| report.report.clone()).collect();
    sqlx::query!(
        "INSERT INTO device_reports (device_id, kind, at, report)
         SELECT n.device_id, n.kind, n.at, n.report
         FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::jsonb[]) AS n (device_id, kind, at, report)
             JOIN devices d ON d.id = n.device_id
         ORDER BY n.device_id, n.kind
         ON CONFLICT (device_id, kind) DO UPDATE SET at = excluded.at, report = excluded.report",
        &ids,
        &kinds,
        &times,
        &texts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes links that were opened and have not joined. A newer link of the device stands.
pub(in crate::devices) async fn connect(
    conn: &mut PgConnection,
    _proof: Sweep,
    node: NodeId,
    starts: &[LinkStart],
) -> sqlx::Result<Vec<(DeviceId, OrgId, ProductId)>> {
    let ids: Vec<Uuid> = starts.iter().map(|start| start.device.0).collect();
    let links: Vec<Uuid> = starts.iter().map(|start| start.link.0).collect();
    let addresses: Vec<String> = starts.iter().map(|start| start.address.clone()).collect();
    let times: Vec<OffsetDateTime> = starts.iter().map(|start| start.at).collect();
    let rows = sqlx::query!(
        r#"WITH new AS (
               SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[]) AS n (device_id, link_id, address, at)),
           old AS (
               SELECT s.device_id FROM device_states s JOIN new USING (device_id)
               WHERE s.link_id IS NULL OR s.link_id < new.link_id ORDER BY s.device_id FOR UPDATE OF s)
           UPDATE device_states s SET connection = 'connecting', link_id = new.link_id, node_id = $1, last_seen_at = new.at,
               address = new.address
           FROM new JOIN old USING (device_id), devices d WHERE s.device_id = new.device_id AND d.id = s.device_id
           RETURNING d.id AS "id: DeviceId", d.org_id AS "org_id: OrgId", d.product_id AS "product_id: ProductId""#,
        node.0,
        &ids,
        &links,
        &addresses,
        &times
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.org_id, row.product_id))
        .collect())
}

/// Writes the ends of links, and gives the devices that have none now. A link that is not the device's any more is only
/// remembered. Written twice it is the same.
pub(in crate::devices) async fn disconnect(
    conn: &mut PgConnection,
    _proof: Sweep,
    node: NodeId,
    ends: &[LinkEnd],
) -> sqlx::Result<Vec<DeviceId>> {
    let ids: Vec<Uuid> = ends.iter().map(|end| end.device.0).collect();
    let links: Vec<Uuid> = ends.iter().map(|end| end.link.0).collect();
    let reasons: Vec<String> = ends.iter().map(|end| end.reason.to_owned()).collect();
    let addresses: Vec<String> = ends.iter().map(|end| end.address.clone()).collect();
    let heard: Vec<OffsetDateTime> = ends.iter().map(|end| end.heard_at).collect();
    let ended: Vec<OffsetDateTime> = ends.iter().map(|end| end.ended_at).collect();
    sqlx::query_scalar!(
        r#"WITH ends AS (
               SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[])
               AS e (device_id, link_id, reason, address, heard_at, ended_at)),
           past AS (
               INSERT INTO device_links (link_id, device_id, node_id, ended_at, reason, address)
               SELECT link_id, device_id, $1, ended_at, reason, address FROM ends
               ON CONFLICT (link_id) DO UPDATE SET ended_at = excluded.ended_at, reason = excluded.reason),
           old AS (
               SELECT s.device_id FROM device_states s JOIN ends USING (device_id, link_id) ORDER BY s.device_id FOR UPDATE OF s)
           UPDATE device_states s SET connection = 'disconnected', disconnected_at = ends.ended_at,
               disconnect_reason = ends.reason, last_seen_at = greatest(s.last_seen_at, ends.heard_at), link_id = NULL,
               node_id = NULL
           FROM ends JOIN old USING (device_id) WHERE s.device_id = ends.device_id AND s.link_id = ends.link_id
           RETURNING s.device_id AS "id: DeviceId""#,
        node.0,
        &ids,
        &links,
        &reasons,
        &addresses,
        &heard,
        &ended
    )
    .fetch_all(conn)
    .await
}

/// Ends every link of nodes that are not on the list of nodes, this one excepted.
pub(in crate::devices) async fn disconnect_unlisted(
    conn: &mut PgConnection,
    _proof: Sweep,
    node: NodeId,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(DeviceId, OrgId, ProductId)>> {
    let rows = sqlx::query!(
        r#"WITH old AS (
               SELECT s.device_id, s.link_id, s.node_id, s.address FROM device_states s
               WHERE s.connection IN ('connecting', 'connected') AND s.node_id <> $1
                 AND NOT EXISTS (SELECT FROM nodes n WHERE n.id = s.node_id)
               ORDER BY s.device_id FOR UPDATE OF s),
           past AS (
               INSERT INTO device_links (link_id, device_id, node_id, ended_at, reason, address)
               SELECT link_id, device_id, node_id, $2, 'server_stopped', coalesce(address, '') FROM old
               WHERE link_id IS NOT NULL ON CONFLICT (link_id) DO NOTHING)
           UPDATE device_states s SET connection = 'disconnected', disconnected_at = $2, disconnect_reason = 'server_stopped',
               link_id = NULL, node_id = NULL
           FROM old, devices d WHERE s.device_id = old.device_id AND d.id = s.device_id
           RETURNING d.id AS "id: DeviceId", d.org_id AS "org_id: OrgId", d.product_id AS "product_id: ProductId""#,
        node.0,
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.org_id, row.product_id))
        .collect())
}

/// Says again that these joined links are open, after others took this node for dead. A newer link of a device stands.
pub(in crate::devices) async fn reconnect(
    conn: &mut PgConnection,
    _proof: Sweep,
    node: NodeId,
    links: &[(DeviceId, LinkId)],
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(DeviceId, OrgId, ProductId)>> {
    let (ids, links): (Vec<Uuid>, Vec<Uuid>) = links.iter().map(|(device, link)| (device.0, link.0)).unzip();
    let rows = sqlx::query!(
        r#"WITH new AS (SELECT * FROM unnest($3::uuid[], $4::uuid[]) AS n (device_id, link_id)),
           past AS (DELETE FROM device_links l USING new WHERE l.link_id = new.link_id),
           old AS (
               SELECT s.device_id FROM device_states s JOIN new USING (device_id) WHERE s.link_id IS NULL
               ORDER BY s.device_id FOR UPDATE OF s)
           UPDATE device_states s SET connection = 'connected', link_id = new.link_id, node_id = $1, disconnect_reason = NULL,
               last_seen_at = $2
           FROM new JOIN old USING (device_id), devices d WHERE s.device_id = new.device_id AND d.id = s.device_id
           RETURNING d.id AS "id: DeviceId", d.org_id AS "org_id: OrgId", d.product_id AS "product_id: ProductId""#,
        node.0,
        now,
        &ids,
        &links
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.org_id, row.product_id))
        .collect())
}

/// The node's links are alive: says so of those that were not seen since `before`.
pub(in crate::devices) async fn update_seen_by_node(
    conn: &mut PgConnection,
    _proof: Sweep,
    node: NodeId,
    before: OffsetDateTime,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH old AS (
             SELECT device_id FROM device_states WHERE node_id = $1 AND connection IN ('connecting', 'connected')
               AND last_seen_at < $2 ORDER BY device_id FOR UPDATE)
         UPDATE device_states s SET last_seen_at = $3 FROM old WHERE s.device_id = old.device_id",
        node.0,
        before,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets links that were opened before `before`, and of each device all but its `kept` newest.
pub(in crate::devices) async fn prune(
    conn: &mut PgConnection,
    _proof: Sweep,
    before: LinkId,
    kept: i64,
) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM device_links WHERE link_id < $1", before.0)
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        "DELETE FROM device_links l USING (
             SELECT device_id, (array_agg(link_id ORDER BY link_id DESC))[$1] AS oldest FROM device_links
             GROUP BY device_id HAVING count(*) > $1) AS many
         WHERE l.device_id = many.device_id AND l.link_id < many.oldest",
        kept as i32
    )
    .execute(conn)
    .await?;
    Ok(())
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
