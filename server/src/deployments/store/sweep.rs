//! What the scheduler and the links read and write, in batches and across orgs.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::OrgId;
use crate::deployments::model::{GroupId, ReleaseId, Status, TagOperator, Told, UpdateId};
use crate::devices::DeviceId;
use crate::platform::sweep::Sweep;
use crate::products::ProductId;

/// A group that tells devices, with its current release.
#[derive(Debug, Clone)]
pub(in crate::deployments) struct ActiveGroup {
    pub id: GroupId,
    pub org_id: OrgId,
    pub tags: Vec<String>,
    pub tag_operator: TagOperator,
    pub version_requirement: String,
    pub concurrent_updates: i32,
    pub release_id: ReleaseId,
    pub firmware_id: Uuid,
    pub firmware_uuid: Uuid,
    pub version: String,
    pub platform: String,
    pub architecture: String,
    pub has_archive: bool,
}

/// Products in which a group tells devices.
pub(in crate::deployments) async fn active_products(
    conn: &mut PgConnection,
    _proof: Sweep,
) -> sqlx::Result<Vec<ProductId>> {
    sqlx::query_scalar!(r#"SELECT DISTINCT product_id AS "id: ProductId" FROM deployment_groups WHERE state = 'on'"#)
        .fetch_all(conn)
        .await
}

/// The product's groups that tell devices.
pub(in crate::deployments) async fn active_groups(
    conn: &mut PgConnection,
    _proof: Sweep,
    product: ProductId,
) -> sqlx::Result<Vec<ActiveGroup>> {
    sqlx::query_as!(
        ActiveGroup,
        r#"SELECT g.id AS "id: GroupId", g.org_id AS "org_id: OrgId", g.tags, g.tag_operator AS "tag_operator: TagOperator",
                  g.version_requirement, g.concurrent_updates, r.archive_id IS NOT NULL AS "has_archive!", r.id AS "release_id!: ReleaseId", f.id AS "firmware_id!",
                  f.uuid AS "firmware_uuid!", f.version AS "version!", f.platform AS "platform!", f.architecture AS "architecture!"
           FROM deployment_groups g
           JOIN LATERAL (SELECT * FROM releases r WHERE r.group_id = g.id ORDER BY r.number DESC LIMIT 1) r ON true
           JOIN firmwares f ON f.id = r.firmware_id
           WHERE g.product_id = $1 AND g.state = 'on'"#,
        product.0
    )
    .fetch_all(conn)
    .await
}

/// A device as the rules see it, with the group that it has.
#[derive(Debug, Clone)]
pub(in crate::deployments) struct Placed {
    pub id: DeviceId,
    pub group_id: Option<GroupId>,
    pub tags: Vec<String>,
    pub version: String,
    pub platform: String,
    pub architecture: String,
}

/// Known devices of the product after `after`, by id, with their groups.
pub(in crate::deployments) async fn placed(
    conn: &mut PgConnection,
    _proof: Sweep,
    product: ProductId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Placed>> {
    sqlx::query_as!(
        Placed,
        r#"SELECT d.id AS "id: DeviceId", m.group_id AS "group_id?: GroupId", d.tags, s.firmware_version AS "version!",
                  s.firmware_platform AS "platform!", s.firmware_architecture AS "architecture!"
           FROM devices d JOIN device_states s ON s.device_id = d.id
           LEFT JOIN (deployment_members m JOIN deployment_groups g ON g.id = m.group_id AND g.product_id = $1)
               ON m.device_id = d.id
           WHERE d.product_id = $1 AND d.id > $2 AND d.deleted_at IS NULL AND s.firmware_version IS NOT NULL
             AND s.firmware_platform IS NOT NULL AND s.firmware_architecture IS NOT NULL
           ORDER BY d.id LIMIT $3"#,
        product.0,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Puts devices into groups; `None` takes them out.
pub(in crate::deployments) async fn place(
    conn: &mut PgConnection,
    _proof: Sweep,
    moves: &[(DeviceId, Option<GroupId>)],
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let out: Vec<Uuid> = moves
        .iter()
        .filter(|(_, group)| group.is_none())
        .map(|(device, _)| device.0)
        .collect();
    let into: Vec<(Uuid, Uuid)> = moves
        .iter()
        .filter_map(|(device, group)| Some((device.0, group.as_ref()?.0)))
        .collect();
    let (devices, groups): (Vec<Uuid>, Vec<Uuid>) = into.into_iter().unzip();
    if !out.is_empty() {
        sqlx::query!("DELETE FROM deployment_members WHERE device_id = ANY ($1)", &out)
            .execute(&mut *conn)
            .await?;
    }
    if !devices.is_empty() {
        sqlx::query!(
            "INSERT INTO deployment_members (device_id, group_id, since)
             SELECT n.device_id, g.id, $3 FROM unnest($1::uuid[], $2::uuid[]) AS n (device_id, group_id)
             JOIN deployment_groups g ON g.id = n.group_id
             JOIN devices d ON d.id = n.device_id AND d.product_id = g.product_id
             ON CONFLICT (device_id) DO UPDATE SET group_id = excluded.group_id, since = $3",
            &devices,
            &groups,
            now
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Locks the group's row against other schedulers and against stop; whether it still tells devices with this release.
pub(in crate::deployments) async fn lock(
    conn: &mut PgConnection,
    _proof: Sweep,
    group: &ActiveGroup,
) -> sqlx::Result<bool> {
    let state = sqlx::query_scalar!(
        "SELECT state FROM deployment_groups WHERE id = $1 FOR UPDATE",
        group.id.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let current = sqlx::query_scalar!(
        r#"SELECT id AS "id: ReleaseId" FROM releases WHERE group_id = $1 ORDER BY number DESC LIMIT 1"#,
        group.id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(state.as_deref() == Some("on") && current == Some(group.release_id))
}

/// The group's updates in flight: its slots that are taken.
pub(in crate::deployments) async fn in_flight(
    conn: &mut PgConnection,
    _proof: Sweep,
    group: GroupId,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM updates WHERE group_id = $1 AND ended_at IS NULL"#,
        group.0
    )
    .fetch_one(conn)
    .await
}

/// Takes free slots: assigns eligible devices of the group, longest connected first (device-link §4.2).
pub(in crate::deployments) async fn assign(
    conn: &mut PgConnection,
    _proof: Sweep,
    group: &ActiveGroup,
    ids: &[Uuid],
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(DeviceId, OrgId, ProductId)>> {
    let rows = sqlx::query!(
        r#"WITH eligible AS (
               SELECT d.id, d.org_id, d.product_id, s.firmware_version, row_number() OVER (ORDER BY s.connected_at, d.id) AS place
               FROM deployment_members m JOIN deployment_groups g ON g.id = m.group_id
               JOIN devices d ON d.id = m.device_id AND d.product_id = g.product_id
               JOIN device_states s ON s.device_id = d.id
               WHERE m.group_id = $1 AND s.connection = 'connected' AND s.validation <> 'not_validated'
                 AND s.firmware_uuid IS DISTINCT FROM $2 AND s.firmware_platform = $3 AND s.firmware_architecture = $4
                 AND d.updates_enabled AND d.deleted_at IS NULL
                 AND (d.updates_blocked_until IS NULL OR d.updates_blocked_until <= $5)
                 AND NOT EXISTS (SELECT FROM updates u WHERE u.device_id = d.id AND u.ended_at IS NULL)
               ORDER BY s.connected_at, d.id LIMIT cardinality($6::uuid[]))
           INSERT INTO updates (id, org_id, product_id, device_id, group_id, release_id, firmware_id, from_version, status,
               assigned_at, updated_at)
           SELECT ($6::uuid[])[e.place], e.org_id, e.product_id, e.id, $1, $7, $8, e.firmware_version, 'assigned', $5, $5
           FROM eligible e ON CONFLICT DO NOTHING
           RETURNING device_id AS "device_id: DeviceId", org_id AS "org_id: OrgId", product_id AS "product_id: ProductId""#,
        group.id.0,
        group.firmware_uuid,
        group.platform,
        group.architecture,
        now,
        ids,
        group.release_id.0,
        group.firmware_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.device_id, row.org_id, row.product_id))
        .collect())
}

/// When the next device of the product is no longer blocked, if one is.
pub(in crate::deployments) async fn next_unblocked(
    conn: &mut PgConnection,
    _proof: Sweep,
    product: ProductId,
    now: OffsetDateTime,
) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!(
        "SELECT min(d.updates_blocked_until) FROM devices d JOIN deployment_members m ON m.device_id = d.id
         WHERE d.product_id = $1 AND d.updates_blocked_until > $2 AND d.deleted_at IS NULL",
        product.0,
        now
    )
    .fetch_one(conn)
    .await
}

/// Turns `assigned` into `told`, for devices whose groups tell, and gives what to tell. The share lock on the groups' rows
/// makes that after the answer to a stop nothing more is taken; a device that was moved meanwhile takes nothing.
pub(in crate::deployments) async fn take(
    conn: &mut PgConnection,
    _proof: Sweep,
    devices: &[Uuid],
    now: OffsetDateTime,
) -> sqlx::Result<Vec<Told>> {
    sqlx::query_as!(
        Told,
        r#"WITH telling AS (
               SELECT g.id FROM deployment_groups g WHERE g.state = 'on' AND g.id IN (
                   SELECT u.group_id FROM updates u WHERE u.device_id = ANY ($1) AND u.ended_at IS NULL AND u.status = 'assigned')
               ORDER BY g.id FOR SHARE)
           UPDATE updates u SET status = 'told', told_at = coalesce(u.told_at, $2), updated_at = $2, attempts = u.attempts + 1
           FROM telling, firmwares f, devices d
           WHERE d.id = u.device_id AND d.product_id = u.product_id AND u.device_id = ANY ($1) AND u.ended_at IS NULL AND u.status = 'assigned' AND u.group_id = telling.id
               AND f.id = u.firmware_id
           RETURNING u.device_id AS "device: DeviceId", u.org_id AS "org: OrgId", f.id AS firmware_id, f.uuid, f.version,
               f.platform, f.architecture, f.author, f.description, f.misc, f.vcs_identifier, f.size_bytes, f.sha256,
               (SELECT p.name FROM products p WHERE p.id = f.product_id) AS "product!""#,
        devices,
        now
    )
    .fetch_all(conn)
    .await
}

/// What devices that go on with their update are told anew.
pub(in crate::deployments) async fn told(
    conn: &mut PgConnection,
    _proof: Sweep,
    devices: &[Uuid],
) -> sqlx::Result<Vec<Told>> {
    sqlx::query_as!(
        Told,
        r#"SELECT u.device_id AS "device: DeviceId", u.org_id AS "org: OrgId", f.id AS firmware_id, f.uuid, p.name AS product,
                  f.version, f.platform, f.architecture, f.author, f.description, f.misc, f.vcs_identifier, f.size_bytes, f.sha256
           FROM updates u JOIN firmwares f ON f.id = u.firmware_id JOIN products p ON p.id = f.product_id
           WHERE u.device_id = ANY ($1) AND u.ended_at IS NULL"#,
        devices
    )
    .fetch_all(conn)
    .await
}

/// An update in flight, as its device's join finds it.
#[derive(Debug, Clone)]
pub(in crate::deployments) struct Flying {
    pub id: UpdateId,
    pub device: DeviceId,
    pub status: Status,
    pub target: Uuid,
    pub attempts: i16,
    pub group_is_on: bool,
    pub penalty_seconds: i32,
}

/// The updates in flight of these devices.
pub(in crate::deployments) async fn flying(
    conn: &mut PgConnection,
    _proof: Sweep,
    devices: &[Uuid],
) -> sqlx::Result<Vec<Flying>> {
    sqlx::query_as!(
        Flying,
        r#"SELECT u.id AS "id: UpdateId", u.device_id AS "device: DeviceId", u.status AS "status: Status", f.uuid AS target,
                  u.attempts, coalesce(g.state = 'on', false) AS "group_is_on!", coalesce(g.penalty_seconds, 0) AS "penalty_seconds!"
           FROM updates u JOIN firmwares f ON f.id = u.firmware_id LEFT JOIN deployment_groups g ON g.id = u.group_id
           WHERE u.device_id = ANY ($1) AND u.ended_at IS NULL FOR UPDATE OF u"#,
        devices
    )
    .fetch_all(conn)
    .await
}

/// Ends an update in flight; whether it was.
pub(in crate::deployments) async fn end(
    conn: &mut PgConnection,
    _proof: Sweep,
    id: UpdateId,
    status: Status,
    reason: Option<&str>,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE updates SET status = $2, reason = $3, ended_at = $4, updated_at = $4,
             percent = CASE WHEN $2 = 'succeeded' THEN 100::int2 ELSE percent END
         WHERE id = $1 AND ended_at IS NULL",
        id.0,
        status as Status,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts updates back into the line: their devices are told again.
pub(in crate::deployments) async fn reassign(
    conn: &mut PgConnection,
    _proof: Sweep,
    ids: &[Uuid],
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE updates SET status = 'assigned', percent = NULL, updated_at = $2 WHERE id = ANY ($1) AND ended_at IS NULL",
        ids,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes back what devices that have no link were assigned and not told.
pub(in crate::deployments) async fn withdraw_unreached(
    conn: &mut PgConnection,
    _proof: Sweep,
    devices: &[Uuid],
    now: OffsetDateTime,
) -> sqlx::Result<Vec<DeviceId>> {
    sqlx::query_scalar!(
        r#"UPDATE updates SET status = 'withdrawn', reason = 'The device left before it was told.', ended_at = $2, updated_at = $2
           WHERE device_id = ANY ($1) AND ended_at IS NULL AND status = 'assigned' RETURNING device_id AS "id: DeviceId""#,
        devices,
        now
    )
    .fetch_all(conn)
    .await
}

/// Devices that were assigned before `before` and not told: their news was lost, or their node is gone.
pub(in crate::deployments) async fn overlooked(
    conn: &mut PgConnection,
    _proof: Sweep,
    before: OffsetDateTime,
) -> sqlx::Result<Vec<(DeviceId, OrgId, ProductId, bool)>> {
    let rows = sqlx::query!(
        r#"SELECT u.device_id AS "device_id: DeviceId", u.org_id AS "org_id: OrgId", u.product_id AS "product_id: ProductId",
                  s.connection = 'connected' AS "connected!"
           FROM updates u JOIN device_states s ON s.device_id = u.device_id
           WHERE u.ended_at IS NULL AND u.status = 'assigned' AND u.updated_at < $1 LIMIT 1000"#,
        before
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.device_id, row.org_id, row.product_id, row.connected))
        .collect())
}

/// Updates in flight whose devices have said nothing of them since `before`, for devices that are gone.
pub(in crate::deployments) async fn stale(
    conn: &mut PgConnection,
    _proof: Sweep,
    before: OffsetDateTime,
) -> sqlx::Result<Vec<(UpdateId, DeviceId)>> {
    let rows = sqlx::query!(
        r#"SELECT u.id AS "id: UpdateId", u.device_id AS "device_id: DeviceId" FROM updates u
           WHERE u.ended_at IS NULL AND u.status <> 'assigned' AND u.updated_at < $1 LIMIT 1000"#,
        before
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.device_id)).collect())
}

/// Writes where updates in flight stand, and gives the devices that had one.
pub(in crate::deployments) async fn update_progress(
    conn: &mut PgConnection,
    _proof: Sweep,
    progress: &[(DeviceId, Status, Option<i16>)],
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(DeviceId, OrgId, ProductId)>> {
    let devices: Vec<Uuid> = progress.iter().map(|(device, ..)| device.0).collect();
    let statuses: Vec<String> = progress.iter().map(|(_, status, _)| status.name().to_owned()).collect();
    let percents: Vec<Option<i16>> = progress.iter().map(|(.., percent)| *percent).collect();
    let rows = sqlx::query!(
        r#"UPDATE updates u SET status = n.status, percent = coalesce(n.percent, u.percent), updated_at = $4
           FROM unnest($1::uuid[], $2::text[], $3::int2[]) AS n (device_id, status, percent)
           WHERE u.device_id = n.device_id AND u.ended_at IS NULL AND u.status <> 'assigned'
           RETURNING u.device_id AS "device_id: DeviceId", u.org_id AS "org_id: OrgId", u.product_id AS "product_id: ProductId""#,
        &devices,
        &statuses,
        &percents as &[Option<i16>],
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.device_id, row.org_id, row.product_id))
        .collect())
}

/// Gives the reason of a failure that the device reported after the update had ended.
pub(in crate::deployments) async fn update_late_reason(
    conn: &mut PgConnection,
    _proof: Sweep,
    device: DeviceId,
    reason: &str,
    since: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE updates SET reason = $2 WHERE status = 'failed' AND ended_at > $3
             AND id = (SELECT id FROM updates WHERE device_id = $1 ORDER BY id DESC LIMIT 1)",
        device.0,
        reason,
        since
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Turns the device's last success, if it led to `left`, into a failure; gives its group's penalty in seconds.
pub(in crate::deployments) async fn take_back(
    conn: &mut PgConnection,
    _proof: Sweep,
    device: DeviceId,
    left: Uuid,
    reason: &str,
    now: OffsetDateTime,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        r#"UPDATE updates u SET status = 'failed', reason = $3, updated_at = $4, ended_at = $4 FROM firmwares f
           WHERE f.id = u.firmware_id AND f.uuid = $2 AND u.status = 'succeeded'
             AND u.id = (SELECT id FROM updates WHERE device_id = $1 ORDER BY id DESC LIMIT 1)
           RETURNING coalesce((SELECT penalty_seconds FROM deployment_groups g WHERE g.id = u.group_id), 0) AS "penalty!""#,
        device.0,
        left,
        reason,
        now
    )
    .fetch_optional(conn)
    .await
}
