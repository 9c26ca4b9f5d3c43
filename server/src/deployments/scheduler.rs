//! When slots are taken: soon after something happened in a product, when a block ends, and now and then in any case.
//!
//! Many wakes of a product within [`GATHER`] are one run. Every node has one; the lock of a group's row keeps them apart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::service;
use crate::platform::Platform;
use crate::platform::events::{Event, kind};
use crate::platform::sweep::Sweep;
use crate::products::ProductId;

/// Wakes within this time are one run.
const GATHER: Duration = Duration::from_millis(50);
/// Every product with a running group is looked at this often.
const LOOK: Duration = Duration::from_secs(10);
/// Wakes that may wait; one more is dropped, since the next look finds it.
const WAKES_MAX: usize = 4096;

/// Wakes the scheduler of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scheduler(mpsc::Sender<ProductId>);

/// The other end: what [`run`] takes.
#[derive(Debug)]
pub struct Wakes(mpsc::Receiver<ProductId>);

impl Scheduler {
    /// A scheduler and the wakes that [`run`] serves.
    pub fn new() -> (Self, Wakes) {
        let (sender, receiver) = mpsc::channel(WAKES_MAX);
        (Self(sender), Wakes(receiver))
    }

    /// Something in the product may have made a device eligible or freed a slot.
    pub fn wake(&self, product: ProductId) {
        let _ = self.0.try_send(product);
    }
}

/// Serves wakes until told to stop.
pub async fn run(platform: Platform, proof: Sweep, mut wakes: Wakes, stop: CancellationToken) {
    let mut news = platform.events.subscribe();
    let mut look = tokio::time::interval(LOOK);
    let mut due: BTreeSet<ProductId> = BTreeSet::new();
    let mut later: BTreeMap<ProductId, OffsetDateTime> = BTreeMap::new();
    loop {
        let soonest = later.values().min().map_or(LOOK, |at| wait(*at, platform.clock.now()));
        tokio::select! {
            () = stop.cancelled() => return,
            Some(product) = wakes.0.recv() => { due.insert(product); }
            event = news.recv() => due.extend(product_of(event)),
            _ = look.tick() => due.extend(look_around(&platform, proof).await),
            () = tokio::time::sleep(soonest) => {
                let now = platform.clock.now();
                due.extend(later.iter().filter(|(_, at)| **at <= now).map(|(product, _)| *product));
            }
        }
        if due.is_empty() {
            continue;
        }
        gather(&mut wakes, &mut due).await;
        for product in std::mem::take(&mut due) {
            later.remove(&product);
            match run_once(&platform, proof, product).await {
                Ok(Some(at)) => drop(later.insert(product, at)),
                Ok(None) => {}
                Err(error) => tracing::warn!(product.id = %product, %error, "slots could not be taken; trying again"),
            }
        }
    }
}

async fn gather(wakes: &mut Wakes, due: &mut BTreeSet<ProductId>) {
    let deadline = tokio::time::Instant::now() + GATHER;
    while let Ok(Some(product)) = tokio::time::timeout_at(deadline, wakes.0.recv()).await {
        due.insert(product);
    }
}

async fn run_once(platform: &Platform, proof: Sweep, product: ProductId) -> sqlx::Result<Option<OffsetDateTime>> {
    service::schedule(platform, proof, product).await?;
    service::next_unblocked(platform, proof, product).await
}

async fn look_around(platform: &Platform, proof: Sweep) -> Vec<ProductId> {
    let looked = async {
        service::tell_again_overlooked(platform, proof).await?;
        service::expire(platform, proof).await?;
        service::active_products(platform, proof).await
    };
    looked.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "deployments could not be looked at; trying again");
        Vec::new()
    })
}

fn product_of(event: Result<Event, broadcast::error::RecvError>) -> Option<ProductId> {
    let event = event.ok()?;
    // Devices' own news comes by wakes from the links that wrote it.
    matches!(event.kind.as_str(), kind::DEPLOYMENT | kind::EDITED).then_some(ProductId(event.product_id?))
}

fn wait(at: OffsetDateTime, now: OffsetDateTime) -> Duration {
    Duration::try_from(at - now)
        .unwrap_or_default()
        .max(Duration::from_millis(10))
}
