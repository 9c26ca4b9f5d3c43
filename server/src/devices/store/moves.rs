//! SQL of devices that go from one product to another.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::devices::model::DeviceId;
use crate::products::Product;

/// Locks a device of the product that is not deleted; whether it is there. Updates that are assigned meanwhile wait.
pub(in crate::devices) async fn lock(conn: &mut PgConnection, product: &Product, id: DeviceId) -> sqlx::Result<bool> {
    let found = sqlx::query_scalar!(
        "SELECT id FROM devices WHERE product_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE",
        product.id().0,
        id.0
    );
    Ok(found.fetch_optional(conn).await?.is_some())
}

/// Hands a locked device with its credentials over to another product.
pub(in crate::devices) async fn update_product(
    conn: &mut PgConnection,
    from: &Product,
    id: DeviceId,
    to: &Product,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH moved AS (
             UPDATE devices SET org_id = $3, product_id = $4, updates_blocked_until = NULL, updated_at = $5
             WHERE product_id = $1 AND id = $2 RETURNING id),
         certificates AS (UPDATE device_certificates c SET org_id = $3 FROM moved WHERE c.device_id = moved.id)
         UPDATE shared_secrets s SET org_id = $3, product_id = $4 FROM moved WHERE s.device_id = moved.id",
        from.id().0,
        id.0,
        to.org().id().0,
        to.id().0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
