//! A device as the API shows it.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::deployments::{self, Group, GroupId};
use crate::devices::model::{Connection, Device, DeviceId};
use crate::devices::service as devices;
use crate::products::{Product, extensions};
use crate::web::api;

/// These devices of a product.
pub(super) async fn list(conn: &mut PgConnection, product: &Product, devices: &[Device]) -> sqlx::Result<Vec<Value>> {
    let members: HashMap<DeviceId, GroupId> = deployments::service::groups_of(conn, product, devices)
        .await?
        .into_iter()
        .collect();
    let groups = if members.is_empty() {
        Vec::new()
    } else {
        deployments::service::list(conn, product).await?
    };
    let group = |device: &Device| {
        let id = members.get(&device.id)?;
        groups.iter().find(|group| group.id == *id)
    };
    Ok(devices.iter().map(|device| json(device, group(device))).collect())
}

/// One device of a product; unlike in a list, with the code of its connects.
pub(super) async fn one(conn: &mut PgConnection, product: &Product, device: &Device) -> sqlx::Result<Value> {
    let mut shown = list(conn, product, std::slice::from_ref(device)).await?;
    let mut shown = shown.pop().unwrap_or_default();
    shown["connecting_code"] = devices::connecting_code(conn, product.org(), device.id).await?.into();
    Ok(shown)
}

fn json(device: &Device, group: Option<&Group>) -> Value {
    json!({
        "id": device.id,
        "identifier": device.identifier,
        "description": device.description,
        "tags": device.tags,
        "online": device.connection,
        "connection_status": device.connection,
        "status": status(device),
        "firmware_metadata": metadata(device),
        "version": device.firmware_version.as_deref().unwrap_or("unknown"),
        "firmware_validation_status": device.validation,
        "deployment_group": group.map(|group| json!({
            "name": group.name,
            "is_active": group.is_on,
            "firmware_uuid": group.firmware_uuid,
            "firmware_version": group.firmware_version,
        })),
        "updates_enabled": device.updates_enabled,
        "updates_blocked_until": device.updates_blocked_until.map(api::zulu),
        "update": device.update_status.as_ref().map(|status| json!({
            "status": status,
            "percent": device.update_percent,
        })),
        "extensions": extensions::shown(device.extensions()),
        "org_name": device.org_name,
        "product_name": device.product_name,
        "first_seen_at": device.first_seen_at.map(api::zulu),
        "last_communication": device.last_seen_at.map_or_else(|| "never".to_owned(), api::spaced),
        "inserted_at": api::naive(device.created_at),
        "deleted": device.deleted_at.is_some(),
    })
}

/// The one word that the oldest client prints.
fn status(device: &Device) -> &'static str {
    match device.connection {
        _ if device.update_status.is_some() => "updating",
        Connection::Connected => "online",
        Connection::Connecting | Connection::Disconnected => "offline",
        Connection::NotSeen => "not_seen",
    }
}

/// What runs on it; null before its first join.
fn metadata(device: &Device) -> Value {
    let Some(uuid) = device.firmware_uuid else {
        return Value::Null;
    };
    json!({
        "id": uuid,
        "uuid": uuid,
        "product": device.firmware_product,
        "version": device.firmware_version,
        "architecture": device.firmware_architecture,
        "platform": device.firmware_platform,
        "author": device.firmware_author,
        "description": device.firmware_description,
        "fwup_version": device.fwup_version,
        "vcs_identifier": device.firmware_vcs_identifier,
        "misc": device.firmware_misc,
    })
}
