//! Use cases of accounts.

use sqlx::PgConnection;

use super::model::{Org, Viewer};
use super::store;

/// The proof that the viewer is a member of the org of this name; `None` for another org and for none.
///
/// # Errors
/// When the database fails.
pub async fn access(conn: &mut PgConnection, viewer: &Viewer, org: &str) -> sqlx::Result<Option<Org>> {
    store::find_org(conn, viewer, org).await
}

/// Every org of the viewer, by name.
///
/// # Errors
/// When the database fails.
pub async fn orgs(conn: &mut PgConnection, viewer: &Viewer) -> sqlx::Result<Vec<Org>> {
    store::list_orgs(conn, viewer).await
}
