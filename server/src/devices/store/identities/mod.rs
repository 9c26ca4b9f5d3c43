//! SQL of keys in overlay networks: what an operator sees of them here, what links write in [`sweep`].

pub(in crate::devices) mod sweep;

use muster_link::IdentityService;
use sqlx::PgConnection;

use crate::accounts::Org;
use crate::devices::model::DeviceId;
use crate::devices::reported::NetworkIdentity;

/// The device's keys, of one network or all, by network and instance.
pub(in crate::devices) async fn list(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
    service: Option<IdentityService>,
    instance: Option<&str>,
) -> sqlx::Result<Vec<NetworkIdentity>> {
    sqlx::query_as!(
        NetworkIdentity,
        "SELECT i.service, i.instance, i.identifier, i.details, i.last_reported_at, i.created_at, i.updated_at
         FROM network_identities i JOIN devices d ON d.id = i.device_id
         WHERE d.org_id = $1 AND i.device_id = $2 AND ($3::text IS NULL OR i.service = $3)
             AND ($4::text IS NULL OR i.instance = $4)
         ORDER BY i.service, i.instance",
        org.id().0,
        device.0,
        service.map(IdentityService::name),
        instance
    )
    .fetch_all(conn)
    .await
}
