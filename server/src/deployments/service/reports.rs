//! What devices report of their updates, and what their arrivals and departures mean for them.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::deployments::model::{Outcome, Status, Told};
use crate::deployments::plan::{self, Arrival, InFlight, Verdict};
use crate::deployments::store::sweep::{self, Flying};
use crate::devices::service::{self as devices, JoinRecord, Joined};
use crate::devices::{DeviceId, Peer};
use crate::platform::Platform;
use crate::platform::events::{self, News, kind};
use crate::platform::sweep::Sweep;

/// An update of which a device has said nothing for this long is over (device-link §4.6).
const EXPIRES_AFTER: time::Duration = time::Duration::minutes(30);
/// A reason that comes within this time after the end still belongs to it: a reverted device gives it after its join.
const LATE_REASON: time::Duration = time::Duration::minutes(2);

/// What an arrival asks of the link.
#[derive(Debug)]
pub enum Effect {
    /// Tell the device of the update that it goes on with: it needs a fresh URL.
    Tell(Box<Told>),
    /// Send it nothing of its group: with its arrival it is left alone for a while.
    LeaveAlone,
}

/// Devices joined: ends or continues what was in flight. `joined` tells what was stored of them before.
///
/// # Errors
/// When the database fails.
pub async fn arrive(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    records: &[JoinRecord],
    joined: &[Joined],
) -> sqlx::Result<HashMap<DeviceId, Effect>> {
    let before: HashMap<DeviceId, &Joined> = joined.iter().map(|joined| (joined.device, joined)).collect();
    let mut left_alone = take_back_successes(conn, platform, proof, records, &before).await?;
    let ids: Vec<Uuid> = joined
        .iter()
        .filter(|joined| joined.in_flight)
        .map(|joined| joined.device.0)
        .collect();
    if ids.is_empty() {
        return Ok(effects(Vec::new(), left_alone));
    }
    let (mut again, mut going) = (Vec::new(), Vec::new());
    for update in sweep::flying(conn, proof, &ids).await? {
        let Some(record) = records.iter().rfind(|record| record.peer.device() == update.device) else {
            continue;
        };
        match judge(&update, record, before.get(&update.device).copied()) {
            Verdict::Ended(outcome) => {
                end(conn, platform, proof, &record.peer, &update, &outcome).await?;
                if !matches!(outcome, Outcome::Succeeded | Outcome::Withdrawn(_)) {
                    left_alone.push(update.device);
                }
            }
            Verdict::GoesOn => going.push(update.device.0),
            Verdict::TellAgain | Verdict::Waits => again.push(update.id.0),
        }
    }
    let now = platform.clock.now();
    if !again.is_empty() {
        sweep::reassign(conn, proof, &again, now).await?;
    }
    let mut told = sweep::told(conn, proof, &going).await?;
    let peers: HashMap<DeviceId, &Peer> = records
        .iter()
        .map(|record| (record.peer.device(), &record.peer))
        .collect();
    let waiting: Vec<DeviceId> = ids
        .iter()
        .copied()
        .map(DeviceId)
        .filter(|id| peers.contains_key(id))
        .collect();
    let taken = super::take(conn, platform, proof, &waiting).await?;
    super::slots::stand_told(conn, proof, &taken).await?;
    told.extend(taken);
    Ok(effects(told, left_alone))
}

fn effects(told: Vec<Told>, left_alone: Vec<DeviceId>) -> HashMap<DeviceId, Effect> {
    let told = told.into_iter().map(|told| (told.device, Effect::Tell(Box::new(told))));
    let left_alone = left_alone.into_iter().map(|device| (device, Effect::LeaveAlone));
    left_alone.chain(told).collect()
}

/// A device that came back on the new firmware and then went back to the old one: what counted as success was none. Gives
/// those that are left alone for it.
async fn take_back_successes(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    records: &[JoinRecord],
    before: &HashMap<DeviceId, &Joined>,
) -> sqlx::Result<Vec<DeviceId>> {
    let now = platform.clock.now();
    let mut left_alone = Vec::new();
    for record in records {
        let Some(before) = before.get(&record.peer.device()) else {
            continue;
        };
        let went_back = record.join.meta.firmware_auto_revert_detected.unwrap_or(false)
            && before.previous_firmware != record.firmware_uuid();
        let Some(left) = before.previous_firmware.filter(|_| went_back && !before.in_flight) else {
            continue;
        };
        let reason = "The device ran the new firmware and went back to the old one.";
        if let Some(penalty) = sweep::take_back(conn, proof, record.peer.device(), left, reason, now).await? {
            let until = now + time::Duration::seconds(penalty.into());
            devices::block(conn, proof, &[record.peer.device()], Some(until)).await?;
            platform.metrics.updates_ended.with_label_values(&["taken_back"]).inc();
            left_alone.push(record.peer.device());
        }
    }
    Ok(left_alone)
}

fn judge(update: &Flying, record: &JoinRecord, before: Option<&Joined>) -> Verdict {
    let in_flight = InFlight {
        status: update.status,
        target: update.target,
        attempts: update.attempts,
        group_is_on: update.group_is_on,
    };
    let arrival = Arrival {
        previous: before.and_then(|before| before.previous_firmware),
        running: record.firmware_uuid(),
        busy: record.join.busy_with(),
        reverted: record.join.meta.firmware_auto_revert_detected.unwrap_or(false),
        reverted_from: record.join.meta.firmware_reverted_uuid.as_deref(),
    };
    plan::judge(&in_flight, arrival)
}

