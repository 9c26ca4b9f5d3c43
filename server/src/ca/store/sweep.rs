//! What devices' connections and the server's own jobs read and write, across orgs.

use sqlx::PgConnection;

use super::Row;
use crate::accounts::OrgId;
use crate::ca::model::{Ca, CaId};
use crate::platform::sweep::Sweep;
use crate::platform::vault::{Sealed, VaultKeyId};
use crate::products::ProductId;

/// The CA whose key has this identifier, whichever org it belongs to: a device names its CA before it has an org.
pub(in crate::ca) async fn find_by_ski(conn: &mut PgConnection, _proof: Sweep, ski: &[u8]) -> sqlx::Result<Option<Ca>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT c.id AS "id: CaId", c.org_id AS "org_id: OrgId", c.serial, c.der, c.not_before, c.not_after, c.description,
                  c.check_expiration, CASE WHEN c.sealed_key IS NOT NULL THEN c.renews END AS renews, p.id AS "jitp_product_id?: ProductId", p.name AS "jitp_product_name?", c.jitp_tags,
                  c.jitp_description, c.last_used_at
           FROM ca_certificates c LEFT JOIN products p ON p.id = c.jitp_product_id AND p.deleted_at IS NULL
           WHERE c.ski = $1"#,
        ski
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Ca::from))
}

/// An org's newest CA whose key the server holds.
pub(in crate::ca) async fn find_own(
    conn: &mut PgConnection,
    _proof: Sweep,
    org_id: OrgId,
) -> sqlx::Result<Option<(CaId, Vec<u8>, Sealed)>> {
    let row = sqlx::query!(
        r#"SELECT id AS "id: CaId", der, vault_key_id AS "vault_key_id!: VaultKeyId", sealed_key AS "sealed_key!" FROM ca_certificates
           WHERE org_id = $1 AND sealed_key IS NOT NULL ORDER BY id DESC LIMIT 1"#,
        org_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        (
            row.id,
            row.der,
            Sealed {
                key: row.vault_key_id,
                bytes: row.sealed_key,
            },
        )
    }))
}

/// The CA with this key identifier, where the server holds its key and it issues devices' next certificates.
pub(in crate::ca) async fn find_renewing(
    conn: &mut PgConnection,
    _proof: Sweep,
    org_id: OrgId,
    ski: &[u8],
) -> sqlx::Result<Option<(CaId, Vec<u8>, Sealed)>> {
    let row = sqlx::query!(
        r#"SELECT id AS "id: CaId", der, vault_key_id AS "vault_key_id!: VaultKeyId", sealed_key AS "sealed_key!" FROM ca_certificates
           WHERE org_id = $1 AND ski = $2 AND renews"#,
        org_id.0,
        ski
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let sealed = Sealed {
            key: row.vault_key_id,
            bytes: row.sealed_key,
        };
        (row.id, row.der, sealed)
    }))
}

/// The oldest CA whose key the server holds, of whatever org.
pub(in crate::ca) async fn find_first_own(
    conn: &mut PgConnection,
    _proof: Sweep,
) -> sqlx::Result<Option<(CaId, Vec<u8>, Sealed)>> {
    let row = sqlx::query!(
        r#"SELECT id AS "id: CaId", der, vault_key_id AS "vault_key_id!: VaultKeyId", sealed_key AS "sealed_key!" FROM ca_certificates
           WHERE sealed_key IS NOT NULL ORDER BY id LIMIT 1"#
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let sealed = Sealed {
            key: row.vault_key_id,
            bytes: row.sealed_key,
        };
        (row.id, row.der, sealed)
    }))
}

/// Every key under the vault, locked.
pub(in crate::ca) async fn lock_sealed_keys(
    conn: &mut PgConnection,
    _proof: Sweep,
) -> sqlx::Result<Vec<(CaId, Sealed)>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: CaId", vault_key_id AS "vault_key_id!: VaultKeyId", sealed_key AS "sealed_key!" FROM ca_certificates
           WHERE sealed_key IS NOT NULL ORDER BY id FOR UPDATE"#
    )
    .fetch_all(conn)
    .await?;
    let sealed = rows.into_iter().map(|row| {
        let sealed = Sealed {
            key: row.vault_key_id,
            bytes: row.sealed_key,
        };
        (row.id, sealed)
    });
    Ok(sealed.collect())
}

/// Stores a key that was sealed anew.
pub(in crate::ca) async fn update_sealed_key(
    conn: &mut PgConnection,
    _proof: Sweep,
    id: CaId,
    sealed: &Sealed,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE ca_certificates SET vault_key_id = $2, sealed_key = $3 WHERE id = $1",
        id.0,
        sealed.key.0,
        sealed.bytes
    )
    .execute(conn)
    .await?;
    Ok(())
}
