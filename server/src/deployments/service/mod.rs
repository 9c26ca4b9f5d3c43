//! Use cases of deployments: what operators do here, how slots are taken in [`slots`], what devices report in [`reports`].

mod moves;
mod reports;
mod slots;

pub use moves::move_device;
pub use reports::{Effect, arrive, bury_dead_nodes, disconnected, expire, report_end, report_progress};
pub use slots::{active_products, archives_due, next_unblocked, schedule, take, tell_again_overlooked};

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{CONCURRENT_MAX, DeviceUpdate, Group, GroupId, Progress, ReleaseEntry, UpdateEntry};
use super::requirement::{Requirement, RequirementError};
pub use super::store::Settings;
use super::store::{self, Contents};
use crate::accounts::{Forbidden, Role, UserId};
use crate::audit::{self, Act, Actor, Subject};
use crate::devices::model::{CODE_MAX, is_code};
use crate::devices::service as devices;
use crate::devices::{Device, DeviceId};
use crate::packages::service as packages;
use crate::platform::events::{self, News, kind};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, db};
use crate::products::Product;

/// Why a group was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The role is too low.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The name is empty, too long, or would not survive a URL.
    #[error("should have 1 to 100 characters, no slash, and no space at its ends")]
    Name,
    /// A group of the product has this name.
    #[error("has already been taken")]
    Taken,
    /// The version requirement cannot be read.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
    /// The limit is out of range.
    #[error("should be between 1 and {CONCURRENT_MAX}")]
    Concurrency,
    /// The penalty is out of range.
    #[error("should be between 0 and 31536000 seconds")]
    Penalty,
    /// The product has no firmware with this UUID.
    #[error("is not a firmware of this product")]
    NoFirmware,
    /// The product has no archive with this UUID.
    #[error("is not an archive of this product")]
    NoArchive,
    /// The code of connects is too long, or no text.
    #[error("should be at most {CODE_MAX} characters, none of them NUL")]
    Code,
    /// The group is on.
    #[error("The deployment is running: stop it before you delete it.")]
    Running,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Settings {
    fn check(&self) -> Result<(), ChangeError> {
        let name = self.name.as_str();
        let is_name = (1..=100).contains(&name.chars().count())
            && name.trim() == name
            && !name.chars().any(|c| c == '/' || c.is_control());
        if !is_name {
            return Err(ChangeError::Name);
        }
        if !(1..=CONCURRENT_MAX).contains(&self.concurrent_updates) {
            return Err(ChangeError::Concurrency);
        }
        if !(0..=31_536_000).contains(&self.penalty_seconds) {
            return Err(ChangeError::Penalty);
        }
        self.version_requirement.parse::<Requirement>()?;
        if !is_code(&self.connecting_code) {
            return Err(ChangeError::Code);
        }
        Ok(())
    }
}

/// What a release is made of, by fwup UUIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// What the group's devices should run.
    pub firmware: Uuid,
    /// What they get beside it.
    pub archive: Option<Uuid>,
}

impl Parts {
    /// What the product has of these UUIDs: nothing of another product or org gets into a release.
    async fn find(self, conn: &mut PgConnection, product: &Product) -> Result<Contents, ChangeError> {
        let firmware = packages::find(conn, product, self.firmware).await?;
        let archive = match self.archive {
            Some(uuid) => {
                let found = packages::find(conn, product, uuid).await?;
                Some(found.ok_or(ChangeError::NoArchive)?.id)
            }
            None => None,
        };
        Ok(Contents {
            firmware: firmware.ok_or(ChangeError::NoFirmware)?.id,
            archive,
        })
    }
}

fn taken(error: sqlx::Error) -> ChangeError {
    match db::violated(&error) {
        Some("deployment_groups_name_key") => ChangeError::Taken,
        _ => ChangeError::Database(error),
    }
}

