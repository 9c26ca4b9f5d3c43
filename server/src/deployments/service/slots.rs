//! Taking slots and telling devices.

use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::OrgId;
use crate::archives::Sent;
use crate::deployments::model::{GroupId, Status, Told};
use crate::deployments::plan::{self, Facts, Rule};
use crate::deployments::store::archives::sweep as archives;
use crate::deployments::store::sweep::{self, ActiveGroup};
use crate::devices::DeviceId;
use crate::devices::service as devices;
use crate::platform::events::{self, News, kind};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, ids};
use crate::products::ProductId;

/// Devices placed into groups at once.
const PLACE_BATCH: i64 = 1000;
/// Slots taken at once: what one transaction holds the group's lock for.
const SLOTS_BATCH: i64 = 500;
/// Assigned devices that were not told for this long are looked after.
const OVERLOOKED_AFTER: time::Duration = time::Duration::seconds(5);

/// Products in which a group tells devices.
///
/// # Errors
/// When the database fails.
pub async fn active_products(platform: &Platform, proof: Sweep) -> sqlx::Result<Vec<ProductId>> {
    sweep::active_products(&mut *platform.db.acquire().await?, proof).await
}

/// Puts the product's devices into their groups and takes every free slot. Tells of what it assigned.
///
/// # Errors
/// When the database fails.
pub async fn schedule(platform: &Platform, proof: Sweep, product: ProductId) -> sqlx::Result<()> {
    let mut conn = platform.db.acquire().await?;
    let groups = sweep::active_groups(&mut conn, proof, product).await?;
    if groups.is_empty() {
        return Ok(());
    }
    place_all(&mut conn, platform, proof, product, &groups).await?;
    drop(conn);
    for group in &groups {
        while fill(platform, proof, group).await? == SLOTS_BATCH {}
    }
    Ok(())
}

async fn place_all(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    product: ProductId,
    groups: &[ActiveGroup],
) -> sqlx::Result<()> {
    let rules: Vec<Rule> = groups.iter().filter_map(rule).collect();
    let mut after = Uuid::nil();
    loop {
        let devices = sweep::placed(conn, proof, product, after, PLACE_BATCH).await?;
        let Some(last) = devices.last() else { return Ok(()) };
        after = last.id.0;
        let moves: Vec<(DeviceId, Option<GroupId>)> = devices
            .iter()
            .filter_map(|device| {
                let facts = Facts {
                    tags: device.tags.clone(),
                    version: device.version.clone(),
                    platform: device.platform.clone(),
                    architecture: device.architecture.clone(),
                };
                let stays = rules
                    .iter()
                    .any(|rule| Some(rule.group) == device.group_id && rule.takes(&facts));
                let held_by_stopped = device
                    .group_id
                    .is_some_and(|id| groups.iter().all(|group| group.id != id));
                let best = plan::best(&rules, &facts).map(|rule| rule.group);
                let wanted = if stays || (held_by_stopped && best.is_none()) {
                    device.group_id
                } else {
                    best
                };
                (wanted != device.group_id).then_some((device.id, wanted))
            })
            .collect();
        if !moves.is_empty() {
            let now = platform.clock.now();
            let mut tx = conn.begin().await?;
            sweep::place(&mut tx, proof, &moves, now).await?;
            let news: Vec<News> = moves
                .iter()
                .filter_map(|moved| eligible(groups, product, moved))
                .collect();
            events::publish(&mut tx, now, &news).await?;
            tx.commit().await?;
            if !news.is_empty() {
                platform.events.ring();
            }
        }
        if devices.len() < PLACE_BATCH as usize {
            return Ok(());
        }
    }
}

/// The news of a device that came into a group whose release has an archive.
fn eligible(groups: &[ActiveGroup], product: ProductId, moved: &(DeviceId, Option<GroupId>)) -> Option<News> {
    let (device, into) = moved;
    let group = groups.iter().find(|group| Some(group.id) == *into)?;
    group.has_archive.then_some(News {
        kind: kind::ELIGIBLE,
        org_id: group.org_id.0,
        product_id: Some(product.0),
        subject_id: device.0,
    })
}

/// The archives that these devices are due: those of their groups' releases, for devices that deployments may tell now.
/// Where `groups` is given, for devices of these only.
///
/// # Errors
/// When the database fails.
pub async fn archives_due(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    devices: &[DeviceId],
    groups: Option<&[GroupId]>,
) -> sqlx::Result<Vec<(DeviceId, OrgId, Sent)>> {
    let devices: Vec<Uuid> = devices.iter().map(|device| device.0).collect();
    let groups: Option<Vec<Uuid>> = groups.map(|groups| groups.iter().map(|group| group.0).collect());
    archives::due(conn, proof, &devices, groups.as_deref(), platform.clock.now()).await
}

