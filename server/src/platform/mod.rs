//! What a product without devices would need too: clock, ids, database, blobs, news, secrets, figures.
//!
//! [`Platform`] holds the handles; services take it by reference. It is cheap to clone.

pub mod blobs;
pub mod clock;
pub mod db;
pub mod events;
pub mod files;
pub mod ids;
pub mod memory;
pub mod metrics;
pub mod nodes;
pub mod postgres;
pub mod random;
pub mod store;
pub mod sweep;
pub mod tickets;
pub mod vault;

use sqlx::PgPool;

use self::blobs::Blobs;
use self::clock::Clock;
use self::events::Bus;
use self::ids::Id;
use self::metrics::Metrics;
use self::nodes::NodeId;
use self::random::Random;
use self::vault::Vault;

/// Every handle of the platform.
#[derive(Debug, Clone)]
pub struct Platform {
    /// The pool; a service opens its transaction here.
    pub db: PgPool,
    /// The object store.
    pub blobs: Blobs,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// Secrets that must be read again.
    pub vault: Vault,
    /// News between nodes and to browsers.
    pub events: Bus,
    /// Figures for Prometheus.
    pub metrics: Metrics,
    /// This process.
    pub node: NodeId,
}

impl Platform {
    /// A new id: UUID version 7 of the platform's clock.
    pub fn new_id<I: Id>(&self) -> I {
        I::from_parts(&self.clock, &self.random)
    }
}