/// Makes a group, off, with its first release.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn create(
    platform: &Platform,
    product: &Product,
    settings: &Settings,
    parts: Parts,
) -> Result<Group, ChangeError> {
    product.org().require(Role::Manage)?;
    settings.check()?;
    let mut tx = platform.db.begin().await?;
    let contents = parts.find(&mut tx, product).await?;
    let id: GroupId = platform.new_id();
    let now = platform.clock.now();
    store::insert(&mut tx, product, id, settings, now)
        .await
        .map_err(taken)?;
    store::insert_release(&mut tx, id, platform.new_id(), contents, user(product), now).await?;
    finish(tx, platform, product, &settings.name, id, "deployment.created").await
}

/// Changes a group's settings.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn update(
    platform: &Platform,
    product: &Product,
    group: &Group,
    settings: &Settings,
) -> Result<Group, ChangeError> {
    product.org().require(Role::Manage)?;
    settings.check()?;
    let mut tx = platform.db.begin().await?;
    store::update(&mut tx, product, group.id, settings, platform.clock.now())
        .await
        .map_err(taken)?;
    finish(tx, platform, product, &settings.name, group.id, "deployment.updated").await
}

/// Makes the group's next release of these parts. Devices that were not told yet are told of it instead; an archive that
/// the release before did not have is sent to them at once.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn release(
    platform: &Platform,
    product: &Product,
    group: &Group,
    parts: Parts,
) -> Result<Group, ChangeError> {
    product.org().require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    let contents = parts.find(&mut tx, product).await?;
    store::lock(&mut tx, product, group.id).await?;
    let now = platform.clock.now();
    let before = store::archives::current(&mut tx, product, group.id).await?;
    store::insert_release(&mut tx, group.id, platform.new_id(), contents, user(product), now).await?;
    if contents.archive.is_some() && contents.archive != before {
        let news = news_of(product, group.id, kind::ARCHIVE_RELEASED);
        events::publish(&mut tx, now, &[news]).await?;
    }
    withdraw(&mut tx, platform, group.id, "A newer release took its place.").await?;
    finish(tx, platform, product, &group.name, group.id, "deployment.released").await
}

/// Starts telling devices.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn start(platform: &Platform, product: &Product, group: &Group) -> Result<Group, ChangeError> {
    product.org().require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    store::update_state(&mut tx, product, group.id, true, platform.clock.now()).await?;
    finish(tx, platform, product, &group.name, group.id, "deployment.started").await
}

/// Stops telling devices: once this returns no device is told any more. Those that were told go on.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn stop(platform: &Platform, product: &Product, group: &Group) -> Result<Group, ChangeError> {
    product.org().require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    store::lock(&mut tx, product, group.id).await?;
    store::update_state(&mut tx, product, group.id, false, platform.clock.now()).await?;
    withdraw(&mut tx, platform, group.id, "The deployment was stopped.").await?;
    finish(tx, platform, product, &group.name, group.id, "deployment.stopped").await
}

/// Deletes a group that is off.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn delete(platform: &Platform, product: &Product, group: &Group) -> Result<(), ChangeError> {
    product.org().require(Role::Manage)?;
    if group.is_on {
        return Err(ChangeError::Running);
    }
    let mut tx = platform.db.begin().await?;
    store::delete(&mut tx, product, group.id).await?;
    record(&mut tx, platform, product, &group.name, group.id, "deployment.deleted").await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(())
}

async fn withdraw(conn: &mut PgConnection, platform: &Platform, group: GroupId, reason: &str) -> sqlx::Result<()> {
    let withdrawn = store::withdraw_assigned(conn, group, reason, platform.clock.now()).await?;
    let cleared: Vec<devices::Progress> = withdrawn.into_iter().map(cleared).collect();
    devices::set_progress(conn, Sweep::of_the_server(), &cleared).await
}

fn cleared(device: DeviceId) -> devices::Progress {
    devices::Progress {
        device,
        status: None,
        percent: None,
    }
}

fn user(product: &Product) -> Option<UserId> {
    match product.org().actor() {
        Actor::User(id, _) => Some(UserId(*id)),
        Actor::System(_) => None,
    }
}

