//! What devices' connections and the server's own jobs read and write of certificates and secrets, across orgs.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::OrgId;
use crate::devices::identity::{Asked, Holder, Known, Namesake, Pinned, Standing};
use crate::devices::model::{CertificateId, DeviceId, SecretId};
use crate::platform::sweep::Sweep;
use crate::platform::vault::{Sealed, VaultKeyId};
use crate::products::ProductId;

/// What is known of certificates with these fingerprints, in any order.
pub(in crate::devices) async fn find_by_fingerprints(
    conn: &mut PgConnection,
    _proof: Sweep,
    fingerprints: &[Vec<u8>],
) -> sqlx::Result<Vec<Known>> {
    let rows = sqlx::query!(
        r#"SELECT c.id AS "certificate: CertificateId", c.fingerprint, c.last_used_at, c.revoked_at IS NOT NULL AS "revoked!",
                  (c.replaces IS NOT NULL AND c.proven_at IS NULL) AS "unproven!",
                  EXISTS (SELECT FROM ca_certificates a WHERE a.ski = c.aki AND a.org_id = c.org_id AND a.renews) AS "may_renew!",
                  d.id AS "id: DeviceId", d.org_id AS "org_id: OrgId", d.product_id AS "product_id: ProductId", d.identifier,
                  (d.deleted_at IS NOT NULL OR p.deleted_at IS NOT NULL) AS "deleted!"
           FROM device_certificates c JOIN devices d ON d.id = c.device_id JOIN products p ON p.id = d.product_id
           WHERE c.fingerprint = ANY ($1)"#,
        fingerprints
    )
    .fetch_all(conn)
    .await?;
    let known = rows.into_iter().map(|row| Known {
        fingerprint: row.fingerprint,
        holder: Holder {
            device: row.id,
            org: row.org_id,
            product: row.product_id,
            identifier: row.identifier,
            is_deleted: row.deleted,
            is_revoked: row.revoked,
            has_certificate: !row.revoked,
        },
        pinned: Pinned {
            id: row.certificate,
            is_unproven: row.unproven,
            may_renew: row.may_renew,
        },
        last_used_at: row.last_used_at,
        standing: match (row.deleted, row.revoked) {
            (true, _) => Standing::Deleted,
            (_, true) => Standing::Revoked,
            _ => Standing::Good,
        },
    });
    Ok(known.collect())
}

/// The device that has, or had, a certificate with this public key.
pub(in crate::devices) async fn find_by_public_key(
    conn: &mut PgConnection,
    _proof: Sweep,
    public_key: &[u8],
) -> sqlx::Result<Option<Holder>> {
    sqlx::query_as!(
        Holder,
        r#"SELECT d.id AS "device: DeviceId", d.org_id AS "org: OrgId", d.product_id AS "product: ProductId", d.identifier,
                  (d.deleted_at IS NOT NULL OR p.deleted_at IS NOT NULL) AS "is_deleted!",
                  bool_and(c.revoked_at IS NOT NULL) AS "is_revoked!", bool_or(c.revoked_at IS NULL) AS "has_certificate!"
           FROM device_certificates c JOIN devices d ON d.id = c.device_id JOIN products p ON p.id = d.product_id
           WHERE c.public_key_fingerprint = $1 GROUP BY d.id, p.id ORDER BY d.id LIMIT 1"#,
        public_key
    )
    .fetch_optional(conn)
    .await
}

/// The org's device of this identifier, locked: what is looked up after this is what the last one to hold it wrote.
pub(in crate::devices) async fn find_by_identifier(
    conn: &mut PgConnection,
    _proof: Sweep,
    org: OrgId,
    identifier: &str,
) -> sqlx::Result<Option<Holder>> {
    let locked = sqlx::query!(
        "SELECT id FROM devices WHERE org_id = $1 AND identifier = $2 FOR UPDATE",
        org.0,
        identifier
    )
    .fetch_optional(&mut *conn)
    .await?;
    if locked.is_none() {
        return Ok(None);
    }
    sqlx::query_as!(
        Holder,
        r#"SELECT d.id AS "device: DeviceId", d.org_id AS "org: OrgId", d.product_id AS "product: ProductId", d.identifier,
                  (d.deleted_at IS NOT NULL OR p.deleted_at IS NOT NULL) AS "is_deleted!", false AS "is_revoked!",
                  EXISTS (SELECT FROM device_certificates c WHERE c.device_id = d.id AND c.revoked_at IS NULL)
                      AS "has_certificate!"
           FROM devices d JOIN products p ON p.id = d.product_id
           WHERE d.org_id = $1 AND d.identifier = $2"#,
        org.0,
        identifier
    )
    .fetch_optional(conn)
    .await
}

