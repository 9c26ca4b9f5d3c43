//! SQL of CA certificates.

pub(super) mod sweep;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::model::{Ca, CaId, Jitp};
use super::x509::Certificate;
use crate::accounts::{Org, OrgId};
use crate::platform::vault::Sealed;
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
    renews: Option<bool>,
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
            renews: row.renews,
            jitp,
            last_used_at: row.last_used_at,
        }
    }
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
                  c.check_expiration, CASE WHEN c.sealed_key IS NOT NULL THEN c.renews END AS renews, p.id AS "jitp_product_id?: ProductId", p.name AS "jitp_product_name?", c.jitp_tags,
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

/// A herd of new devices is noted once a minute: its CA's row is one for all of them.
pub(super) async fn update_last_used(conn: &mut PgConnection, id: CaId, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE ca_certificates SET last_used_at = $2
         WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2::timestamptz - interval '1 minute')",
        id.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Switches on or off that the CA issues devices' next certificates; whether the server holds its key.
pub(super) async fn update_renews(conn: &mut PgConnection, org: &Org, id: CaId, renews: bool) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE ca_certificates SET renews = $3 WHERE org_id = $1 AND id = $2 AND sealed_key IS NOT NULL",
        org.id().0,
        id.0,
        renews
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Switches on or off that the CA introduces no more devices once it has expired.
pub(super) async fn update_check_expiration(
    conn: &mut PgConnection,
    org: &Org,
    id: CaId,
    check_expiration: bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE ca_certificates SET check_expiration = $3 WHERE org_id = $1 AND id = $2",
        org.id().0,
        id.0,
        check_expiration
    )
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
