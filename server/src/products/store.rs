//! SQL of products.

use sqlx::PgConnection;

use super::model::{Product, ProductId};
use crate::accounts::Org;

/// The org's product of this name.
pub(super) async fn find(conn: &mut PgConnection, org: &Org, name: &str) -> sqlx::Result<Option<Product>> {
    let row = sqlx::query!(
        r#"SELECT id AS "id: ProductId", name FROM products
           WHERE org_id = $1 AND lower(name) = lower($2) AND deleted_at IS NULL"#,
        org.id().0,
        name
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Product {
        id: row.id,
        name: row.name,
        org: org.clone(),
    }))
}

/// The org's products, by name.
pub(super) async fn list(conn: &mut PgConnection, org: &Org) -> sqlx::Result<Vec<Product>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: ProductId", name FROM products WHERE org_id = $1 AND deleted_at IS NULL ORDER BY lower(name)"#,
        org.id().0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Product {
            id: row.id,
            name: row.name,
            org: org.clone(),
        })
        .collect())
}
