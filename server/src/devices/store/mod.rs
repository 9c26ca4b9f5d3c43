//! SQL of devices, by proof: what an operator may see here, what jobs and links write in [`sweep`].

pub(super) mod credentials;
pub(super) mod identities;
pub(super) mod links;
mod list;
pub(super) mod logs;
pub(super) mod moves;
mod page;
pub(super) mod sweep;

pub(super) use credentials::certificates::{
    NewCertificate, certificates, insert_certificate, restore_certificate, revoke_certificate,
};
pub(super) use credentials::secrets;
pub(super) use list::{count, find, find_in_orgs, list};
pub(super) use page::{by_ids, key, page};

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::model::{DeviceId, Identifier, RefusedDevice};
use crate::accounts::Org;
use crate::products::{Product, ProductId, Switches};

/// A device to register.
pub(super) struct NewDevice<'a> {
    pub id: DeviceId,
    pub identifier: &'a Identifier,
    pub description: &'a str,
    pub tags: &'a [String],
    pub updates_enabled: bool,
    pub connecting_code: &'a str,
    pub now: OffsetDateTime,
}

pub(super) async fn insert(conn: &mut PgConnection, product: &Product, new: NewDevice<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH device AS (
             INSERT INTO devices (id, org_id, product_id, identifier, description, tags, updates_enabled, connecting_code,
                 created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) RETURNING id)
         INSERT INTO device_states (device_id) SELECT id FROM device",
        new.id.0,
        product.org().id().0,
        product.id().0,
        new.identifier.as_str(),
        new.description,
        new.tags,
        new.updates_enabled,
        new.connecting_code,
        new.now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a device with this identifier is there, and whether it is deleted.
pub(super) async fn find_deleted_at(
    conn: &mut PgConnection,
    org: &Org,
    identifier: &Identifier,
) -> sqlx::Result<Option<Option<OffsetDateTime>>> {
    sqlx::query_scalar!(
        "SELECT deleted_at FROM devices WHERE org_id = $1 AND identifier = $2",
        org.id().0,
        identifier.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// What an operator changes of a device; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Free text.
    pub description: Option<String>,
    /// By which groups choose it.
    pub tags: Option<Vec<String>>,
    /// Whether deployments may tell it; switching it on also lifts a block.
    pub updates_enabled: Option<bool>,
    /// What it runs at each connect, after its group's.
    pub connecting_code: Option<String>,
    /// Extensions that it may use from now on, where its product's devices may, or may not.
    pub extensions: Switches,
}

/// Changes a device; whether its extensions are others now.
pub(super) async fn update(
    conn: &mut PgConnection,
    org: &Org,
    id: DeviceId,
    change: &Change,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let switched = sqlx::query_scalar!(
        r#"WITH old AS (SELECT id, extensions_off FROM devices WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE)
           UPDATE devices d SET description = coalesce($3, description), tags = coalesce($4, tags),
               updates_enabled = coalesce($5, updates_enabled),
               updates_blocked_until = CASE WHEN $5 IS TRUE THEN NULL ELSE updates_blocked_until END,
               connecting_code = coalesce($9, d.connecting_code),
               extensions_off = ARRAY(SELECT unnest(d.extensions_off || $6::text[]) EXCEPT SELECT unnest($7::text[]) ORDER BY 1),
               updated_at = $8
           FROM old WHERE d.id = old.id RETURNING d.extensions_off <> old.extensions_off AS "switched!""#,
        org.id().0,
        id.0,
        change.description,
        change.tags.as_deref(),
        change.updates_enabled,
        &change.extensions.off(),
        &change.extensions.on(),
        now,
        change.connecting_code
    )
    .fetch_optional(conn)
    .await?;
    Ok(switched.unwrap_or_default())
}

/// What the device runs at each connect.
pub(super) async fn connecting_code(conn: &mut PgConnection, org: &Org, id: DeviceId) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "SELECT connecting_code FROM devices WHERE org_id = $1 AND id = $2",
        org.id().0,
        id.0
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn update_deleted_at(
    conn: &mut PgConnection,
    org: &Org,
    id: DeviceId,
    deleted_at: Option<OffsetDateTime>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE devices SET deleted_at = $3 WHERE org_id = $1 AND id = $2",
        org.id().0,
        id.0,
        deleted_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn update_blocked_until(
    conn: &mut PgConnection,
    org: &Org,
    id: DeviceId,
    until: Option<OffsetDateTime>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE devices SET updates_blocked_until = $3 WHERE org_id = $1 AND id = $2",
        org.id().0,
        id.0,
        until
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete(conn: &mut PgConnection, org: &Org, id: DeviceId) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM devices WHERE org_id = $1 AND id = $2", org.id().0, id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Devices of the org that were answered 401, newest first.
pub(super) async fn refused(conn: &mut PgConnection, org: &Org, limit: i64) -> sqlx::Result<Vec<RefusedDevice>> {
    sqlx::query_as!(
        RefusedDevice,
        "SELECT identifier, reason, first_at, last_at, count FROM refusals WHERE org_id = $1 ORDER BY last_at DESC LIMIT $2",
        org.id().0,
        limit
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn delete_refusals(conn: &mut PgConnection, org: &Org, identifier: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM refusals WHERE org_id = $1 AND identifier = $2",
        org.id().0,
        identifier
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Devices of the org's products, and how many of them are connected.
pub(super) async fn census(conn: &mut PgConnection, org: &Org) -> sqlx::Result<Vec<(ProductId, i64, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT d.product_id AS "product_id: ProductId", count(*) AS "devices!",
                  count(*) FILTER (WHERE s.connection = 'connected') AS "online!"
           FROM devices d JOIN device_states s ON s.device_id = d.id
           WHERE d.org_id = $1 AND d.deleted_at IS NULL GROUP BY d.product_id"#,
        org.id().0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.product_id, row.devices, row.online))
        .collect())
}

/// Devices of the product by the firmware that they run.
pub(super) async fn running(conn: &mut PgConnection, product: &Product) -> sqlx::Result<HashMap<Uuid, i64>> {
    let rows = sqlx::query!(
        r#"SELECT s.firmware_uuid AS "uuid!", count(*) AS "count!" FROM devices d JOIN device_states s ON s.device_id = d.id
           WHERE d.product_id = $1 AND d.deleted_at IS NULL AND s.firmware_uuid IS NOT NULL GROUP BY s.firmware_uuid"#,
        product.id().0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.uuid, row.count)).collect())
}
