//! Certificates of devices, as operators see and change them.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::{Org, OrgId};
use crate::ca::x509::Certificate;
use crate::devices::model::{DeviceCertificate, DeviceId};

/// The device's certificates, oldest first.
pub(in crate::devices) async fn certificates(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
) -> sqlx::Result<Vec<DeviceCertificate>> {
    sqlx::query_as!(
        DeviceCertificate,
        "SELECT serial, fingerprint, not_before, not_after, last_used_at FROM device_certificates
         WHERE org_id = $1 AND device_id = $2 ORDER BY id",
        org.id().0,
        device.0
    )
    .fetch_all(conn)
    .await
}

/// A certificate to pin.
pub(in crate::devices) struct NewCertificate<'a> {
    pub id: Uuid,
    pub org_id: OrgId,
    pub device_id: DeviceId,
    pub certificate: &'a Certificate,
    pub now: OffsetDateTime,
}

/// Pins a certificate, unless its key belongs to another device.
pub(in crate::devices) async fn insert_certificate(
    conn: &mut PgConnection,
    new: NewCertificate<'_>,
) -> sqlx::Result<bool> {
    let certificate = new.certificate;
    let done = sqlx::query!(
        "INSERT INTO device_certificates (id, org_id, device_id, serial, aki, ski, fingerprint, fingerprint_sha1,
             public_key_fingerprint, der, not_before, not_after, created_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
         WHERE NOT EXISTS (SELECT FROM device_certificates WHERE public_key_fingerprint = $9 AND device_id <> $3)",
        new.id,
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
        new.now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a certificate; whether it was there.
pub(in crate::devices) async fn delete_certificate(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
    serial: &str,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "DELETE FROM device_certificates WHERE org_id = $1 AND device_id = $2 AND serial = $3",
        org.id().0,
        device.0,
        serial
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
