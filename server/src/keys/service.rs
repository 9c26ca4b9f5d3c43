//! Use cases of signing keys.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::store;
use crate::accounts::OrgId;
use crate::platform::sweep::Sweep;

/// The keys of these orgs in base64, for devices that ask for them.
///
/// # Errors
/// When the database fails.
pub async fn of_orgs(
    conn: &mut PgConnection,
    proof: Sweep,
    orgs: &[OrgId],
) -> sqlx::Result<HashMap<OrgId, Vec<String>>> {
    store::sweep::of_orgs(conn, proof, orgs).await
}