/// Ends an update: its row, the device's block, the lists, the figures, the news.
async fn end(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    peer: &Peer,
    update: &Flying,
    outcome: &Outcome,
) -> sqlx::Result<()> {
    let now = platform.clock.now();
    if !sweep::end(conn, proof, update.id, outcome.status(), outcome.reason(), now).await? {
        return Ok(());
    }
    let blocked = match outcome {
        Outcome::Succeeded => Some(None),
        Outcome::Failed(_) | Outcome::Ignored(_) => {
            Some(Some(now + time::Duration::seconds(update.penalty_seconds.into())))
        }
        Outcome::Rescheduled(delay, _) => Some(Some(now + *delay)),
        Outcome::Withdrawn(_) => None,
    };
    if let Some(until) = blocked {
        devices::block(conn, proof, &[update.device], until).await?;
    }
    devices::set_progress(conn, proof, &[super::cleared(update.device)]).await?;
    events::publish(conn, now, &[news(peer)]).await?;
    platform
        .metrics
        .updates_ended
        .with_label_values(&[outcome.status().name()])
        .inc();
    tracing::info!(
        device.id = %update.device,
        device.identifier = peer.identifier(),
        outcome = outcome.status().name(),
        reason = outcome.reason(),
        "update ended"
    );
    Ok(())
}

fn news(peer: &Peer) -> News {
    News {
        kind: kind::DEVICE,
        org_id: peer.org().0,
        product_id: Some(peer.product().0),
        subject_id: peer.device().0,
    }
}

/// A device says that its update is over. Without one in flight, a failure's reason is kept with the last one.
///
/// # Errors
/// When the database fails.
pub async fn report_end(platform: &Platform, proof: Sweep, peer: &Peer, outcome: &Outcome) -> sqlx::Result<()> {
    let mut tx = platform.db.begin().await?;
    match sweep::flying(&mut tx, proof, &[peer.device().0]).await?.pop() {
        Some(update) => end(&mut tx, platform, proof, peer, &update, outcome).await?,
        None => {
            if let Outcome::Failed(reason) = outcome {
                let since = platform.clock.now() - LATE_REASON;
                sweep::update_late_reason(&mut tx, proof, peer.device(), reason, since).await?;
            }
        }
    }
    tx.commit().await?;
    platform.events.ring();
    Ok(())
}

/// Devices say where their updates stand. Of several reports of one device only the last may stand in it.
///
/// # Errors
/// When the database fails.
pub async fn report_progress(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    progress: &[(DeviceId, Status, Option<i16>)],
) -> sqlx::Result<()> {
    let now = platform.clock.now();
    let known = sweep::update_progress(conn, proof, progress, now).await?;
    let had = |device: &DeviceId| known.iter().any(|(id, ..)| id == device);
    let standing: Vec<devices::Progress> = progress
        .iter()
        .filter(|(device, ..)| had(device))
        .map(|(device, status, percent)| devices::Progress {
            device: *device,
            status: Some(status.name()),
            percent: *percent,
        })
        .collect();
    devices::set_progress(conn, proof, &standing).await?;
    let news: Vec<News> = known
        .iter()
        .map(|(device, org, product)| News {
            kind: kind::DEVICE,
            org_id: org.0,
            product_id: Some(product.0),
            subject_id: device.0,
        })
        .collect();
    events::publish(conn, now, &news).await
}

/// Devices have no link any more: what they were assigned and not told is taken back.
///
/// # Errors
/// When the database fails.
pub async fn disconnected(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    devices: &[DeviceId],
) -> sqlx::Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = devices.iter().map(|device| device.0).collect();
    let withdrawn = sweep::withdraw_unreached(conn, proof, &ids, platform.clock.now()).await?;
    let cleared: Vec<devices::Progress> = withdrawn.into_iter().map(super::cleared).collect();
    devices::set_progress(conn, proof, &cleared).await
}

/// Ends the links of nodes that are dead, as after `kill -9`, and takes back what their devices were not told. The `first`
/// look of a node finds also what was left behind before it.
///
/// # Errors
/// When the database fails.
pub async fn bury_dead_nodes(platform: &Platform, proof: Sweep, is_first: bool) -> sqlx::Result<()> {
    let mut tx = platform.db.begin().await?;
    let gone = devices::disconnect_dead_nodes(&mut tx, platform, proof, is_first).await?;
    disconnected(&mut tx, platform, proof, &gone).await?;
    tx.commit().await?;
    if !gone.is_empty() {
        platform.events.ring();
        tracing::warn!(links = gone.len(), "a node is gone; its links were ended");
    }
    Ok(())
}

/// Ends updates of which devices have said nothing for half an hour.
///
/// # Errors
/// When the database fails.
pub async fn expire(platform: &Platform, proof: Sweep) -> sqlx::Result<()> {
    let now = platform.clock.now();
    let mut tx = platform.db.begin().await?;
    let stale = sweep::stale(&mut tx, proof, now - EXPIRES_AFTER).await?;
    let reason = "The device said nothing of it for 30 minutes.";
    let mut cleared = Vec::new();
    for (update, device) in stale {
        if sweep::end(&mut tx, proof, update, Status::Failed, Some(reason), now).await? {
            cleared.push(super::cleared(device));
        }
    }
    devices::set_progress(&mut tx, proof, &cleared).await?;
    tx.commit().await
}