fn rule(group: &ActiveGroup) -> Option<Rule> {
    Some(Rule {
        group: group.id,
        tags: group.tags.clone(),
        tag_operator: group.tag_operator,
        requirement: group.version_requirement.parse().ok()?,
        version: group.version.clone(),
        platform: group.platform.clone(),
        architecture: group.architecture.clone(),
    })
}

/// Takes up to [`SLOTS_BATCH`] free slots of a group; how many.
async fn fill(platform: &Platform, proof: Sweep, group: &ActiveGroup) -> sqlx::Result<i64> {
    let mut tx = platform.db.begin().await?;
    if !sweep::lock(&mut tx, proof, group).await? {
        return Ok(0);
    }
    let free = i64::from(group.concurrent_updates) - sweep::in_flight(&mut tx, proof, group.id).await?;
    let slots: Vec<Uuid> = (0..free.clamp(0, SLOTS_BATCH))
        .map(|_| ids::new_uuid(&platform.clock, &platform.random))
        .collect();
    if slots.is_empty() {
        return Ok(0);
    }
    let now = platform.clock.now();
    let assigned = sweep::assign(&mut tx, proof, group, &slots, now).await?;
    if assigned.is_empty() {
        return Ok(0);
    }
    let standing: Vec<devices::Progress> = assigned
        .iter()
        .map(|(device, ..)| devices::Progress {
            device: *device,
            status: Some(Status::Assigned.name()),
            percent: None,
        })
        .collect();
    devices::set_progress(&mut tx, proof, &standing).await?;
    let news: Vec<News> = assigned
        .iter()
        .map(|(device, org, product)| News {
            kind: kind::ASSIGNED,
            org_id: org.0,
            product_id: Some(product.0),
            subject_id: device.0,
        })
        .collect();
    events::publish(&mut tx, now, &news).await?;
    tx.commit().await?;
    platform.events.ring();
    tracing::info!(deployment.id = %group.id, devices = assigned.len(), "updates assigned");
    Ok(assigned.len() as i64)
}

/// When the next blocked device of the product becomes eligible, if one is blocked.
///
/// # Errors
/// When the database fails.
pub async fn next_unblocked(
    platform: &Platform,
    proof: Sweep,
    product: ProductId,
) -> sqlx::Result<Option<OffsetDateTime>> {
    sweep::next_unblocked(&mut *platform.db.acquire().await?, proof, product, platform.clock.now()).await
}

/// Just before sending: turns what these devices were assigned into told, and gives what to tell. Where the devices stand
/// is not written for the lists: that can wait for what they answer, see [`stand_told`].
///
/// # Errors
/// When the database fails.
pub async fn take(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    devices: &[DeviceId],
) -> sqlx::Result<Vec<Told>> {
    let ids: Vec<Uuid> = devices.iter().map(|device| device.0).collect();
    sweep::take(conn, proof, &ids, platform.clock.now()).await
}

/// Writes for the lists that these devices were told.
///
/// # Errors
/// When the database fails.
pub(super) async fn stand_told(conn: &mut PgConnection, proof: Sweep, told: &[Told]) -> sqlx::Result<()> {
    let standing: Vec<devices::Progress> = told
        .iter()
        .map(|told| devices::Progress {
            device: told.device,
            status: Some(Status::Told.name()),
            percent: None,
        })
        .collect();
    devices::set_progress(conn, proof, &standing).await
}

/// Looks after devices that were assigned and not told: tells of the connected ones again, takes back the others'.
///
/// # Errors
/// When the database fails.
pub async fn tell_again_overlooked(platform: &Platform, proof: Sweep) -> sqlx::Result<()> {
    let now = platform.clock.now();
    let mut tx = platform.db.begin().await?;
    let overlooked = sweep::overlooked(&mut tx, proof, now - OVERLOOKED_AFTER).await?;
    if overlooked.is_empty() {
        return Ok(());
    }
    let (connected, gone): (Vec<_>, Vec<_>) = overlooked.into_iter().partition(|(.., connected)| *connected);
    let gone: Vec<DeviceId> = gone.into_iter().map(|(device, ..)| device).collect();
    super::disconnected(&mut tx, platform, proof, &gone).await?;
    let news: Vec<News> = connected
        .iter()
        .map(|(device, org, product, _)| News {
            kind: kind::ASSIGNED,
            org_id: org.0,
            product_id: Some(product.0),
            subject_id: device.0,
        })
        .collect();
    events::publish(&mut tx, now, &news).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(())
}
