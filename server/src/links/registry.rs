//! The one link of each device on this node: newest wins.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_link::limits::IDLE_TIMEOUT;
use muster_link::{ExtensionSet, Push, ToExtensions};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::intake::Unfinished;
use super::session::Closing;
use super::wire::Wire;
use crate::devices::model::LinkId;
use crate::devices::{DeviceId, Peer};
use crate::platform::memory::{self, Ebb};
use crate::platform::metrics::Metrics;
use crate::products::ProductId;

/// The map is cut so that connects do not wait for each other.
const SHARDS: usize = 16;
/// Devices whose extension `health` runs are asked for a report this often (device-link §3.5), a shard after another.
const HEALTH_EVERY: Duration = Duration::from_hours(1);
/// Orders that may wait for a link; one more cuts it.
pub const ORDERS_MAX: usize = 32;
/// Links that are idle or stuck are looked for this often.
const LOOK: Duration = Duration::from_secs(5);
/// A link whose peer has taken nothing of what waits for it for this long is cut.
const STUCK_MAX: Duration = Duration::from_secs(20);
/// A drain lasts at most this long: devices that are told one after the other dial one after the other.
const DRAIN: Duration = Duration::from_secs(8);
/// … and no longer than this many links a second take.
const DRAIN_RATE: usize = 1000;
/// After this many links have gone, their memory is given back to the system.
const LINKS_GONE: usize = 500;
/// Pauses of a drain.
const DRAIN_PAUSE: Duration = Duration::from_millis(100);

/// What a link is told from outside of its socket.
#[derive(Debug, Clone)]
pub enum Order {
    /// Send this.
    Tell(Box<Push>),
    /// From now on the device may use these extensions and no others that are switched.
    Allow(ExtensionSet),
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
    /// What it may be cut by: the credential that it was proved by, and the device's product.
    roots: [Uuid; 2],
    handle: Box<dyn Handle>,
    wire: Arc<Wire>,
}

impl Entry {
    fn rests_on(&self, roots: &HashSet<Uuid>) -> bool {
        self.roots.iter().any(|root| roots.contains(root))
    }

    /// Hands an order over; a link that has no room for it is cut.
    fn order(&self, order: Order) -> bool {
        let is_taken = self.handle.order(order);
        if !is_taken {
            self.wire.cut(Closing::SlowReader);
        }
        is_taken
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
    pub fn enter(&self, peer: &Peer, link: LinkId, handle: Box<dyn Handle>, wire: Arc<Wire>) {
        let device = peer.device();
        let entry = Entry {
            link,
            roots: [peer.credential().id(), peer.product().0],
            handle,
            wire,
        };
        let older = self.shard(device).insert(device, entry);
        match older {
            Some(older) => {
                older.order(Order::Close(Closing::Replaced));
            }
            None => self.metrics.links_open.inc(),
        }
        self.metrics.links_accepted.inc();
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

    /// Tells a device; false when it has no link here, or one that does not take what it is sent and is cut.
    pub fn tell(&self, device: DeviceId, push: Push) -> bool {
        self.order(device, Order::Tell(Box::new(push)))
    }

    /// Hands a device's link an order; whether it took it.
    pub fn order(&self, device: DeviceId, order: Order) -> bool {
        self.shard(device).get(&device).is_some_and(|entry| entry.order(order))
    }

    /// Hands an order to every link that rests on this credential or product.
    pub fn order_all_of(&self, root: Uuid, order: &Order) {
        self.order_where(order, |entry| entry.roots.contains(&root));
    }

    /// The devices here that are one of these, or rest on one of them.
    pub fn concerned(&self, subjects: &HashSet<Uuid>) -> Vec<DeviceId> {
        let mut concerned = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let meant = shard
                .iter()
                .filter(|(device, entry)| subjects.contains(&device.0) || entry.rests_on(subjects));
            concerned.extend(meant.map(|(device, _)| *device));
        }
        concerned
    }

    /// Ends a device's link.
    pub fn close(&self, device: DeviceId, closing: Closing) {
        self.order(device, Order::Close(closing));
    }

    /// Ends these links, where they are of this node.
    pub fn close_links(&self, links: &HashSet<LinkId>, closing: Closing) {
        if !links.is_empty() {
            self.order_where(&Order::Close(closing), |entry| links.contains(&entry.link));
        }
    }

    /// Ends the links that rest on these credentials or products.
    pub fn close_resting_on(&self, roots: &HashSet<Uuid>, closing: Closing) {
        if !roots.is_empty() {
            self.order_where(&Order::Close(closing), |entry| entry.rests_on(roots));
        }
    }

    fn order_where(&self, order: &Order, is_meant: impl Fn(&Entry) -> bool) {
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in shard.values().filter(|entry| is_meant(entry)) {
                entry.order(order.clone());
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

    fn devices(&self) -> Vec<DeviceId> {
        let mut devices = Vec::new();
        for shard in &self.shards {
            devices.extend(shard.lock().unwrap_or_else(PoisonError::into_inner).keys());
        }
        devices
    }

    /// The product's devices that have a link here.
    pub fn devices_of(&self, product: ProductId) -> Vec<DeviceId> {
        let mut devices = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let entries = shard.iter().filter(|(_, entry)| entry.roots[1] == product.0);
            devices.extend(entries.map(|(device, _)| *device));
        }
        devices
    }

    /// The links that joined.
    pub fn joined(&self) -> Vec<(DeviceId, LinkId)> {
        let mut joined = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let entries = shard.iter().filter(|(_, entry)| entry.wire.is_joined());
            joined.extend(entries.map(|(device, entry)| (*device, entry.link)));
        }
        joined
    }

    /// Closes every link, spread over a few seconds, so that not all devices dial at once.
    pub async fn drain(&self) {
        let all = self.devices();
        let batch = all.len().div_ceil(turns(all.len())).max(1);
        for (index, batch) in all.chunks(batch).enumerate() {
            if index > 0 {
                tokio::time::sleep(DRAIN_PAUSE).await;
            }
            for device in batch {
                self.close(*device, Closing::Drain);
            }
        }
    }

    /// Asks the joined devices of a shard for their health; where the extension does not run, nothing is sent.
    fn ask_health(&self, turn: usize) {
        let shard = self.shards[turn % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for entry in shard.values().filter(|entry| entry.wire.is_joined()) {
            entry.order(Order::Tell(Box::new(ToExtensions::CheckHealth.into())));
        }
    }

    /// Keeps room for as many links as there are.
    fn shrink(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).shrink_to_fit();
        }
    }

