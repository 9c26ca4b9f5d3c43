//! Use cases of devices: what operators do with them here, what links write of them in [`reports`].

pub mod commands;
pub mod credentials;
mod identities;
mod logs;
pub mod moves;
mod reports;
pub mod secrets;

pub use identities::{IDENTITIES_KEPT, network_identities, report_identities};
pub use logs::{LOG_KEPT_FOR, log, prune_log_lines};
pub use reports::{
    block, connect, disconnect, disconnect_dead_nodes, extensions, heard, join, lift_ended_blocks, prune_links,
    reconnect, report, seen_by_node, set_interfaces, set_progress, validated,
};

use std::collections::HashMap;

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{
    CODE_MAX, Device, DeviceCertificate, DeviceId, Filter, Identifier, LinkId, Page, PageKey, PastLink, RefusedDevice,
    Sort, Tag, Window, is_code,
};
pub use super::reported::{
    DeviceLogLine, DeviceReport, JoinRecord, Joined, LinkEnd, LinkStart, LogLineId, NetworkIdentity, Progress,
    ReportKind, ReportedIdentity,
};
pub use super::store::Change;
use super::store::{self, NewCertificate, NewDevice};
use crate::accounts::{Forbidden, Org, Role, Viewer};
use crate::audit::{self, Act, Subject};
use crate::ca::service as ca;
use crate::ca::x509::{Certificate, CertificateError};
use crate::platform::events::{self, News, kind};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, db};
use crate::products::{Product, ProductId};

/// Why a device was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The role is too low.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The description is too long.
    #[error("should be at most 500 characters")]
    Description,
    /// The code of connects is too long, or no text.
    #[error("should be at most {CODE_MAX} characters, none of them NUL")]
    Code,
    /// A device has this identifier.
    #[error("has already been taken")]
    Taken,
    /// A deleted device has this identifier.
    #[error("belongs to a deleted device: restore or destroy that one first")]
    TakenByDeleted,
    /// It is in that product already.
    #[error("is the product that the device is in")]
    SameProduct,
    /// The device is not deleted.
    #[error("The device is not deleted; delete it before you destroy it.")]
    NotDeleted,
    /// The certificate cannot be read.
    #[error("{0}")]
    Certificate(CertificateError),
    /// The certificate names another device.
    #[error("names the device {0} in its common name")]
    OtherName(String),
    /// The certificate is pinned already, or its key belongs to another device.
    #[error("is already a device's, or its key is")]
    CertificateTaken,
    /// The certificate's CA is another org's.
    #[error("was issued by the CA of another org")]
    ForeignCa,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A device to register, as an operator gives it.
#[derive(Debug, Clone)]
pub struct Registration {
    /// What it calls itself.
    pub identifier: Identifier,
    /// Free text.
    pub description: String,
    /// By which groups choose it.
    pub tags: Vec<Tag>,
    /// Whether deployments may tell it.
    pub updates_enabled: bool,
    /// What it runs at each connect, after its group's.
    pub connecting_code: String,
}

/// Registers a device.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn create(platform: &Platform, product: &Product, registration: Registration) -> Result<Device, ChangeError> {
    let org = product.org();
    org.require(Role::Manage)?;
    if !is_code(&registration.connecting_code) {
        return Err(ChangeError::Code);
    }
    let mut tx = platform.db.begin().await?;
    match store::find_deleted_at(&mut tx, org, &registration.identifier).await? {
        Some(Some(_)) => return Err(ChangeError::TakenByDeleted),
        Some(None) => return Err(ChangeError::Taken),
        None => {}
    }
    let id: DeviceId = platform.new_id();
    let new = NewDevice {
        id,
        identifier: &registration.identifier,
        description: &registration.description,
        tags: &Tag::texts(registration.tags),
        updates_enabled: registration.updates_enabled,
        connecting_code: &registration.connecting_code,
        now: platform.clock.now(),
    };
    store::insert(&mut tx, product, new)
        .await
        .map_err(|error| match db::violated(&error) {
            Some("devices_identifier_key") => ChangeError::Taken,
            _ => described(error),
        })?;
    store::delete_refusals(&mut tx, org, registration.identifier.as_str()).await?;
    let device = store::find(&mut tx, product, registration.identifier.as_str())
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    record(&mut tx, platform, org, &device, "device.created", kind::EDITED).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(device)
}

fn described(error: sqlx::Error) -> ChangeError {
    match db::violated(&error) {
        Some("devices_description_check") => ChangeError::Description,
        _ => ChangeError::Database(error),
    }
}