async fn finish(
    mut tx: sqlx::Transaction<'_, sqlx::Postgres>,
    platform: &Platform,
    product: &Product,
    name: &str,
    id: GroupId,
    action: &'static str,
) -> Result<Group, ChangeError> {
    record(&mut tx, platform, product, name, id, action).await?;
    let group = store::list(&mut tx, product, Some(name))
        .await?
        .pop()
        .ok_or(sqlx::Error::RowNotFound)?;
    tx.commit().await?;
    platform.events.ring();
    Ok(group)
}

async fn record(
    conn: &mut PgConnection,
    platform: &Platform,
    product: &Product,
    name: &str,
    id: GroupId,
    action: &'static str,
) -> sqlx::Result<()> {
    let act = Act {
        org_id: product.org().id().0,
        actor: product.org().actor(),
        action,
        subject: Subject {
            kind: "deployment_group",
            id: Some(id.0),
            name,
        },
        detail: json!({}),
    };
    audit::record(conn, platform, act).await?;
    let news = news_of(product, id, kind::DEPLOYMENT);
    events::publish(conn, platform.clock.now(), &[news]).await
}

fn news_of(product: &Product, id: GroupId, kind: &'static str) -> News {
    News {
        kind,
        org_id: product.org().id().0,
        product_id: Some(product.id().0),
        subject_id: id.0,
    }
}

/// The product's groups, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, product: &Product) -> sqlx::Result<Vec<Group>> {
    store::list(conn, product, None).await
}

/// The product's group of this name.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &mut PgConnection, product: &Product, name: &str) -> sqlx::Result<Option<Group>> {
    Ok(store::list(conn, product, Some(name)).await?.pop())
}

/// Where the devices of a group stand with its current release.
///
/// # Errors
/// When the database fails.
pub async fn progress(conn: &mut PgConnection, product: &Product, group: &Group) -> sqlx::Result<Progress> {
    store::progress(conn, product, group.id).await
}

/// Updates of a device, newest first.
///
/// # Errors
/// When the database fails.
pub async fn history(
    conn: &mut PgConnection,
    product: &Product,
    device: &Device,
    limit: i64,
) -> sqlx::Result<Vec<UpdateEntry>> {
    store::history(conn, product, device.id, limit).await
}

/// The groups of these devices.
///
/// # Errors
/// When the database fails.
pub async fn groups_of(
    conn: &mut PgConnection,
    product: &Product,
    devices: &[Device],
) -> sqlx::Result<Vec<(DeviceId, GroupId)>> {
    let ids: Vec<Uuid> = devices.iter().map(|device| device.id.0).collect();
    store::groups_of(conn, product, &ids).await
}

/// The device's group, if one has it.
///
/// # Errors
/// When the database fails.
pub async fn group_of(conn: &mut PgConnection, product: &Product, device: &Device) -> sqlx::Result<Option<Group>> {
    match store::group_name_of(conn, product, device.id).await? {
        Some(name) => find(conn, product, &name).await,
        None => Ok(None),
    }
}

/// How many updates of the group are in flight.
///
/// # Errors
/// When the database fails.
pub async fn slots_taken(conn: &mut PgConnection, product: &Product, group: &Group) -> sqlx::Result<i64> {
    store::slots_taken(conn, product, group.id).await
}

/// The group's releases, newest first.
///
/// # Errors
/// When the database fails.
pub async fn releases(conn: &mut PgConnection, product: &Product, group: &Group) -> sqlx::Result<Vec<ReleaseEntry>> {
    store::releases(conn, product, group.id).await
}

/// Devices on their way to the group's release, and those that did not get there.
///
/// # Errors
/// When the database fails.
pub async fn under_way(
    conn: &mut PgConnection,
    product: &Product,
    group: &Group,
    limit: i64,
) -> sqlx::Result<Vec<DeviceUpdate>> {
    store::under_way(conn, product, group.id, limit).await
}