    /// Ends links that were not heard for too long, and cuts those that cannot be told to end.
    fn look(&self) {
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in shard.values() {
                let silence = entry.wire.silence();
                if entry.wire.stuck() > STUCK_MAX {
                    entry.wire.cut(Closing::SlowReader);
                } else if silence > IDLE_TIMEOUT + 2 * LOOK {
                    entry.wire.cut(Closing::Idle);
                } else if silence > IDLE_TIMEOUT {
                    entry.order(Order::Close(Closing::Idle));
                }
            }
        }
    }
}

/// In how many turns so many links are told to end.
fn turns(links: usize) -> usize {
    let lasts = DRAIN.min(Duration::from_secs_f64(links as f64 / DRAIN_RATE as f64));
    (lasts.as_secs_f64() / DRAIN_PAUSE.as_secs_f64()).ceil().max(1.0) as usize
}

/// Watches over the links until told to stop. One timer for all of them.
pub async fn watch(registry: Arc<Registry>, unfinished: Unfinished, stop: CancellationToken) {
    let mut ebb = Ebb::of(LINKS_GONE);
    let pause = HEALTH_EVERY / SHARDS as u32;
    let mut turns = interval_at(Instant::now() + pause, pause);
    let mut turn = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => registry.look(),
            _ = turns.tick() => {
                registry.ask_health(turn);
                turn += 1;
            }
        }
        if ebb.is_over(registry.len()) {
            registry.shrink();
            tokio::task::spawn_blocking(memory::give_back);
        }
        registry.metrics.unfinished_bytes.set(unfinished.bytes() as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::OrgId;
    use crate::products::ProductId;
    use muster_link::ToDevice;
    use std::sync::Mutex;

    #[derive(Debug, Clone, Default)]
    struct Orders(Arc<Mutex<Vec<String>>>);

    impl Handle for Orders {
        fn order(&self, order: Order) -> bool {
            self.0.lock().unwrap().push(format!("{order:?}"));
            true
        }
    }

    fn peer(device: DeviceId, product: u128) -> Peer {
        Peer::of_test(device, OrgId(Uuid::nil()), ProductId(Uuid::from_u128(product)))
    }

    #[test]
    fn links_that_rest_on_what_is_gone_end_and_others_stay() {
        let registry = Registry::new(Metrics::new().unwrap());
        let (first, second) = (Orders::default(), Orders::default());
        for (number, orders) in [(1, &first), (2, &second)] {
            let (device, link) = (DeviceId(Uuid::from_u128(number)), LinkId(Uuid::from_u128(number)));
            registry.enter(&peer(device, number), link, Box::new(orders.clone()), Arc::default());
        }
        registry.close_resting_on(&HashSet::from([Uuid::from_u128(2), Uuid::from_u128(9)]), Closing::Cut);
        assert!(first.0.lock().unwrap().is_empty());
        assert_eq!(*second.0.lock().unwrap(), ["Close(Cut)"]);
        // The secret that both came by.
        registry.close_resting_on(&HashSet::from([Uuid::nil()]), Closing::Cut);
        assert_eq!(*first.0.lock().unwrap(), ["Close(Cut)"]);
    }

    #[test]
    fn newest_link_wins_and_a_late_goodbye_changes_nothing() {
        let registry = Registry::new(Metrics::new().unwrap());
        let device = DeviceId(Uuid::from_u128(7));
        let (old, new) = (LinkId(Uuid::from_u128(1)), LinkId(Uuid::from_u128(2)));
        let (first, second) = (Orders::default(), Orders::default());
        registry.enter(&peer(device, 1), old, Box::new(first.clone()), Arc::default());
        registry.enter(&peer(device, 1), new, Box::new(second.clone()), Arc::default());
        assert_eq!(*first.0.lock().unwrap(), ["Close(Replaced)"]);
        registry.leave(device, old);
        assert!(registry.tell(device, ToDevice::Reboot.into()));
        assert_eq!(*second.0.lock().unwrap(), ["Tell(Device(Reboot))"]);
        registry.leave(device, new);
        assert!(!registry.has(device));
        assert_eq!(registry.len(), 0);
    }

    #[derive(Debug)]
    struct Full;

    impl Handle for Full {
        fn order(&self, _: Order) -> bool {
            false
        }
    }

    #[test]
    fn a_link_that_takes_no_more_orders_is_cut() {
        let registry = Registry::new(Metrics::new().unwrap());
        let (device, wire) = (DeviceId(Uuid::from_u128(7)), Arc::<Wire>::default());
        registry.enter(
            &peer(device, 1),
            LinkId(Uuid::from_u128(1)),
            Box::new(Full),
            Arc::clone(&wire),
        );
        assert_eq!(wire.was_cut(), None);
        assert!(!registry.tell(device, ToDevice::Reboot.into()));
        assert_eq!(wire.was_cut(), Some(Closing::SlowReader));
    }

    #[test]
    fn a_drain_is_spread_over_seconds() {
        assert_eq!([0, 1, 50].map(turns), [1, 1, 1]);
        assert_eq!([1000, 3000].map(turns), [10, 30]);
        assert_eq!([8000, 15_000, 1_000_000].map(turns), [80, 80, 80]);
    }

    #[test]
    fn after_an_ebb_no_room_is_kept_for_those_who_have_gone() {
        let registry = Registry::new(Metrics::new().unwrap());
        let id = |number: u128| (DeviceId(Uuid::from_u128(number)), LinkId(Uuid::from_u128(number)));
        for number in 0..10_000 {
            let (device, link) = id(number);
            registry.enter(&peer(device, 1), link, Box::new(Full), Arc::default());
        }
        for number in 1..10_000 {
            let (device, link) = id(number);
            registry.leave(device, link);
        }
        registry.shrink();
        let room: usize = registry
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().capacity())
            .sum();
        assert!(room < 10, "room for {room}");
        assert!(registry.has(id(0).0));
    }

    #[test]
    fn every_joined_device_is_asked_for_its_health_once_in_a_round() {
        let registry = Registry::new(Metrics::new().unwrap());
        let (joined, silent) = (Orders::default(), Orders::default());
        for number in 0..100 {
            let (device, link) = (DeviceId(Uuid::from_u128(number)), LinkId(Uuid::from_u128(number)));
            let wire = Arc::<Wire>::default();
            let orders = if number % 4 == 0 { &silent } else { &joined };
            if number % 4 != 0 {
                wire.joined();
            }
            registry.enter(&peer(device, 1), link, Box::new(orders.clone()), wire);
        }
        (0..SHARDS).for_each(|turn| registry.ask_health(turn));
        assert_eq!(*joined.0.lock().unwrap(), vec!["Tell(Extensions(CheckHealth))"; 75]);
        assert!(silent.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_drain_tells_every_link_once() {
        let registry = Registry::new(Metrics::new().unwrap());
        let orders = Orders::default();
        for number in 0..150 {
            let (device, link) = (DeviceId(Uuid::from_u128(number)), LinkId(Uuid::from_u128(number)));
            registry.enter(&peer(device, 1), link, Box::new(orders.clone()), Arc::default());
        }
        registry.drain().await;
        assert_eq!(*orders.0.lock().unwrap(), vec!["Close(Drain)"; 150]);
    }
}