/// Changes description, tags, what runs at each connect, whether deployments may tell it, or which extensions it may use.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn update(
    platform: &Platform,
    product: &Product,
    device: &Device,
    change: &Change,
) -> Result<Device, ChangeError> {
    let org = product.org();
    org.require(Role::Manage)?;
    if !change.connecting_code.as_deref().is_none_or(is_code) {
        return Err(ChangeError::Code);
    }
    let mut tx = platform.db.begin().await?;
    let updated = store::update(&mut tx, org, device.id, change, platform.clock.now());
    let has_switched = updated.await.map_err(described)?;
    let device = store::find(&mut tx, product, &device.identifier)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    let detail = json!({ "extensions": change.extensions.record() });
    audit::record(&mut tx, platform, act(org, &device, "device.updated", detail)).await?;
    let mut all = vec![news(org, &device, kind::EDITED)];
    if has_switched {
        all.push(news(org, &device, kind::EXTENSIONS));
    }
    events::publish(&mut tx, platform.clock.now(), &all).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(device)
}

/// Deletes a device so that it can be restored. Its link ends.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn delete(platform: &Platform, org: &Org, device: &Device) -> Result<(), ChangeError> {
    org.require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    store::update_deleted_at(&mut tx, org, device.id, Some(platform.clock.now())).await?;
    record(&mut tx, platform, org, device, "device.deleted", kind::CUT).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(())
}

/// Takes a deleted device back.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn restore(platform: &Platform, org: &Org, device: &Device) -> Result<(), ChangeError> {
    org.require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    store::update_deleted_at(&mut tx, org, device.id, None).await?;
    store::delete_refusals(&mut tx, org, &device.identifier).await?;
    record(&mut tx, platform, org, device, "device.restored", kind::EDITED).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(())
}

/// Removes a deleted device and everything known of it; its identifier is free again.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn destroy(platform: &Platform, org: &Org, device: &Device) -> Result<(), ChangeError> {
    org.require(Role::Manage)?;
    if device.deleted_at.is_none() {
        return Err(ChangeError::NotDeleted);
    }
    let mut tx = platform.db.begin().await?;
    record(&mut tx, platform, org, device, "device.destroyed", kind::CUT).await?;
    store::delete_refusals(&mut tx, org, &device.identifier).await?;
    store::links::delete(&mut tx, org, device.id).await?;
    store::logs::delete(&mut tx, org, device.id).await?;
    store::delete(&mut tx, org, device.id).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(())
}

/// Lifts a device's block, so that deployments may tell it now.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn lift_block(platform: &Platform, org: &Org, device: &Device) -> Result<(), ChangeError> {
    org.require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    store::update_blocked_until(&mut tx, org, device.id, None).await?;
    record(&mut tx, platform, org, device, "device.unblocked", kind::EDITED).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(())
}

/// Pins a certificate to a device.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn add_certificate(
    platform: &Platform,
    org: &Org,
    device: &Device,
    pem: &str,
) -> Result<DeviceCertificate, ChangeError> {
    org.require(Role::Manage)?;
    let certificate = Certificate::from_pem(pem).map_err(ChangeError::Certificate)?;
    if certificate.common_name.as_deref() != Some(device.identifier.as_str()) {
        return Err(ChangeError::OtherName(certificate.common_name.unwrap_or_default()));
    }
    let mut tx = platform.db.begin().await?;
    if let Some(aki) = &certificate.aki {
        let ca = ca::find_by_ski(&mut tx, Sweep::of_the_server(), aki).await?;
        if ca.is_some_and(|ca| ca.org_id != org.id()) {
            return Err(ChangeError::ForeignCa);
        }
    }
    let now = platform.clock.now();
    if !store::restore_certificate(&mut tx, org, device.id, &certificate, now).await? {
        let new = NewCertificate {
            id: platform.new_id(),
            org_id: org.id(),
            device_id: device.id,
            certificate: &certificate,
            replaces: None,
            now,
        };
        let pinned = store::insert_certificate(&mut tx, new)
            .await
            .map_err(|error| match db::violated(&error) {
                Some("device_certificates_fingerprint_key" | "device_certificates_serial_key") => {
                    ChangeError::CertificateTaken
                }
                _ => ChangeError::Database(error),
            })?;
        if !pinned {
            return Err(ChangeError::CertificateTaken);
        }
    }
    record(&mut tx, platform, org, device, "device.certificate_added", kind::EDITED).await?;
    let added = store::certificates(&mut tx, org, device.id)
        .await?
        .into_iter()
        .find(|added| added.fingerprint == certificate.fingerprint)
        .ok_or(sqlx::Error::RowNotFound)?;
    tx.commit().await?;
    platform.events.ring();
    Ok(added)
}

/// Revokes a certificate, for good unless it is added again; the device's link ends. Whether it was there.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn remove_certificate(
    platform: &Platform,
    org: &Org,
    device: &Device,
    serial: &str,
) -> Result<bool, ChangeError> {
    org.require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    if !store::revoke_certificate(&mut tx, org, device.id, serial, platform.clock.now()).await? {
        return Ok(false);
    }
    record(&mut tx, platform, org, device, "device.certificate_removed", kind::CUT).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(true)
}

