//! Certificates of devices, as operators see and change them. A revoked one is kept, and seen by nobody.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::accounts::{Org, OrgId};
use crate::ca::x509::Certificate;
use crate::devices::model::{CertificateId, DeviceCertificate, DeviceId};

/// The device's certificates, oldest first.
pub(in crate::devices) async fn certificates(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
) -> sqlx::Result<Vec<DeviceCertificate>> {
    sqlx::query_as!(
        DeviceCertificate,
        r#"SELECT serial, fingerprint, fingerprint_sha1, not_before, not_after, last_used_at,
                  (replaces IS NOT NULL AND proven_at IS NULL) AS "is_unproven!"
           FROM device_certificates WHERE org_id = $1 AND device_id = $2 AND revoked_at IS NULL ORDER BY created_at, id"#,
        org.id().0,
        device.0
    )
    .fetch_all(conn)
    .await
}

/// A certificate to pin.
pub(in crate::devices) struct NewCertificate<'a> {
    pub id: CertificateId,
    pub org_id: OrgId,
    pub device_id: DeviceId,
    pub certificate: &'a Certificate,
    /// The one that it was issued to replace, which stays good until the device comes by the new one.
    pub replaces: Option<CertificateId>,
    pub now: OffsetDateTime,
}

/// Pins a certificate, unless its key belongs to another device.
pub(in crate::devices) async fn insert_certificate(
    conn: &mut PgConnection,
    new: NewCertificate<'_>,
) -> sqlx::Result<bool> {
    let certificate = new.certificate;
    // Until the transaction ends nobody else gives this key to another device.
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('muster.device_key.' || encode($1, 'hex'), 0))",
        certificate.public_key_fingerprint.as_slice()
    )
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query!(
        "INSERT INTO device_certificates (id, org_id, device_id, serial, aki, ski, fingerprint, fingerprint_sha1,
             public_key_fingerprint, der, not_before, not_after, replaces, created_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
         WHERE NOT EXISTS (SELECT FROM device_certificates WHERE public_key_fingerprint = $9 AND device_id <> $3)",
        new.id.0,
        new.org_id.0,
        new.device_id.0,
        certificate.serial,
        certificate.aki,
        certificate.ski,
        certificate.fingerprint.as_slice(),
        certificate.fingerprint_sha1.as_slice(),
        certificate.public_key_fingerprint.as_slice(),
        certificate.der,
        certificate.not_before,
        certificate.not_after,
        new.replaces.map(|id| id.0),
        new.now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes a certificate back that was revoked on this device; whether there was one.
pub(in crate::devices) async fn restore_certificate(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
    certificate: &Certificate,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE device_certificates SET revoked_at = NULL, replaces = NULL, created_at = $4
         WHERE org_id = $1 AND device_id = $2 AND fingerprint = $3 AND revoked_at IS NOT NULL",
        org.id().0,
        device.0,
        certificate.fingerprint.as_slice(),
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Revokes a certificate, and the one that was issued to replace it; whether it was good.
pub(in crate::devices) async fn revoke_certificate(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
    serial: &str,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE device_certificates SET revoked_at = $4
         WHERE org_id = $1 AND device_id = $2 AND revoked_at IS NULL AND (serial = $3 OR replaces = (
             SELECT id FROM device_certificates WHERE device_id = $2 AND serial = $3))
         RETURNING id",
        org.id().0,
        device.0,
        serial,
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(!done.is_empty())
}