/// For each pair of a key and an identifier, in their order: the secret of the key, and the device of the identifier in the
/// secret's org.
pub(in crate::devices) async fn find_secrets(
    conn: &mut PgConnection,
    _proof: Sweep,
    keys: &[String],
    identifiers: &[String],
) -> sqlx::Result<Vec<Option<Asked>>> {
    let rows = sqlx::query!(
        r#"SELECT q.at AS "at!", s.id AS "secret: SecretId", s.org_id AS "org_id: OrgId", s.product_id AS "product_id: ProductId",
                  s.device_id AS "device_id: DeviceId", s.vault_key_id AS "vault_key_id: VaultKeyId", s.sealed,
                  s.last_used_at, s.deactivated_at IS NOT NULL AS "off!", p.deleted_at IS NOT NULL AS "product_deleted!",
                  d.id AS "namesake?: DeviceId", d.product_id AS "namesake_product_id?: ProductId",
                  d.deleted_at IS NOT NULL AS "namesake_deleted!"
           FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS q (key, identifier, at)
               JOIN shared_secrets s ON s.key = q.key JOIN products p ON p.id = s.product_id
               LEFT JOIN devices d ON d.org_id = s.org_id AND d.identifier = q.identifier"#,
        keys,
        identifiers
    )
    .fetch_all(conn)
    .await?;
    let mut asked: Vec<Option<Asked>> = keys.iter().map(|_| None).collect();
    for row in rows {
        let place = usize::try_from(row.at - 1).ok().and_then(|at| asked.get_mut(at));
        let Some(place) = place else { continue };
        let namesake = row.namesake.zip(row.namesake_product_id);
        *place = Some(Asked {
            secret: row.secret,
            org: row.org_id,
            product: row.product_id,
            device: row.device_id,
            sealed: Sealed {
                key: row.vault_key_id,
                bytes: row.sealed,
            },
            last_used_at: row.last_used_at,
            is_off: row.off,
            is_product_deleted: row.product_deleted,
            namesake: namesake.map(|(device, product)| Namesake {
                device,
                product,
                is_deleted: row.namesake_deleted,
            }),
        });
    }
    Ok(asked)
}

/// A device that nobody registered by hand.
pub(in crate::devices) struct NewDevice<'a> {
    pub id: DeviceId,
    pub org: OrgId,
    pub product: ProductId,
    pub identifier: &'a str,
    pub description: &'a str,
    pub tags: &'a [String],
    pub now: OffsetDateTime,
}

impl NewDevice<'_> {
    /// The device, without a certificate.
    pub(in crate::devices) fn holder(&self) -> Holder {
        Holder {
            device: self.id,
            org: self.org,
            product: self.product,
            identifier: self.identifier.to_owned(),
            is_deleted: false,
            is_revoked: false,
            has_certificate: false,
        }
    }
}

