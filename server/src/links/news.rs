//! News that concern links: who was assigned an update is told, whose credential is gone is cut.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::registry::Registry;
use super::session::Closing;
use super::writer::update_message;
use crate::deployments::service as deployments;
use crate::devices::DeviceId;
use crate::firmware::FirmwareUrls;
use crate::platform::Platform;
use crate::platform::events::{Event, kind};
use crate::platform::sweep::Sweep;

/// Devices told in one statement.
const BATCH_MAX: usize = 512;

/// Hears news until told to stop.
pub(super) async fn run(
    platform: Platform,
    proof: Sweep,
    registry: Arc<Registry>,
    urls: FirmwareUrls,
    stop: CancellationToken,
) {
    let mut news = platform.events.subscribe();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = news.recv() => event,
        };
        let assigned = gather(event, &mut news, &registry);
        if assigned.is_empty() {
            continue;
        }
        if let Err(error) = tell(&platform, proof, &registry, &urls, &assigned).await {
            tracing::warn!(%error, devices = assigned.len(), "devices could not be told; trying again");
        }
    }
}

/// Handles what waits, and gives the devices here that were assigned an update.
fn gather(
    first: Result<Event, RecvError>,
    news: &mut broadcast::Receiver<Event>,
    registry: &Registry,
) -> Vec<DeviceId> {
    let mut assigned = BTreeSet::new();
    let mut next = first.ok();
    while let Some(event) = next {
        let device = DeviceId(event.subject_id);
        match event.kind.as_str() {
            kind::ASSIGNED if registry.has(device) => drop(assigned.insert(device)),
            kind::CUT => registry.close(device, Closing::Cut),
            _ => {}
        }
        if assigned.len() >= BATCH_MAX {
            break;
        }
        next = news.try_recv().ok();
    }
    assigned.into_iter().collect()
}

async fn tell(
    platform: &Platform,
    proof: Sweep,
    registry: &Registry,
    urls: &FirmwareUrls,
    devices: &[DeviceId],
) -> sqlx::Result<()> {
    let mut tx = platform.db.begin().await?;
    let told = deployments::take(&mut tx, platform, proof, devices).await?;
    tx.commit().await?;
    let now = platform.clock.now();
    for told in told {
        let is_told = registry.tell(told.device, update_message(urls, &told, now));
        tracing::info!(device.id = %told.device, firmware.version = told.version, is_told, "device told of an update");
    }
    Ok(())
}
