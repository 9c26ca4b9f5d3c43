//! Use cases of packages, but for uploading them.

use std::collections::HashSet;

use serde_json::json;
use sqlx::PgConnection;
use time::Duration;
use uuid::Uuid;

use super::model::{self, Package};
use super::upload::news;
use super::url::{Holder, PackageUrls};
use super::{Kind, Swept};
use crate::accounts::{Forbidden, Role, UserId};
use crate::audit::{self, Act, Actor, Subject};
use crate::platform::blobs::{BlobError, BlobName};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, events};
use crate::products::Product;

/// A blob without a row is deleted after this time: it may belong to an upload that is about to commit.
const ORPHANED_AFTER: Duration = Duration::days(1);
/// Releases that are named to who may not delete what they use.
const RELEASES_NAMED: i64 = 10;

/// Why a package was not deleted or handed out.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The role is too low.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Releases use it: the names of their deployments, and their numbers.
    #[error("use it: {}", named(.0))]
    InUse(Vec<(String, i32)>),
    /// The product has none of this UUID.
    #[error("there is no such package")]
    Unknown,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

fn named(releases: &[(String, i32)]) -> String {
    let names: Vec<String> = releases
        .iter()
        .map(|(group, number)| format!("release {number} of {group}"))
        .collect();
    names.join(", ")
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

/// The product's packages of a kind, newest version first.
///
/// # Errors
/// When the database fails.
pub async fn list<K: Kind>(conn: &mut PgConnection, product: &Product) -> sqlx::Result<Vec<Package<K>>> {
    let mut packages = K::list(conn, product, None).await?;
    model::sort_newest_first(&mut packages);
    Ok(packages)
}

/// The product's package of this fwup UUID.
///
/// # Errors
/// When the database fails.
pub async fn find<K: Kind>(conn: &mut PgConnection, product: &Product, uuid: Uuid) -> sqlx::Result<Option<Package<K>>> {
    Ok(K::list(conn, product, Some(uuid)).await?.pop())
}

/// Deletes a package and its blob. Refused while a release uses it.
///
/// # Errors
/// [`PackageError`] says what is refused.
pub async fn delete<K: Kind>(platform: &Platform, product: &Product, uuid: Uuid) -> Result<(), PackageError> {
    product.org().require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    let package = find::<K>(&mut tx, product, uuid).await?;
    let package = package.ok_or(PackageError::Unknown)?;
    let used = K::releases(&mut tx, product, package.id, RELEASES_NAMED).await?;
    if !used.is_empty() {
        return Err(PackageError::InUse(used));
    }
    if !K::delete(&mut tx, product, package.id).await? {
        return Err(PackageError::Unknown);
    }
    let act = Act {
        org_id: product.org().id().0,
        actor: product.org().actor(),
        action: K::DELETED,
        subject: Subject {
            kind: K::WORD,
            id: Some(package.id.uuid()),
            name: &package.version,
        },
        detail: json!({ "product": product.name(), "uuid": uuid }),
    };
    audit::record(&mut tx, platform, act).await?;
    events::publish(&mut tx, platform.clock.now(), &[news(product, package.id)]).await?;
    tx.commit().await?;
    platform.events.ring();
    delete_blob(platform, &package.blob).await;
    Ok(())
}

/// The link, without scheme and host, by which the viewer may fetch the archive.
///
/// # Errors
/// [`PackageError`] says what is refused.
pub async fn download_path<K: Kind>(
    platform: &Platform,
    urls: &PackageUrls,
    product: &Product,
    uuid: Uuid,
) -> Result<String, PackageError> {
    product.org().require(Role::Manage)?;
    let mut conn = platform.db.acquire().await?;
    let package = find::<K>(&mut conn, product, uuid).await?;
    let package = package.ok_or(PackageError::Unknown)?;
    let user = match product.org().actor() {
        Actor::User(id, _) => *id,
        Actor::System(_) => Uuid::nil(),
    };
    let (org, holder) = (product.org().id(), Holder::User(UserId(user)));
    Ok(urls.path(org, package.id, holder, platform.clock.now()))
}

/// Deletes what has expired, and blobs that no row has: what a crash between store and database left.
///
/// # Errors
/// When the store or the database fails; the next sweep goes on.
pub async fn sweep<K: Swept>(platform: &Platform, proof: Sweep) -> Result<(), SweepError> {
    let now = platform.clock.now();
    let mut conn = platform.db.acquire().await?;
    for blob in K::delete_expired(&mut conn, proof, now).await? {
        delete_blob(platform, &blob).await;
    }
    drop(conn);
    let before = (now - ORPHANED_AFTER).unix_timestamp();
    let old = platform.blobs.list_written_before(K::FOLDER, before).await?;
    for batch in old.chunks(1000) {
        let names: Vec<String> = batch.iter().map(|blob| blob.as_str().to_owned()).collect();
        let mut conn = platform.db.acquire().await?;
        let known: HashSet<String> = K::list_known_blobs(&mut conn, proof, &names)
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
