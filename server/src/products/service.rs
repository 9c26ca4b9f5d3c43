//! Use cases of products.

use sqlx::PgConnection;

use super::model::Product;
use super::store;
use crate::accounts::{self, Org, Viewer};

/// The proof that the viewer may see this product; `None` when it is not there or another org's.
///
/// # Errors
/// When the database fails.
pub async fn access(
    conn: &mut PgConnection,
    viewer: &Viewer,
    org: &str,
    product: &str,
) -> sqlx::Result<Option<Product>> {
    let Some(org) = accounts::access(conn, viewer, org).await? else {
        return Ok(None);
    };
    store::find(conn, &org, product).await
}

/// The org's products, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, org: &Org) -> sqlx::Result<Vec<Product>> {
    store::list(conn, org).await
}
