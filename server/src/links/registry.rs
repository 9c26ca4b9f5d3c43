//! The one link of each device on this node: newest wins.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use muster_link::ToDevice;
use muster_link::limits::IDLE_TIMEOUT;
use tokio_util::sync::CancellationToken;

use super::session::Closing;
use crate::devices::DeviceId;
use crate::devices::model::LinkId;
use crate::platform::metrics::Metrics;

/// The map is cut so that connects do not wait for each other.
const SHARDS: usize = 16;
/// Idle links are looked for this often.
const LOOK: Duration = Duration::from_secs(10);
/// Links closed at once while draining.
const DRAIN_BATCH: usize = 1000;
/// How long the next batch waits, so that not all devices dial at once.
const DRAIN_PAUSE: Duration = Duration::from_millis(200);

/// What a link is told from outside of its socket.
#[derive(Debug, Clone)]
pub enum Order {
    /// Send this.
    Tell(ToDevice),
    /// Close for this reason.
    Close(Closing),
}

/// A link as others reach it.
pub trait Handle: std::fmt::Debug + Send + Sync {
    /// Hands an order over without waiting; false when the link's queue is full or the link is gone.
    fn order(&self, order: Order) -> bool;
}

/// One open link.
#[derive(Debug)]
pub struct Entry {
    /// The link.
    pub link: LinkId,
    handle: Box<dyn Handle>,
    heard: Arc<Heard>,
}

/// When a link was last heard, without a lock.
#[derive(Debug)]
pub struct Heard {
    origin: Instant,
    millis: AtomicU64,
}

impl Heard {
    fn new() -> Self {
        Self {
            origin: Instant::now(),
            millis: AtomicU64::new(0),
        }
    }

    /// Bytes came.
    pub fn now(&self) {
        self.millis
            .store(self.origin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        self.origin
            .elapsed()
            .saturating_sub(Duration::from_millis(self.millis.load(Ordering::Relaxed)))
    }
}

/// All links of this node.
#[derive(Debug)]
pub struct Registry {
    shards: [Mutex<HashMap<DeviceId, Entry>>; SHARDS],
    metrics: Metrics,
}

impl Registry {
    /// No links yet.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            metrics,
        }
    }

    fn shard(&self, device: DeviceId) -> MutexGuard<'_, HashMap<DeviceId, Entry>> {
        let index = device.0.as_bytes()[15] as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a link. An older one of the device is closed.
    pub fn enter(&self, device: DeviceId, link: LinkId, handle: Box<dyn Handle>) -> Arc<Heard> {
        let heard = Arc::new(Heard::new());
        let entry = Entry {
            link,
            handle,
            heard: Arc::clone(&heard),
        };
        let older = self.shard(device).insert(device, entry);
        match older {
            Some(older) => {
                older.handle.order(Order::Close(Closing::Replaced));
            }
            None => self.metrics.links_open.inc(),
        }
        self.metrics.links_accepted.inc();
        heard
    }

    /// Takes a link off, unless a newer one has its place.
    pub fn leave(&self, device: DeviceId, link: LinkId) {
        let mut shard = self.shard(device);
        if shard.get(&device).is_some_and(|entry| entry.link == link) {
            shard.remove(&device);
            self.metrics.links_open.dec();
        }
    }

    /// Whether the device has a link here.
    pub fn has(&self, device: DeviceId) -> bool {
        self.shard(device).contains_key(&device)
    }

    /// Tells a device; false when it has no link here. A link whose queue is full is closed by its own side.
    pub fn tell(&self, device: DeviceId, message: ToDevice) -> bool {
        self.shard(device)
            .get(&device)
            .is_some_and(|entry| entry.handle.order(Order::Tell(message)))
    }

    /// Ends a device's link.
    pub fn close(&self, device: DeviceId, closing: Closing) {
        if let Some(entry) = self.shard(device).get(&device) {
            entry.handle.order(Order::Close(closing));
        }
    }

    /// Ends these links, where they are of this node.
    pub fn close_links(&self, links: &HashSet<LinkId>, closing: Closing) {
        if links.is_empty() {
            return;
        }
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in shard.values().filter(|entry| links.contains(&entry.link)) {
                entry.handle.order(Order::Close(closing));
            }
        }
    }

    /// Open links.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    fn devices(&self, pick: impl Fn(&Entry) -> bool) -> Vec<DeviceId> {
        let mut devices = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            devices.extend(shard.iter().filter(|(_, entry)| pick(entry)).map(|(device, _)| *device));
        }
        devices
    }

    /// Closes every link, a batch at a time.
    pub async fn drain(&self) {
        let all = self.devices(|_| true);
        for (index, batch) in all.chunks(DRAIN_BATCH).enumerate() {
            if index > 0 {
                tokio::time::sleep(DRAIN_PAUSE).await;
            }
            for device in batch {
                self.close(*device, Closing::Drain);
            }
        }
    }
}

/// Closes links that were not heard for too long, until told to stop. One timer for all of them.
pub async fn sweep_idle(registry: Arc<Registry>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        for device in registry.devices(|entry| entry.heard.silence() > IDLE_TIMEOUT) {
            registry.close(device, Closing::Idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use uuid::Uuid;

    #[derive(Debug, Clone, Default)]
    struct Orders(Arc<Mutex<Vec<String>>>);

    impl Handle for Orders {
        fn order(&self, order: Order) -> bool {
            self.0.lock().unwrap().push(format!("{order:?}"));
            true
        }
    }

    #[test]
    fn newest_link_wins_and_a_late_goodbye_changes_nothing() {
        let registry = Registry::new(Metrics::new().unwrap());
        let device = DeviceId(Uuid::from_u128(7));
        let (old, new) = (LinkId(Uuid::from_u128(1)), LinkId(Uuid::from_u128(2)));
        let (first, second) = (Orders::default(), Orders::default());
        registry.enter(device, old, Box::new(first.clone()));
        registry.enter(device, new, Box::new(second.clone()));
        assert_eq!(*first.0.lock().unwrap(), ["Close(Replaced)"]);
        registry.leave(device, old);
        assert!(registry.tell(device, ToDevice::Reboot));
        assert_eq!(*second.0.lock().unwrap(), ["Tell(Reboot)"]);
        registry.leave(device, new);
        assert!(!registry.has(device));
        assert_eq!(registry.len(), 0);
    }
}
