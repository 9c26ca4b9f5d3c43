//! What links and jobs read and write, in batches and across orgs.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::OrgId;
use crate::ca::Jitp;
use crate::devices::identity::{Known, Peer};
use crate::devices::model::DeviceId;
use crate::devices::reported::Progress;
use crate::platform::sweep::Sweep;
use crate::products::ProductId;

/// The devices that these certificates are pinned to, in any order.
pub(in crate::devices) async fn find_by_fingerprints(
    conn: &mut PgConnection,
    _proof: Sweep,
    fingerprints: &[Vec<u8>],
) -> sqlx::Result<Vec<Known>> {
    let rows = sqlx::query!(
        r#"SELECT c.fingerprint, d.id AS "id: DeviceId", d.org_id AS "org_id: OrgId", d.product_id AS "product_id: ProductId",
                  d.identifier, (d.deleted_at IS NOT NULL OR p.deleted_at IS NOT NULL) AS "deleted!"
           FROM device_certificates c JOIN devices d ON d.id = c.device_id JOIN products p ON p.id = d.product_id
           WHERE c.fingerprint = ANY ($1)"#,
        fingerprints
    )
    .fetch_all(conn)
    .await?;
    let known = rows.into_iter().map(|row| Known {
        fingerprint: row.fingerprint,
        peer: Peer::new(row.id, row.org_id, row.product_id, row.identifier),
        deleted: row.deleted,
    });
    Ok(known.collect())
}

/// The device that has a certificate with this public key, and whether it is deleted.
pub(in crate::devices) async fn find_by_public_key(
    conn: &mut PgConnection,
    _proof: Sweep,
    public_key: &[u8],
) -> sqlx::Result<Option<(Peer, bool)>> {
    let row = sqlx::query!(
        r#"SELECT d.id AS "id: DeviceId", d.org_id AS "org_id: OrgId", d.product_id AS "product_id: ProductId", d.identifier,
                  d.deleted_at IS NOT NULL AS "deleted!"
           FROM device_certificates c JOIN devices d ON d.id = c.device_id WHERE c.public_key_fingerprint = $1 LIMIT 1"#,
        public_key
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        (
            Peer::new(row.id, row.org_id, row.product_id, row.identifier),
            row.deleted,
        )
    }))
}

/// The device of this identifier in the org, whether it is deleted, and whether it has a certificate.
pub(in crate::devices) async fn find_by_identifier(
    conn: &mut PgConnection,
    _proof: Sweep,
    org: OrgId,
    identifier: &str,
) -> sqlx::Result<Option<(Peer, bool, bool)>> {
    let row = sqlx::query!(
        r#"SELECT d.id AS "id: DeviceId", d.org_id AS "org_id: OrgId", d.product_id AS "product_id: ProductId", d.identifier,
                  d.deleted_at IS NOT NULL AS "deleted!",
                  EXISTS (SELECT FROM device_certificates c WHERE c.device_id = d.id) AS "has_certificate!"
           FROM devices d WHERE d.org_id = $1 AND d.identifier = $2 FOR UPDATE OF d"#,
        org.0,
        identifier
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        (
            Peer::new(row.id, row.org_id, row.product_id, row.identifier),
            row.deleted,
            row.has_certificate,
        )
    }))
}

/// Creates a device that came by a CA with just-in-time provisioning.
pub(in crate::devices) async fn insert_provisioned(
    conn: &mut PgConnection,
    _proof: Sweep,
    peer: &Peer,
    jitp: &Jitp,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH device AS (
             INSERT INTO devices (id, org_id, product_id, identifier, description, tags, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7) RETURNING id)
         INSERT INTO device_states (device_id) SELECT id FROM device",
        peer.device().0,
        peer.org().0,
        peer.product().0,
        peer.identifier(),
        jitp.description,
        &jitp.tags,
        now
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

/// Copies the updates in flight to where lists read them; `None` where there is none any more.
pub(in crate::devices) async fn update_progress(
    conn: &mut PgConnection,
    _proof: Sweep,
    progress: &[Progress],
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = progress.iter().map(|one| one.device.0).collect();
    let statuses: Vec<Option<String>> = progress.iter().map(|one| one.status.map(str::to_owned)).collect();
    let percents: Vec<Option<i16>> = progress.iter().map(|one| one.percent).collect();
    sqlx::query!(
        "UPDATE device_states s SET update_status = n.status, update_percent = n.percent
         FROM unnest($1::uuid[], $2::text[], $3::int2[]) AS n (device_id, status, percent) WHERE s.device_id = n.device_id",
        &ids,
        &statuses as &[Option<String>],
        &percents as &[Option<i16>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The running firmware was found good.
pub(in crate::devices) async fn update_validated(conn: &mut PgConnection, peer: &Peer) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE device_states SET validation = 'validated' WHERE device_id = $1",
        peer.device().0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The interfaces that carry these links.
pub(in crate::devices) async fn update_interfaces(
    conn: &mut PgConnection,
    _proof: Sweep,
    interfaces: &[(DeviceId, String)],
) -> sqlx::Result<()> {
    let (ids, names): (Vec<Uuid>, Vec<String>) = interfaces
        .iter()
        .map(|(device, interface)| (device.0, interface.clone()))
        .unzip();
    sqlx::query!(
        "UPDATE device_states s SET interface = n.interface FROM unnest($1::uuid[], $2::text[]) AS n (device_id, interface)
         WHERE s.device_id = n.device_id AND s.interface IS DISTINCT FROM n.interface",
        &ids,
        &names
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// No deployment tells these devices before then; `None` lifts it.
pub(in crate::devices) async fn update_blocked(
    conn: &mut PgConnection,
    _proof: Sweep,
    devices: &[DeviceId],
    until: Option<OffsetDateTime>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = devices.iter().map(|device| device.0).collect();
    sqlx::query!(
        "UPDATE devices SET updates_blocked_until = $2 WHERE id = ANY ($1)",
        &ids,
        until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes when certificates were last used.
pub(in crate::devices) async fn update_certificates_used(
    conn: &mut PgConnection,
    _proof: Sweep,
    fingerprints: &[Vec<u8>],
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE device_certificates SET last_used_at = $2 WHERE fingerprint = ANY ($1)",
        fingerprints,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
