//! What links write of devices: joins, ends, progress, in batches.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::credentials;
use crate::accounts::OrgId;
use crate::devices::identity::Peer;
use crate::devices::model::{DeviceId, LinkId};
use crate::devices::reported::{JoinRecord, Joined, Progress};
use crate::devices::store::sweep;
use crate::platform::Platform;
use crate::platform::events::{self, News, kind};
use crate::platform::sweep::Sweep;
use crate::products::ProductId;

/// Writes joins, in one statement, and tells of them. Of two joins of one device the later stands.
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
    let joined = sweep::join(conn, proof, platform.node, &newest, platform.clock.now()).await?;
    let peers: Vec<&Peer> = newest.iter().map(|record| &record.peer).collect();
    credentials::used(conn, platform, proof, &peers).await?;
    let mut news: Vec<News> = newest.iter().map(|record| news_of(&record.peer)).collect();
    let replaced = joined.iter().filter_map(|joined| {
        let record = newest.iter().find(|record| record.peer.device() == joined.device)?;
        let subject_id = joined.elsewhere?.0;
        let kind = kind::REPLACED;
        Some(News {
            kind,
            subject_id,
            ..news_of(&record.peer)
        })
    });
    news.extend(replaced);
    events::publish(conn, platform.clock.now(), &news).await?;
    Ok(joined)
}

fn news_of(peer: &Peer) -> News {
    news(peer.device(), peer.org(), peer.product())
}

fn news(device: DeviceId, org: OrgId, product: ProductId) -> News {
    News {
        kind: kind::DEVICE,
        org_id: org.0,
        product_id: Some(product.0),
        subject_id: device.0,
    }
}

/// Writes the ends of links, in one statement, and gives the devices that have no link now.
///
/// # Errors
/// When the database fails.
pub async fn disconnect(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    ends: &[(DeviceId, LinkId, &'static str)],
) -> sqlx::Result<Vec<DeviceId>> {
    let gone = sweep::disconnect(conn, proof, ends, platform.clock.now()).await?;
    tell_gone(conn, platform, gone).await
}

/// Ends every link of nodes that are dead, and gives their devices.
///
/// # Errors
/// When the database fails.
pub async fn disconnect_dead_nodes(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
) -> sqlx::Result<Vec<DeviceId>> {
    let gone = sweep::disconnect_dead_nodes(conn, proof, platform.clock.now()).await?;
    tell_gone(conn, platform, gone).await
}

async fn tell_gone(
    conn: &mut PgConnection,
    platform: &Platform,
    gone: Vec<(DeviceId, OrgId, ProductId)>,
) -> sqlx::Result<Vec<DeviceId>> {
    let all: Vec<News> = gone
        .iter()
        .map(|(device, org, product)| news(*device, *org, *product))
        .collect();
    events::publish(conn, platform.clock.now(), &all).await?;
    Ok(gone.into_iter().map(|(device, ..)| device).collect())
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

/// The running firmware was found good.
///
/// # Errors
/// When the database fails.
pub async fn validated(conn: &mut PgConnection, platform: &Platform, peer: &Peer) -> sqlx::Result<()> {
    sweep::update_validated(conn, peer).await?;
    events::publish(conn, platform.clock.now(), &[news_of(peer)]).await
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
    sweep::update_last_seen(conn, proof, seen).await
}
