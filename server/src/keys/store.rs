//! SQL of signing keys.

pub(super) mod sweep;

use muster_fwup::PublicKey;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::model::{KeyId, SigningKey};
use crate::accounts::Org;

struct Row {
    id: KeyId,
    name: String,
    public_key: Vec<u8>,
    created_at: OffsetDateTime,
}

impl TryFrom<Row> for SigningKey {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            key: public_key(&row.public_key)?,
            id: row.id,
            name: row.name,
            created_at: row.created_at,
        })
    }
}

fn public_key(bytes: &[u8]) -> sqlx::Result<PublicKey> {
    PublicKey::from_bytes(bytes).map_err(|error| sqlx::Error::ColumnDecode {
        index: "signing_keys.public_key".to_owned(),
        source: Box::new(error),
    })
}

/// The org's keys, by name.
pub(super) async fn list(conn: &mut PgConnection, org: &Org) -> sqlx::Result<Vec<SigningKey>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: KeyId", name, public_key, created_at FROM signing_keys WHERE org_id = $1 ORDER BY name"#,
        org.id().0
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(SigningKey::try_from).collect()
}

/// The org's key of this name.
pub(super) async fn find(conn: &mut PgConnection, org: &Org, name: &str) -> sqlx::Result<Option<SigningKey>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: KeyId", name, public_key, created_at FROM signing_keys WHERE org_id = $1 AND name = $2"#,
        org.id().0,
        name
    )
    .fetch_optional(conn)
    .await?;
    row.map(SigningKey::try_from).transpose()
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    org: &Org,
    key: &SigningKey,
    created_by: Option<Uuid>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO signing_keys (id, org_id, name, public_key, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        key.id.0,
        org.id().0,
        key.name,
        key.key.as_bytes(),
        created_by,
        key.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete(conn: &mut PgConnection, org: &Org, name: &str) -> sqlx::Result<Option<KeyId>> {
    sqlx::query_scalar!(
        r#"DELETE FROM signing_keys WHERE org_id = $1 AND name = $2 RETURNING id AS "id: KeyId""#,
        org.id().0,
        name
    )
    .fetch_optional(conn)
    .await
}
