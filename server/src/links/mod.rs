//! Links: the websockets of devices.
//!
//! [`admission`] lets connections in at the rate that the node can serve, [`intake`] bounds what a device sends, [`socket`]
//! moves frames and nothing else, [`session`] decides, [`registry`] knows the one link of each device on this node. Database work never runs on a socket's thread: identities are looked up by [`identities`] and what devices say is
//! written by [`writer`], both in batches.

pub mod admission;
pub mod identities;
mod intake;
mod link;
pub mod listener;
mod news;
mod registry;
pub mod session;
mod socket;
pub mod tls;
pub mod wire;
mod writer;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::identities::Identities;
use self::intake::Unfinished;
use self::registry::Registry;
use self::writer::Writer;
use crate::deployments::Scheduler;
use crate::devices::service as devices;
use crate::firmware::FirmwareUrls;
use crate::platform::Platform;
use crate::platform::sweep::Sweep;

/// Links of one statement, when they are said again.
const SAID_AT_ONCE: usize = 1000;

/// What the links of a node share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Links {
    platform: Platform,
    registry: Arc<Registry>,
    identities: Identities,
    writer: Writer,
    unfinished: Unfinished,
}

/// The tasks behind [`Links`]; each runs until it is told to stop.
#[derive(Debug)]
pub struct Tasks {
    links: Links,
    identities: identities::Work,
    writer: writer::Work,
    urls: FirmwareUrls,
    scheduler: Scheduler,
}

impl Links {
    /// The links of this node, and the tasks that serve them.
    pub fn new(platform: Platform, urls: FirmwareUrls, scheduler: Scheduler) -> (Self, Tasks) {
        let (identities, identity_work) = Identities::new();
        let (writer, writer_work) = Writer::new();
        let registry = Arc::new(Registry::new(platform.metrics.clone()));
        let links = Self {
            platform,
            registry,
            identities,
            writer,
            unfinished: Unfinished::default(),
        };
        let tasks = Tasks {
            links: links.clone(),
            identities: identity_work,
            writer: writer_work,
            urls,
            scheduler,
        };
        (links, tasks)
    }

    /// How many links are open on this node.
    pub fn open(&self) -> usize {
        self.registry.len()
    }

    /// Others took this node for dead: says again which devices have a link here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn say_again(&self, proof: Sweep) -> sqlx::Result<()> {
        for links in self.registry.joined().chunks(SAID_AT_ONCE) {
            let mut tx = self.platform.db.begin().await?;
            devices::reconnect(&mut tx, &self.platform, proof, links).await?;
            tx.commit().await?;
        }
        self.platform.events.ring();
        Ok(())
    }

    /// Closes every link, one after another, as the server stops.
    pub async fn drain(&self) {
        self.registry.drain().await;
    }
}

impl Tasks {
    /// Serves the links until told to stop; then writes what is still to be written.
    pub async fn run(self, proof: Sweep, stop: CancellationToken) {
        let Self {
            links,
            identities,
            writer,
            urls,
            scheduler,
        } = self;
        let platform = links.platform.clone();
        tokio::join!(
            identities::run(platform.clone(), proof, identities, stop.clone()),
            writer::run(platform.clone(), proof, writer, urls.clone(), scheduler, stop.clone()),
            news::run(platform, proof, Arc::clone(&links.registry), urls, stop.clone()),
            registry::watch(Arc::clone(&links.registry), links.unfinished.clone(), stop),
        );
    }
}
