//! SQL of CA certificates.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::model::{Ca, CaId, Jitp};
use super::x509::Certificate;
use crate::accounts::{Org, OrgId};
use crate::platform::sweep::Sweep;
use crate::platform::vault::{Sealed, VaultKeyId};
use crate::products::ProductId;

#[derive(Debug)]
struct Row {
    id: CaId,
    org_id: OrgId,
    serial: String,
    der: Vec<u8>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    description: Option<String>,
    check_expiration: bool,
    jitp_product_id: Option<ProductId>,
    jitp_product_name: Option<String>,
    jitp_tags: Vec<String>,
    jitp_description: Option<String>,
    last_used_at: Option<OffsetDateTime>,
}

impl From<Row> for Ca {
    fn from(row: Row) -> Self {
        let jitp = row
            .jitp_product_id
            .zip(row.jitp_product_name)
            .map(|(product_id, product_name)| Jitp {
                product_id,
                product_name,
                tags: row.jitp_tags,
                description: row.jitp_description.unwrap_or_default(),
            });
        Self {
            id: row.id,
            org_id: row.org_id,
            serial: row.serial,
            der: row.der,
            not_before: row.not_before,
            not_after: row.not_after,
            description: row.description,
            check_expiration: row.check_expiration,
            jitp,
            last_used_at: row.last_used_at,
        }
    }
}

/// The CA whose key has this identifier, whichever org it belongs to: a device names its CA before it has an org.
pub(super) async fn find_by_ski(conn: &mut PgConnection, _proof: Sweep, ski: &[u8]) -> sqlx::Result<Option<Ca>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT c.id AS "id: CaId", c.org_id AS "org_id: OrgId", c.serial, c.der, c.not_before, c.not_after, c.description,
                  c.check_expiration, p.id AS "jitp_product_id?: ProductId", p.name AS "jitp_product_name?", c.jitp_tags,
                  c.jitp_description, c.last_used_at
           FROM ca_certificates c LEFT JOIN products p ON p.id = c.jitp_product_id AND p.deleted_at IS NULL
           WHERE c.ski = $1"#,
        ski
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Ca::from))
}

/// The org's CA with this serial number.
pub(super) async fn find(conn: &mut PgConnection, org: &Org, serial: &str) -> sqlx::Result<Option<Ca>> {
    let all = list(conn, org).await?;
    Ok(all.into_iter().find(|ca| ca.serial == serial))
}

/// The org's CAs, oldest first.
pub(super) async fn list(conn: &mut PgConnection, org: &Org) -> sqlx::Result<Vec<Ca>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT c.id AS "id: CaId", c.org_id AS "org_id: OrgId", c.serial, c.der, c.not_before, c.not_after, c.description,
                  c.check_expiration, p.id AS "jitp_product_id?: ProductId", p.name AS "jitp_product_name?", c.jitp_tags,
                  c.jitp_description, c.last_used_at
           FROM ca_certificates c LEFT JOIN products p ON p.id = c.jitp_product_id AND p.deleted_at IS NULL
           WHERE c.org_id = $1 ORDER BY c.id"#,
        org.id().0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Ca::from).collect())
}

/// A CA to register.
pub(super) struct NewCa<'a> {
    pub id: CaId,
    pub org_id: OrgId,
    pub certificate: &'a Certificate,
    pub ski: &'a [u8],
    pub description: Option<&'a str>,
    pub jitp: Option<&'a Jitp>,
    pub key: Option<&'a Sealed>,
    pub now: OffsetDateTime,
}

pub(super) async fn insert(conn: &mut PgConnection, new: NewCa<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO ca_certificates (id, org_id, serial, aki, ski, der, not_before, not_after, description,
             jitp_product_id, jitp_tags, jitp_description, vault_key_id, sealed_key, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        new.id.0,
        new.org_id.0,
        new.certificate.serial,
        new.certificate.aki,
        new.ski,
        new.certificate.der,
        new.certificate.not_before,
        new.certificate.not_after,
        new.description,
        new.jitp.map(|jitp| jitp.product_id.0),
        new.jitp.map_or(&[][..], |jitp| jitp.tags.as_slice()),
        new.jitp.map(|jitp| jitp.description.as_str()),
        new.key.map(|key| key.key.0),
        new.key.map(|key| key.bytes.as_slice()),
        new.now
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn update_last_used(conn: &mut PgConnection, id: CaId, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!("UPDATE ca_certificates SET last_used_at = $2 WHERE id = $1", id.0, now)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn delete(conn: &mut PgConnection, org: &Org, id: CaId) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM ca_certificates WHERE org_id = $1 AND id = $2",
        org.id().0,
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An org's newest CA whose key the server holds.
pub(super) async fn find_own(
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

/// The oldest CA whose key the server holds, of whatever org.
pub(super) async fn find_first_own(
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
pub(super) async fn lock_sealed_keys(conn: &mut PgConnection, _proof: Sweep) -> sqlx::Result<Vec<(CaId, Sealed)>> {
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
pub(super) async fn update_sealed_key(
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
