//! Shared secrets of products and devices, as operators see and change them.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::devices::model::{DeviceId, SecretId, SharedSecret};
use crate::platform::vault::Sealed;
use crate::products::Product;

/// The product's own secrets, or a device's of it, oldest first.
pub(in crate::devices) async fn list(
    conn: &mut PgConnection,
    product: &Product,
    device: Option<DeviceId>,
) -> sqlx::Result<Vec<SharedSecret>> {
    sqlx::query_as!(
        SharedSecret,
        r#"SELECT id AS "id: SecretId", key, created_at, deactivated_at, last_used_at FROM shared_secrets
           WHERE org_id = $1 AND product_id = $2 AND device_id IS NOT DISTINCT FROM $3 ORDER BY id"#,
        product.org().id().0,
        product.id().0,
        device.map(|device| device.0)
    )
    .fetch_all(conn)
    .await
}

/// A secret to store.
pub(in crate::devices) struct NewSecret<'a> {
    pub id: SecretId,
    pub device: Option<DeviceId>,
    pub key: &'a str,
    pub sealed: &'a Sealed,
    pub now: OffsetDateTime,
}

/// Stores a secret.
pub(in crate::devices) async fn insert(
    conn: &mut PgConnection,
    product: &Product,
    new: &NewSecret<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO shared_secrets (id, org_id, product_id, device_id, key, vault_key_id, sealed, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        new.id.0,
        product.org().id().0,
        product.id().0,
        new.device.map(|device| device.0),
        new.key,
        new.sealed.key.0,
        new.sealed.bytes,
        new.now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deactivates a secret of the product, or of one device of it; its key, unless it was not active.
pub(in crate::devices) async fn deactivate(
    conn: &mut PgConnection,
    product: &Product,
    device: Option<DeviceId>,
    id: SecretId,
    now: OffsetDateTime,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "UPDATE shared_secrets SET deactivated_at = $5
         WHERE org_id = $1 AND product_id = $2 AND device_id IS NOT DISTINCT FROM $3 AND id = $4 AND deactivated_at IS NULL
         RETURNING key",
        product.org().id().0,
        product.id().0,
        device.map(|device| device.0),
        id.0,
        now
    )
    .fetch_optional(conn)
    .await
}
