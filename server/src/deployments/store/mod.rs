//! SQL of deployments, by proof: what operators see and change here, what jobs and links write in [`sweep`].

pub(super) mod archives;
pub(super) mod sweep;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::model::{
    DeviceUpdate, Group, GroupId, Progress, ReleaseEntry, ReleaseId, Status, TagOperator, UpdateEntry, UpdateId,
};
use crate::accounts::UserId;
use crate::archives::ArchiveId;
use crate::devices::DeviceId;
use crate::firmware::FirmwareId;
use crate::products::Product;

/// The product's groups, by name; `name`: that one only.
pub(super) async fn list(conn: &mut PgConnection, product: &Product, name: Option<&str>) -> sqlx::Result<Vec<Group>> {
    sqlx::query_as!(
        Group,
        r#"SELECT g.id AS "id: GroupId", g.name, g.state = 'on' AS "is_on!", g.tags, g.tag_operator AS "tag_operator: TagOperator",
                  g.version_requirement, g.concurrent_updates, g.penalty_seconds, g.notes, g.created_at,
                  r.number AS "release_number!", r.created_at AS "released_at!", f.id AS "firmware_id!", f.uuid AS "firmware_uuid!",
                  f.version AS "firmware_version!", f.platform AS "firmware_platform!", f.architecture AS "firmware_architecture!",
                  a.uuid AS "archive_uuid?", a.version AS "archive_version?", g.connecting_code,
                  (SELECT count(*) FROM deployment_members m JOIN devices d ON d.id = m.device_id
                   WHERE m.group_id = g.id AND d.deleted_at IS NULL) AS "device_count!"
           FROM deployment_groups g
           JOIN LATERAL (SELECT * FROM releases r WHERE r.group_id = g.id ORDER BY r.number DESC LIMIT 1) r ON true
           JOIN firmwares f ON f.id = r.firmware_id LEFT JOIN archives a ON a.id = r.archive_id
           WHERE g.product_id = $1 AND ($2::text IS NULL OR lower(g.name) = lower($2)) ORDER BY lower(g.name)"#,
        product.id().0,
        name
    )
    .fetch_all(conn)
    .await
}

/// What an operator says of a group.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Tags that choose devices.
    pub tags: Vec<String>,
    /// All of them, or one.
    pub tag_operator: TagOperator,
    /// Versions that devices must have.
    pub version_requirement: String,
    /// Updates in flight at once.
    pub concurrent_updates: i32,
    /// How long a device that failed is left alone, in seconds.
    pub penalty_seconds: i32,
    /// Free text.
    pub notes: Option<String>,
    /// What its devices run at each connect; empty where nothing.
    pub connecting_code: String,
}

/// What a release consists of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contents {
    pub firmware: FirmwareId,
    pub archive: Option<ArchiveId>,
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    product: &Product,
    id: GroupId,
    settings: &Settings,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO deployment_groups (id, org_id, product_id, name, tags, tag_operator, version_requirement,
             concurrent_updates, penalty_seconds, notes, connecting_code, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)",
        id.0,
        product.org().id().0,
        product.id().0,
        settings.name,
        &settings.tags,
        settings.tag_operator as TagOperator,
        settings.version_requirement,
        settings.concurrent_updates,
        settings.penalty_seconds,
        settings.notes,
        settings.connecting_code,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn update(
    conn: &mut PgConnection,
    product: &Product,
    id: GroupId,
    settings: &Settings,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE deployment_groups SET name = $3, tags = $4, tag_operator = $5, version_requirement = $6,
             concurrent_updates = $7, penalty_seconds = $8, notes = $9, connecting_code = $10, updated_at = $11
         WHERE product_id = $1 AND id = $2",
        product.id().0,
        id.0,
        settings.name,
        &settings.tags,
        settings.tag_operator as TagOperator,
        settings.version_requirement,
        settings.concurrent_updates,
        settings.penalty_seconds,
        settings.notes,
        settings.connecting_code,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the group's row for this transaction: while it is held nothing of the group is assigned or told.
pub(super) async fn lock(conn: &mut PgConnection, product: &Product, id: GroupId) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT id FROM deployment_groups WHERE product_id = $1 AND id = $2 FOR UPDATE",
        product.id().0,
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(())
}

