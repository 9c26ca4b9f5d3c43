//! Use cases of firmware, but for uploading it.

use std::collections::HashSet;

use serde_json::json;
use sqlx::PgConnection;
use time::Duration;
use uuid::Uuid;

use super::model::{self, Firmware};
use super::store;
use super::upload::news;
use super::url::{FirmwareUrls, Holder};
use crate::accounts::{Forbidden, Role, UserId};
use crate::audit::{self, Act, Actor, Subject};
use crate::platform::blobs::{BlobError, BlobName};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, db, events};
use crate::products::Product;

/// A blob without a row is deleted after this time: it may belong to an upload that is about to commit.
const ORPHANED_AFTER: Duration = Duration::days(1);

/// Why firmware was not deleted or handed out.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// The role is too low.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// A release uses it.
    #[error("use this firmware; give their deployments another one first")]
    InUse,
    /// The product has none of this UUID.
    #[error("there is no such firmware")]
    Unknown,
    /// The database failed.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for FirmwareError {
    fn from(error: sqlx::Error) -> Self {
        match db::violated(&error) {
            Some("releases_firmware_id_fkey") => Self::InUse,
            _ => Self::Database(error),
        }
    }
}

/// Why the sweep did not end.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The product's firmware, newest version first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, product: &Product) -> sqlx::Result<Vec<Firmware>> {
    let mut firmware = store::list(conn, product).await?;
    model::sort_newest_first(&mut firmware);
    Ok(firmware)
}

/// The product's firmware of this UUID.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &mut PgConnection, product: &Product, uuid: Uuid) -> sqlx::Result<Option<Firmware>> {
    store::find(conn, product, uuid).await
}

/// Deletes firmware and its blob. Refused while a release uses it.
///
/// # Errors
/// [`FirmwareError`] says what is refused.
pub async fn delete(platform: &Platform, product: &Product, uuid: Uuid) -> Result<(), FirmwareError> {
    product.org().require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    let firmware = store::find(&mut tx, product, uuid).await?;
    let firmware = firmware.ok_or(FirmwareError::Unknown)?;
    if !store::delete(&mut tx, product, firmware.id).await? {
        return Err(FirmwareError::Unknown);
    }
    let act = Act {
        org_id: product.org().id().0,
        actor: product.org().actor(),
        action: "firmware.deleted",
        subject: Subject {
            kind: "firmware",
            id: Some(firmware.id.0),
            name: &firmware.version,
        },
        detail: json!({ "product": product.name(), "uuid": uuid }),
    };
    audit::record(&mut tx, platform, act).await?;
    events::publish(&mut tx, platform.clock.now(), &[news(product, firmware.id)]).await?;
    tx.commit().await?;
    platform.events.ring();
    delete_blob(platform, &firmware.blob).await;
    Ok(())
}

/// The link, without scheme and host, by which the viewer may fetch the archive.
///
/// # Errors
/// [`FirmwareError`] says what is refused.
pub async fn download_path(
    platform: &Platform,
    urls: &FirmwareUrls,
    product: &Product,
    uuid: Uuid,
) -> Result<String, FirmwareError> {
    product.org().require(Role::Manage)?;
    let mut conn = platform.db.acquire().await?;
    let firmware = store::find(&mut conn, product, uuid).await?;
    let firmware = firmware.ok_or(FirmwareError::Unknown)?;
    let user = match product.org().actor() {
        Actor::User(id, _) => *id,
        Actor::System(_) => Uuid::nil(),
    };
    let (org, holder) = (product.org().id(), Holder::User(UserId(user)));
    Ok(urls.path(org, firmware.id, holder, platform.clock.now()))
}

/// Deletes firmware that has expired, and blobs that no row has: what a crash between store and database left.
///
/// # Errors
/// When the store or the database fails; the next sweep goes on.
pub async fn sweep(platform: &Platform, proof: Sweep) -> Result<(), SweepError> {
    let now = platform.clock.now();
    let mut conn = platform.db.acquire().await?;
    for blob in store::sweep::delete_expired(&mut conn, proof, now).await? {
        delete_blob(platform, &blob).await;
    }
    drop(conn);
    let before = (now - ORPHANED_AFTER).unix_timestamp();
    let old = platform.blobs.list_written_before(before).await?;
    for batch in old.chunks(1000) {
        let names: Vec<String> = batch.iter().map(|blob| blob.as_str().to_owned()).collect();
        let mut conn = platform.db.acquire().await?;
        let known: HashSet<String> = store::sweep::list_known_blobs(&mut conn, proof, &names)
            .await?
            .into_iter()
            .collect();
        drop(conn);
        for blob in batch.iter().filter(|blob| !known.contains(blob.as_str())) {
            delete_blob(platform, blob).await;
        }
    }
    Ok(())
}

async fn delete_blob(platform: &Platform, blob: &BlobName) {
    if let Err(error) = platform.blobs.delete(blob).await {
        tracing::warn!(%error, "a blob without a row was not deleted; the next sweep tries again");
    }
}
