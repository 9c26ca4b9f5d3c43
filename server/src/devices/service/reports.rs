//! What links write of devices: joins, ends, progress, in batches.

use std::collections::{BTreeMap, HashMap, HashSet};

use muster_link::ExtensionSet;
use sqlx::PgConnection;
use uuid::Uuid;

use super::credentials;
use crate::accounts::OrgId;
use crate::devices::identity::Peer;
use crate::devices::model::{DeviceId, LinkId};
use crate::devices::reported::{DeviceReport, JoinRecord, Joined, LinkEnd, LinkStart, Progress};
use crate::devices::store::links::sweep as links;
use crate::devices::store::sweep;
use crate::platform::Platform;
use crate::platform::events::{self, News, kind};
use crate::platform::nodes;
use crate::platform::sweep::Sweep;
use crate::products::ProductId;

/// News of more devices of a product than this at once is one piece of news of the product.
const MANY: usize = 32;
/// Blocks that are taken back in one transaction.
const LIFTED_AT_ONCE: i64 = 1000;
/// A device that only sends heartbeats is noted as seen this often.
const SEEN_EVERY: time::Duration = time::Duration::minutes(10);
/// How long links are remembered.
const LINKS_KEPT_FOR: time::Duration = time::Duration::days(30);
/// How many links of a device are remembered.
const LINKS_KEPT: i64 = 100;

/// Writes joins, in one statement, and tells of them. Of two joins of one device the later stands. Devices that were deleted
/// or lost their credential since they were let in are left out, and their links are cut.
///
/// # Errors
/// When the database fails.
pub async fn join(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    records: &[JoinRecord],
) -> sqlx::Result<Vec<Joined>> {
    let mut seen = HashSet::new();
    let mut newest: Vec<JoinRecord> = records
        .iter()
        .rev()
        .filter(|record| seen.insert(record.peer.device()))
        .cloned()
        .collect();
    newest.reverse();
    let now = platform.clock.now();
    let joined = links::join(conn, proof, platform.node, &newest, now).await?;
    let peers: HashMap<DeviceId, &Peer> = newest
        .iter()
        .map(|record| (record.peer.device(), &record.peer))
        .collect();
    let there: HashSet<DeviceId> = joined.iter().map(|joined| joined.device).collect();
    let (kept, gone): (Vec<&Peer>, Vec<&Peer>) = newest
        .iter()
        .map(|record| &record.peer)
        .partition(|peer| there.contains(&peer.device()));
    credentials::used(conn, platform, proof, &kept).await?;
    let replaced = joined.iter().filter_map(|joined| {
        let link = joined.elsewhere?;
        let peer = peers.get(&joined.device)?;
        Some(news_of(of_peer(peer), kind::REPLACED, link.0))
    });
    // Who was deleted or revoked while it came in has a link that nobody has cut yet.
    let gone = gone
        .into_iter()
        .map(|peer| news_of(of_peer(peer), kind::CUT, peer.device().0));
    events::publish(conn, now, &replaced.chain(gone).collect::<Vec<_>>()).await?;
    let changed = kept.into_iter().map(of_peer).collect();
    tell(conn, platform, changed).await?;
    Ok(joined)
}

type Changed = (DeviceId, OrgId, ProductId);

fn of_peer(peer: &Peer) -> Changed {
    (peer.device(), peer.org(), peer.product())
}

fn news_of((_, org, product): Changed, kind: &'static str, subject: Uuid) -> News {
    News {
        kind,
        org_id: org.0,
        product_id: Some(product.0),
        subject_id: subject,
    }
}

/// Tells what changed: of each device, or of a product when it is many at once.
async fn tell(conn: &mut PgConnection, platform: &Platform, changed: Vec<Changed>) -> sqlx::Result<()> {
    let mut by_product: BTreeMap<(OrgId, ProductId), Vec<DeviceId>> = BTreeMap::new();
    for (device, org, product) in changed {
        by_product.entry((org, product)).or_default().push(device);
    }
    let mut all = Vec::new();
    for ((org, product), devices) in by_product {
        let news = |device: DeviceId| news_of((device, org, product), kind::DEVICE, device.0);
        if devices.len() > MANY {
            all.push(news(DeviceId(product.0)));
        } else {
            all.extend(devices.into_iter().map(news));
        }
    }
    events::publish(conn, platform.clock.now(), &all).await
}

/// Writes links that were opened and have not joined yet, in one statement.
///
/// # Errors
/// When the database fails.
pub async fn connect(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    starts: &[LinkStart],
) -> sqlx::Result<()> {
    let changed = links::connect(conn, proof, platform.node, starts).await?;
    tell(conn, platform, changed).await
}

/// Writes the ends of links, in one statement, and gives the devices that have no link now.
///
/// # Errors
/// When the database fails.
pub async fn disconnect(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    ends: &[LinkEnd],
) -> sqlx::Result<Vec<DeviceId>> {
    let gone: HashSet<DeviceId> = links::disconnect(conn, proof, platform.node, ends)
        .await?
        .into_iter()
        .collect();
    let mut changed: Vec<Changed> = ends
        .iter()
        .filter(|end| gone.contains(&end.device))
        .map(|end| (end.device, end.org, end.product))
        .collect();
    changed.sort_unstable();
    changed.dedup();
    tell(conn, platform, changed).await?;
    Ok(gone.into_iter().collect())
}