pub(super) async fn update_state(
    conn: &mut PgConnection,
    product: &Product,
    id: GroupId,
    is_on: bool,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let state = if is_on { "on" } else { "off" };
    sqlx::query!(
        "UPDATE deployment_groups SET state = $3, updated_at = $4 WHERE product_id = $1 AND id = $2",
        product.id().0,
        id.0,
        state,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_release(
    conn: &mut PgConnection,
    group: GroupId,
    id: ReleaseId,
    contents: Contents,
    user: Option<UserId>,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO releases (id, group_id, number, firmware_id, archive_id, created_by, created_at)
         SELECT $1, $2, 1 + coalesce((SELECT max(number) FROM releases WHERE group_id = $2), 0), $3, $4, $5, $6",
        id.0,
        group.0,
        contents.firmware.0,
        contents.archive.map(|archive| archive.0),
        user.map(|user| user.0),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete(conn: &mut PgConnection, product: &Product, id: GroupId) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM deployment_groups WHERE product_id = $1 AND id = $2",
        product.id().0,
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes back the group's updates that no device was told of, and gives their devices.
pub(super) async fn withdraw_assigned(
    conn: &mut PgConnection,
    group: GroupId,
    reason: &str,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<DeviceId>> {
    sqlx::query_scalar!(
        r#"UPDATE updates SET status = 'withdrawn', reason = $2, ended_at = $3, updated_at = $3
           WHERE group_id = $1 AND ended_at IS NULL AND status = 'assigned' RETURNING device_id AS "id: DeviceId""#,
        group.0,
        reason,
        now
    )
    .fetch_all(conn)
    .await
}

/// Takes a device out of its group.
pub(super) async fn delete_membership(conn: &mut PgConnection, product: &Product, id: DeviceId) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM deployment_members m USING deployment_groups g
         WHERE m.device_id = $2 AND g.id = m.group_id AND g.product_id = $1",
        product.id().0,
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes back the update in flight of a device, also one that it was told of.
pub(super) async fn withdraw_of_device(
    conn: &mut PgConnection,
    product: &Product,
    id: DeviceId,
    reason: &str,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE updates SET status = 'withdrawn', reason = $3, ended_at = $4, updated_at = $4
         WHERE product_id = $1 AND device_id = $2 AND ended_at IS NULL",
        product.id().0,
        id.0,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Updates of a device, newest first.
pub(super) async fn history(
    conn: &mut PgConnection,
    product: &Product,
    device: DeviceId,
    limit: i64,
) -> sqlx::Result<Vec<UpdateEntry>> {
    sqlx::query_as!(
        UpdateEntry,
        r#"SELECT u.id AS "id: UpdateId", g.name AS "group_name?", u.from_version, f.version AS to_version,
                  u.status AS "status: Status", u.percent, u.reason, u.attempts, u.assigned_at, u.told_at, u.updated_at, u.ended_at
           FROM updates u JOIN firmwares f ON f.id = u.firmware_id LEFT JOIN deployment_groups g ON g.id = u.group_id
           WHERE u.product_id = $1 AND u.device_id = $2 ORDER BY u.id DESC LIMIT $3"#,
        product.id().0,
        device.0,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The groups of these devices.
pub(super) async fn groups_of(
    conn: &mut PgConnection,
    product: &Product,
    devices: &[Uuid],
) -> sqlx::Result<Vec<(DeviceId, GroupId)>> {
    let rows = sqlx::query!(
        r#"SELECT m.device_id AS "device_id: DeviceId", m.group_id AS "group_id: GroupId" FROM deployment_members m
           JOIN deployment_groups g ON g.id = m.group_id WHERE g.product_id = $1 AND m.device_id = ANY ($2)"#,
        product.id().0,
        devices
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.device_id, row.group_id)).collect())
}

/// Where the devices of a group stand with its current release.
pub(super) async fn progress(conn: &mut PgConnection, product: &Product, group: GroupId) -> sqlx::Result<Progress> {
    let totals = sqlx::query!(
        r#"SELECT count(*) AS "devices!", count(*) FILTER (WHERE s.firmware_uuid = f.uuid) AS "on_release!",
                  count(*) FILTER (WHERE s.connection = 'connected') AS "connected!"
           FROM deployment_members m JOIN devices d ON d.id = m.device_id JOIN device_states s ON s.device_id = m.device_id
           JOIN LATERAL (SELECT firmware_id FROM releases WHERE group_id = m.group_id ORDER BY number DESC LIMIT 1) r ON true
           JOIN firmwares f ON f.id = r.firmware_id
           WHERE m.group_id = $1 AND d.product_id = $2 AND d.deleted_at IS NULL"#,
        group.0,
        product.id().0
    )
    .fetch_one(&mut *conn)
    .await?;
    let statuses = sqlx::query!(
        r#"SELECT status AS "status!: Status", reason, count(*) AS "count!" FROM (
               SELECT DISTINCT ON (u.device_id) u.status, u.reason FROM updates u
               WHERE u.group_id = $1 AND u.product_id = $2
                 AND u.release_id = (SELECT id FROM releases WHERE group_id = $1 ORDER BY number DESC LIMIT 1)
               ORDER BY u.device_id, u.id DESC) latest
           GROUP BY status, reason ORDER BY count(*) DESC"#,
        group.0,
        product.id().0
    )
    .fetch_all(conn)
    .await?;
    let count = |status| {
        statuses
            .iter()
            .filter(|row| row.status == status)
            .map(|row| row.count)
            .sum::<i64>()
    };
    let by_status = Status::ALL.into_iter().map(|status| (status, count(status))).collect();
    let reasons = statuses
        .iter()
        .filter_map(|row| Some((row.status, row.reason.clone()?, row.count)))
        .collect();
    Ok(Progress {
        devices: totals.devices,
        on_release: totals.on_release,
        connected: totals.connected,
        by_status,
        reasons,
    })
}

/// The device's group.
pub(super) async fn group_name_of(
    conn: &mut PgConnection,
    product: &Product,
    device: DeviceId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "SELECT g.name FROM deployment_members m JOIN deployment_groups g ON g.id = m.group_id
         WHERE m.device_id = $1 AND g.product_id = $2",
        device.0,
        product.id().0
    )
    .fetch_optional(conn)
    .await
}

/// The group's updates in flight.
pub(super) async fn slots_taken(conn: &mut PgConnection, product: &Product, group: GroupId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM updates WHERE product_id = $1 AND group_id = $2 AND ended_at IS NULL"#,
        product.id().0,
        group.0
    )
    .fetch_one(conn)
    .await
}

/// The group's releases, newest first.
pub(super) async fn releases(
    conn: &mut PgConnection,
    product: &Product,
    group: GroupId,
) -> sqlx::Result<Vec<ReleaseEntry>> {
    sqlx::query_as!(
        ReleaseEntry,
        r#"SELECT r.number, f.version, f.uuid AS firmware_uuid, a.uuid AS "archive_uuid?", a.version AS "archive_version?",
                  u.name AS "created_by?", r.created_at
           FROM releases r JOIN firmwares f ON f.id = r.firmware_id JOIN deployment_groups g ON g.id = r.group_id
           LEFT JOIN archives a ON a.id = r.archive_id LEFT JOIN users u ON u.id = r.created_by
           WHERE g.product_id = $1 AND r.group_id = $2 ORDER BY r.number DESC LIMIT 50"#,
        product.id().0,
        group.0
    )
    .fetch_all(conn)
    .await
}

/// Devices whose latest update to the current release is going on or did not succeed, newest change first.
pub(super) async fn under_way(
    conn: &mut PgConnection,
    product: &Product,
    group: GroupId,
    limit: i64,
) -> sqlx::Result<Vec<DeviceUpdate>> {
    sqlx::query_as!(
        DeviceUpdate,
        r#"SELECT identifier, status AS "status!: Status", percent, reason, told_at, updated_at, ended_at FROM (
               SELECT DISTINCT ON (u.device_id) d.identifier, u.status, u.percent, u.reason, u.told_at, u.updated_at, u.ended_at
               FROM updates u JOIN devices d ON d.id = u.device_id
               WHERE u.group_id = $1 AND u.product_id = $2 AND d.deleted_at IS NULL
                 AND u.release_id = (SELECT id FROM releases WHERE group_id = $1 ORDER BY number DESC LIMIT 1)
               ORDER BY u.device_id, u.id DESC) latest
           WHERE status <> 'succeeded' ORDER BY ended_at IS NOT NULL, identifier LIMIT $3"#,
        group.0,
        product.id().0,
        limit
    )
    .fetch_all(conn)
    .await
}