/// Creates a device that came by a CA with a profile, or by a product's secret.
pub(in crate::devices) async fn insert_provisioned(
    conn: &mut PgConnection,
    _proof: Sweep,
    new: &NewDevice<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH device AS (
             INSERT INTO devices (id, org_id, product_id, identifier, description, tags, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7) RETURNING id)
         INSERT INTO device_states (device_id) SELECT id FROM device",
        new.id.0,
        new.org.0,
        new.product.0,
        new.identifier,
        new.description,
        new.tags,
        new.now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes a refusal where an org can see it.
pub(in crate::devices) async fn insert_refusal(
    conn: &mut PgConnection,
    _proof: Sweep,
    org: OrgId,
    identifier: &str,
    reason: &str,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO refusals (org_id, identifier, reason, first_at, last_at) VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (org_id, identifier, reason) DO UPDATE SET last_at = $4, count = refusals.count + 1",
        org.0,
        identifier,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes when certificates and secrets were last used; those used after `before`, and those that somebody else
/// writes, are left as they are.
pub(in crate::devices) async fn update_used(
    conn: &mut PgConnection,
    _proof: Sweep,
    credentials: &[Uuid],
    before: OffsetDateTime,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH certificates AS (
             SELECT id FROM device_certificates WHERE id = ANY ($1) AND (last_used_at IS NULL OR last_used_at <= $2)
             FOR NO KEY UPDATE SKIP LOCKED),
         used AS (UPDATE device_certificates c SET last_used_at = $3 FROM certificates WHERE c.id = certificates.id),
         secrets AS (
             SELECT id FROM shared_secrets WHERE id = ANY ($1) AND (last_used_at IS NULL OR last_used_at <= $2)
             FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE shared_secrets s SET last_used_at = $3 FROM secrets WHERE s.id = secrets.id",
        credentials,
        before,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is known of a certificate that a device has.
pub(in crate::devices) struct Current {
    pub aki: Option<Vec<u8>>,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    pub proven_at: Option<OffsetDateTime>,
}

/// A certificate that is not revoked, locked.
pub(in crate::devices) async fn lock_certificate(
    conn: &mut PgConnection,
    _proof: Sweep,
    id: CertificateId,
) -> sqlx::Result<Option<Current>> {
    sqlx::query_as!(
        Current,
        "SELECT aki, not_before, not_after, proven_at FROM device_certificates
         WHERE id = $1 AND revoked_at IS NULL FOR NO KEY UPDATE",
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// A certificate that waits for the device to come by it.
pub(in crate::devices) struct Successor {
    pub id: CertificateId,
    pub der: Vec<u8>,
    pub public_key_fingerprint: Vec<u8>,
    pub created_at: OffsetDateTime,
}

/// What was issued to replace a certificate and was not shown yet.
pub(in crate::devices) async fn find_successor(
    conn: &mut PgConnection,
    _proof: Sweep,
    of: CertificateId,
) -> sqlx::Result<Option<Successor>> {
    sqlx::query_as!(
        Successor,
        r#"SELECT id AS "id: CertificateId", der, public_key_fingerprint, created_at FROM device_certificates
           WHERE replaces = $1 AND proven_at IS NULL AND revoked_at IS NULL ORDER BY id DESC LIMIT 1"#,
        of.0
    )
    .fetch_optional(conn)
    .await
}

/// Forgets a certificate that nobody ever showed.
pub(in crate::devices) async fn delete_unproven(
    conn: &mut PgConnection,
    _proof: Sweep,
    id: CertificateId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM device_certificates WHERE id = $1 AND proven_at IS NULL",
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Devices came by these certificates for the first time: those that they replace are good no longer. Gives the devices.
pub(in crate::devices) async fn prove(
    conn: &mut PgConnection,
    _proof: Sweep,
    certificates: &[Uuid],
    now: OffsetDateTime,
) -> sqlx::Result<Vec<DeviceId>> {
    sqlx::query_scalar!(
        r#"WITH proven AS (
               UPDATE device_certificates SET proven_at = $2
               WHERE id = ANY ($1) AND replaces IS NOT NULL AND proven_at IS NULL RETURNING replaces)
           UPDATE device_certificates c SET revoked_at = $2 FROM proven WHERE c.id = proven.replaces AND c.revoked_at IS NULL
           RETURNING c.device_id AS "id: DeviceId""#,
        certificates,
        now
    )
    .fetch_all(conn)
    .await
}

/// Forgets revoked certificates that no CA can introduce any more, since they have expired.
pub(in crate::devices) async fn prune_revoked(
    conn: &mut PgConnection,
    _proof: Sweep,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM device_certificates WHERE revoked_at IS NOT NULL AND not_after < $1",
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Every secret under the vault, locked.
pub(in crate::devices) async fn lock_sealed(
    conn: &mut PgConnection,
    _proof: Sweep,
) -> sqlx::Result<Vec<(SecretId, Sealed)>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: SecretId", vault_key_id AS "vault_key_id: VaultKeyId", sealed FROM shared_secrets
           ORDER BY id FOR UPDATE"#
    )
    .fetch_all(conn)
    .await?;
    let sealed = rows.into_iter().map(|row| {
        let sealed = Sealed {
            key: row.vault_key_id,
            bytes: row.sealed,
        };
        (row.id, sealed)
    });
    Ok(sealed.collect())
}

/// Stores a secret that was sealed anew.
pub(in crate::devices) async fn update_sealed(
    conn: &mut PgConnection,
    _proof: Sweep,
    id: SecretId,
    sealed: &Sealed,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE shared_secrets SET vault_key_id = $2, sealed = $3 WHERE id = $1",
        id.0,
        sealed.key.0,
        sealed.bytes
    )
    .execute(conn)
    .await?;
    Ok(())
}