/// Takes dead nodes off the list and ends their links; at the `first` look those of nodes that left no trace too. Gives
/// the links' devices.
///
/// # Errors
/// When the database fails.
pub async fn disconnect_dead_nodes(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    is_first: bool,
) -> sqlx::Result<Vec<DeviceId>> {
    let now = platform.clock.now();
    if nodes::bury(conn, platform.node, now).await? == 0 && !is_first {
        return Ok(Vec::new());
    }
    let gone = links::disconnect_unlisted(conn, proof, platform.node, now).await?;
    let devices = gone.iter().map(|(device, ..)| *device).collect();
    tell(conn, platform, gone).await?;
    Ok(devices)
}

/// Says again that these links are open, after others took this node for dead.
///
/// # Errors
/// When the database fails.
pub async fn reconnect(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    open: &[(DeviceId, LinkId)],
) -> sqlx::Result<()> {
    let back = links::reconnect(conn, proof, platform.node, open, platform.clock.now()).await?;
    tell(conn, platform, back).await
}

/// The links of this node are alive, whether or not their devices had anything to report.
///
/// # Errors
/// When the database fails.
pub async fn seen_by_node(conn: &mut PgConnection, platform: &Platform, proof: Sweep) -> sqlx::Result<()> {
    let now = platform.clock.now();
    links::update_seen_by_node(conn, proof, platform.node, now - SEEN_EVERY, now).await
}

/// Forgets old links.
///
/// # Errors
/// When the database fails.
pub async fn prune_links(conn: &mut PgConnection, platform: &Platform, proof: Sweep) -> sqlx::Result<()> {
    let before = LinkId::first_at(platform.clock.now() - LINKS_KEPT_FOR);
    links::prune(conn, proof, before, LINKS_KEPT).await
}

/// Copies updates in flight to the lists.
///
/// # Errors
/// When the database fails.
pub async fn set_progress(conn: &mut PgConnection, proof: Sweep, progress: &[Progress]) -> sqlx::Result<()> {
    if progress.is_empty() {
        return Ok(());
    }
    sweep::update_progress(conn, proof, progress).await
}

/// No deployment tells these devices before then; `None` lifts it.
///
/// # Errors
/// When the database fails.
pub async fn block(
    conn: &mut PgConnection,
    proof: Sweep,
    devices: &[DeviceId],
    until: Option<time::OffsetDateTime>,
) -> sqlx::Result<()> {
    sweep::update_blocked(conn, proof, devices, until).await
}

/// Takes back blocks that have ended, and tells of their devices: they are eligible again.
///
/// # Errors
/// When the database fails.
pub async fn lift_ended_blocks(platform: &Platform, proof: Sweep) -> sqlx::Result<()> {
    let now = platform.clock.now();
    loop {
        let mut tx = platform.db.begin().await?;
        let lifted = sweep::lift_ended_blocks(&mut tx, proof, now, LIFTED_AT_ONCE).await?;
        if lifted.is_empty() {
            return Ok(());
        }
        let news = lifted
            .iter()
            .map(|changed| news_of(*changed, kind::ELIGIBLE, changed.0.0));
        events::publish(&mut tx, now, &news.collect::<Vec<_>>()).await?;
        tx.commit().await?;
        platform.events.ring();
        if lifted.len() < LIFTED_AT_ONCE as usize {
            return Ok(());
        }
    }
}

/// The running firmware was found good.
///
/// # Errors
/// When the database fails.
pub async fn validated(conn: &mut PgConnection, platform: &Platform, peer: &Peer) -> sqlx::Result<()> {
    sweep::update_validated(conn, peer).await?;
    tell(conn, platform, vec![of_peer(peer)]).await
}

/// The interfaces that carry these devices' links.
///
/// # Errors
/// When the database fails.
pub async fn set_interfaces(
    conn: &mut PgConnection,
    proof: Sweep,
    interfaces: &[(DeviceId, String)],
) -> sqlx::Result<()> {
    if interfaces.is_empty() {
        return Ok(());
    }
    sweep::update_interfaces(conn, proof, interfaces).await
}

/// Writes the last report of each kind of these devices, in one statement.
///
/// # Errors
/// When the database fails.
pub async fn report(conn: &mut PgConnection, proof: Sweep, reports: &[DeviceReport]) -> sqlx::Result<()> {
    if reports.is_empty() {
        return Ok(());
    }
    links::upsert_reports(conn, proof, reports).await
}

/// The extensions that these devices may use now, in one statement.
///
/// # Errors
/// When the database fails.
pub async fn extensions(
    conn: &mut PgConnection,
    proof: Sweep,
    devices: &[DeviceId],
) -> sqlx::Result<Vec<(DeviceId, ExtensionSet)>> {
    links::extensions(conn, proof, devices).await
}

/// Writes when devices were last heard.
///
/// # Errors
/// When the database fails.
pub async fn heard(
    conn: &mut PgConnection,
    proof: Sweep,
    seen: &[(DeviceId, time::OffsetDateTime)],
) -> sqlx::Result<()> {
    if seen.is_empty() {
        return Ok(());
    }
    links::update_last_seen(conn, proof, seen).await
}
