//! What links write of keys in overlay networks, in batches and across orgs.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::devices::model::DeviceId;
use crate::devices::reported::ReportedIdentity;
use crate::platform::sweep::Sweep;

/// A key that was not written.
pub(in crate::devices) struct Refused {
    /// Who reported it.
    pub device: DeviceId,
    /// Of which network.
    pub service: String,
    /// Whether it is another device's; otherwise the device has too many.
    pub is_taken: bool,
}

/// Forgets keys that their device now reports under another name of an instance.
pub(in crate::devices) async fn delete_renamed(
    conn: &mut PgConnection,
    _proof: Sweep,
    reported: &[ReportedIdentity],
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = reported.iter().map(|one| one.device.0).collect();
    let text =
        |pick: fn(&ReportedIdentity) -> &str| reported.iter().map(|one| pick(one).to_owned()).collect::<Vec<_>>();
    let services = text(|one| one.identity.service.name());
    let instances = text(|one| &one.identity.instance);
    let identifiers = text(|one| &one.identity.identifier);
    sqlx::query!(
        "DELETE FROM network_identities i
         USING unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS n (device_id, service, instance, identifier)
         WHERE i.device_id = n.device_id AND i.service = n.service AND i.identifier = n.identifier
             AND i.instance <> n.instance",
        &ids,
        &services,
        &instances,
        &identifiers
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes keys, and gives those that were not written: another device's, and those beyond `most` of a device. No key may
/// stand in it twice; devices that are gone are left out.
pub(in crate::devices) async fn upsert(
    conn: &mut PgConnection,
    _proof: Sweep,
    reported: &[ReportedIdentity],
    most: i64,
) -> sqlx::Result<Vec<Refused>> {
    let ids: Vec<Uuid> = reported.iter().map(|one| one.device.0).collect();
    let text =
        |pick: fn(&ReportedIdentity) -> &str| reported.iter().map(|one| pick(one).to_owned()).collect::<Vec<_>>();
    let services = text(|one| one.identity.service.name());
    let instances = text(|one| &one.identity.instance);
    let identifiers = text(|one| &one.identity.identifier);
    let details: Vec<serde_json::Value> = reported.iter().map(|one| one.identity.details.clone()).collect();
    let times: Vec<OffsetDateTime> = reported.iter().map(|one| one.at).collect();
    let rows = sqlx::query!(
        r#"WITH new AS (
               SELECT n.*,
                   EXISTS (SELECT FROM network_identities i WHERE i.device_id = n.device_id AND i.service = n.service
                           AND i.instance = n.instance) AS is_there,
                   EXISTS (SELECT FROM network_identities i WHERE i.service = n.service AND i.identifier = n.identifier
                           AND i.device_id <> n.device_id) AS is_taken,
                   (SELECT count(*) FROM network_identities i WHERE i.device_id = n.device_id) AS count
               FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::timestamptz[])
                   AS n (device_id, service, instance, identifier, details, at)
                   JOIN devices d ON d.id = n.device_id),
           judged AS (
               SELECT *, is_there OR count + row_number() OVER (
                   PARTITION BY device_id, is_there, is_taken ORDER BY service, instance) <= $7 AS has_room
               FROM new),
           written AS (
               INSERT INTO network_identities AS i (device_id, service, instance, identifier, details, last_reported_at,
                   created_at, updated_at)
               SELECT device_id, service, instance, identifier, details, at, at, at FROM judged
               WHERE NOT is_taken AND has_room ORDER BY device_id, service, instance
               ON CONFLICT (device_id, service, instance) DO UPDATE SET identifier = excluded.identifier,
                   details = excluded.details, last_reported_at = excluded.last_reported_at,
                   updated_at = CASE WHEN (i.identifier, i.details) = (excluded.identifier, excluded.details)
                       THEN i.updated_at ELSE excluded.updated_at END)
           SELECT device_id AS "device!: DeviceId", service AS "service!", is_taken AS "is_taken!" FROM judged
           WHERE is_taken OR NOT has_room"#,
        &ids,
        &services,
        &instances,
        &identifiers,
        &details,
        &times,
        most
    )
    .fetch_all(conn)
    .await?;
    let refused = rows.into_iter().map(|row| Refused {
        device: row.device,
        service: row.service,
        is_taken: row.is_taken,
    });
    Ok(refused.collect())
}
