//! What links and uploads read, across orgs.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlx::PgConnection;
use uuid::Uuid;

use muster_fwup::PublicKey;

use super::public_key;
use crate::accounts::OrgId;
use crate::platform::sweep::Sweep;

/// The keys of these orgs in base64.
pub(in crate::keys) async fn of_orgs(
    conn: &mut PgConnection,
    _proof: Sweep,
    orgs: &[OrgId],
) -> sqlx::Result<HashMap<OrgId, Vec<String>>> {
    let ids: Vec<Uuid> = orgs.iter().map(|org| org.0).collect();
    let rows = sqlx::query!(
        r#"SELECT org_id AS "org_id: OrgId", public_key FROM signing_keys WHERE org_id = ANY ($1) ORDER BY id"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let mut keys: HashMap<OrgId, Vec<String>> = HashMap::new();
    for row in rows {
        keys.entry(row.org_id)
            .or_default()
            .push(STANDARD.encode(row.public_key));
    }
    Ok(keys)
}

/// The public keys of any org, for its devices.
pub(in crate::keys) async fn list_of_org(
    conn: &mut PgConnection,
    _proof: Sweep,
    org: OrgId,
) -> sqlx::Result<Vec<PublicKey>> {
    let rows = sqlx::query_scalar!(
        "SELECT public_key FROM signing_keys WHERE org_id = $1 ORDER BY name",
        org.0
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|bytes| public_key(bytes)).collect()
}