async fn record(
    conn: &mut PgConnection,
    platform: &Platform,
    org: &Org,
    device: &Device,
    action: &'static str,
    kind: &'static str,
) -> sqlx::Result<()> {
    audit::record(conn, platform, act(org, device, action, json!({}))).await?;
    events::publish(conn, platform.clock.now(), &[news(org, device, kind)]).await
}

fn act<'a>(org: &'a Org, device: &'a Device, action: &'static str, detail: serde_json::Value) -> Act<'a> {
    Act {
        org_id: org.id().0,
        actor: org.actor(),
        action,
        subject: Subject {
            kind: "device",
            id: Some(device.id.0),
            name: &device.identifier,
        },
        detail,
    }
}

fn news(org: &Org, device: &Device, kind: &'static str) -> News {
    News {
        kind,
        org_id: org.id().0,
        product_id: Some(device.product_id.0),
        subject_id: device.id.0,
    }
}

/// A device of the product, deleted ones too.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &mut PgConnection, product: &Product, identifier: &str) -> sqlx::Result<Option<Device>> {
    store::find(conn, product, identifier).await
}

/// What the device runs at each connect, after its group's; empty where nothing.
///
/// # Errors
/// When the database fails.
pub async fn connecting_code(conn: &mut PgConnection, org: &Org, device: DeviceId) -> sqlx::Result<String> {
    Ok(store::connecting_code(conn, org, device).await?.unwrap_or_default())
}

/// Devices of this identifier in every org of the viewer.
///
/// # Errors
/// When the database fails.
pub async fn find_in_orgs(conn: &mut PgConnection, viewer: &Viewer, identifier: &str) -> sqlx::Result<Vec<Device>> {
    store::find_in_orgs(conn, viewer, identifier).await
}

/// One page of the product's devices.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut PgConnection,
    product: &Product,
    filter: &Filter,
    window: Window,
) -> sqlx::Result<Vec<Device>> {
    store::list(conn, product, filter, window).await
}

/// One page of the product's devices, by key.
///
/// # Errors
/// When the database fails.
pub async fn page(
    conn: &mut PgConnection,
    product: &Product,
    filter: &Filter,
    page: &Page,
) -> sqlx::Result<Vec<Device>> {
    store::page(conn, product, filter, page).await
}

/// The key of a row of a list that is sorted so.
pub fn page_key(device: &Device, sort: Sort) -> PageKey {
    store::key(device, sort)
}

/// These devices of the product; those that are not its own are left out.
///
/// # Errors
/// When the database fails.
pub async fn by_ids(conn: &mut PgConnection, product: &Product, ids: &[Uuid]) -> sqlx::Result<Vec<Device>> {
    store::by_ids(conn, product, ids).await
}

/// How many devices a filter shows.
///
/// # Errors
/// When the database fails.
pub async fn count(conn: &mut PgConnection, product: &Product, filter: &Filter) -> sqlx::Result<i64> {
    store::count(conn, product, filter).await
}

/// How many devices of the product run each firmware, by its fwup UUID.
///
/// # Errors
/// When the database fails.
pub async fn running(conn: &mut PgConnection, product: &Product) -> sqlx::Result<HashMap<Uuid, i64>> {
    store::running(conn, product).await
}

/// How many devices each product of the org has, and how many of them are connected. Products without devices are left out.
///
/// # Errors
/// When the database fails.
pub async fn census(conn: &mut PgConnection, org: &Org) -> sqlx::Result<Vec<(ProductId, i64, i64)>> {
    store::census(conn, org).await
}

/// The device's certificates, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn certificates(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
) -> sqlx::Result<Vec<DeviceCertificate>> {
    store::certificates(conn, org, device).await
}

/// The device's links that have ended, newest first.
///
/// # Errors
/// When the database fails.
pub async fn past_links(
    conn: &mut PgConnection,
    org: &Org,
    device: DeviceId,
    limit: i64,
) -> sqlx::Result<Vec<PastLink>> {
    store::links::past(conn, org, device, limit).await
}

/// How many links the device opened in the last hour: more than a few, and its network or its power is bad.
///
/// # Errors
/// When the database fails.
pub async fn links_last_hour(
    conn: &mut PgConnection,
    platform: &Platform,
    org: &Org,
    device: DeviceId,
) -> sqlx::Result<i64> {
    let since = LinkId::first_at(platform.clock.now() - time::Duration::hours(1));
    store::links::count_since(conn, org, device, since).await
}

/// Devices of the org that were answered 401, newest first.
///
/// # Errors
/// When the database fails.
pub async fn refused(conn: &mut PgConnection, org: &Org, limit: i64) -> sqlx::Result<Vec<RefusedDevice>> {
    store::refused(conn, org, limit).await
}
