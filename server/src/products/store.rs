//! SQL of products.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::extensions::set_of;
use super::model::{Changes, Product, ProductId};
use crate::accounts::Org;

struct Row {
    id: ProductId,
    name: String,
    require_unique_firmware_version: bool,
    extensions: Vec<String>,
}

impl Row {
    fn of(self, org: &Org) -> Product {
        Product {
            id: self.id,
            name: self.name,
            require_unique_firmware_version: self.require_unique_firmware_version,
            extensions: set_of(&self.extensions),
            org: org.clone(),
        }
    }
}

/// The org's product of this name.
pub(super) async fn find(conn: &mut PgConnection, org: &Org, name: &str) -> sqlx::Result<Option<Product>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: ProductId", name, require_unique_firmware_version, extensions FROM products
           WHERE org_id = $1 AND lower(name) = lower($2) AND deleted_at IS NULL"#,
        org.id().0,
        name
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.of(org)))
}

/// The product as it is now, unchanged until the transaction ends.
pub(super) async fn lock(conn: &mut PgConnection, product: &Product) -> sqlx::Result<Option<Product>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: ProductId", name, require_unique_firmware_version, extensions FROM products
           WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL FOR NO KEY UPDATE"#,
        product.id().0,
        product.org().id().0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.of(product.org())))
}

/// The org's products, by name.
pub(super) async fn list(conn: &mut PgConnection, org: &Org) -> sqlx::Result<Vec<Product>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: ProductId", name, require_unique_firmware_version, extensions FROM products
           WHERE org_id = $1 AND deleted_at IS NULL ORDER BY lower(name)"#,
        org.id().0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.of(org)).collect())
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    org: &Org,
    id: ProductId,
    name: &str,
    now: OffsetDateTime,
) -> sqlx::Result<Product> {
    let row = sqlx::query_as!(
        Row,
        r#"INSERT INTO products (id, org_id, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
           RETURNING id AS "id: ProductId", name, require_unique_firmware_version, extensions"#,
        id.0,
        org.id().0,
        name,
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(row.of(org))
}

pub(super) async fn update(
    conn: &mut PgConnection,
    product: &Product,
    changes: &Changes,
    now: OffsetDateTime,
) -> sqlx::Result<Option<Product>> {
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE products SET name = coalesce($3, name),
               require_unique_firmware_version = coalesce($4, require_unique_firmware_version),
               extensions = ARRAY(SELECT unnest(extensions || $5::text[]) EXCEPT SELECT unnest($6::text[]) ORDER BY 1),
               updated_at = $7
           WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL
           RETURNING id AS "id: ProductId", name, require_unique_firmware_version, extensions"#,
        product.id().0,
        product.org().id().0,
        changes.name,
        changes.require_unique_firmware_version,
        &changes.extensions.on(),
        &changes.extensions.off(),
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.of(product.org())))
}

/// Marks the product as deleted; its devices and firmware are no longer reached.
pub(super) async fn delete(conn: &mut PgConnection, product: &Product, now: OffsetDateTime) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE products SET deleted_at = $3, updated_at = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL",
        product.id().0,
        product.org().id().0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
