//! Links: the websockets of devices.
//!
//! [`admission`] lets connections in at the rate that the node can serve, [`intake`] bounds what a device sends and [`gate`] in
//! which turns, [`socket`] moves frames and nothing else, [`session`] decides, [`registry`] knows the one link of each device on
//! this node. Database
//! work never runs on a socket's thread: identities are looked up by [`identities`] and what devices say is written by
//! [`writer`], both in batches; certificates are issued by [`renewals`].

pub mod admission;
mod archives;
mod extensions;
mod gate;
pub mod identities;
mod intake;
mod link;
pub mod listener;
mod news;
mod registry;
mod renewals;
mod scripts;
pub mod session;
mod socket;
mod terminals;
pub mod tls;
#[cfg(feature = "upgrade-socket")]
pub mod upgrade;
mod valve;
pub mod wire;
mod writer;

use std::sync::Arc;

use std::time::Duration;

use muster_link::{Push, Script, ScriptResult};
use tokio_util::sync::CancellationToken;

use self::identities::Identities;
use self::intake::Unfinished;
use self::registry::Registry;
use self::renewals::Renewals;
use self::scripts::Scripts;
pub use self::scripts::{ScriptError, WAIT as SCRIPT_WAIT};
use self::session::Relay;
use self::terminals::Terminals;
pub use self::terminals::{Output, Terminal, Watch};
use self::writer::Writer;
use crate::deployments::Scheduler;
use crate::devices::model::LinkId;
use crate::devices::service as devices;
use crate::devices::{DeviceId, Peer};
use crate::packages::PackageUrls;
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
    renewals: Renewals,
    terminals: Arc<Terminals>,
    scripts: Arc<Scripts>,
    unfinished: Unfinished,
}

/// The tasks behind [`Links`]; each runs until it is told to stop.
#[derive(Debug)]
pub struct Tasks {
    links: Links,
    identities: identities::Work,
    writer: writer::Work,
    renewals: renewals::Work,
    urls: PackageUrls,
    scheduler: Scheduler,
}

impl Links {
    /// The links of this node, and the tasks that serve them.
    pub fn new(platform: Platform, urls: PackageUrls, scheduler: Scheduler) -> (Self, Tasks) {
        let (identities, identity_work) = Identities::new();
        let (writer, writer_work) = Writer::new();
        let (renewals, renewal_work) = Renewals::new();
        let registry = Arc::new(Registry::new(platform.metrics.clone()));
        let links = Self {
            platform,
            registry,
            identities,
            writer,
            renewals,
            terminals: Arc::default(),
            scripts: Arc::default(),
            unfinished: Unfinished::default(),
        };
        let tasks = Tasks {
            links: links.clone(),
            identities: identity_work,
            writer: writer_work,
            renewals: renewal_work,
            urls,
            scheduler,
        };
        (links, tasks)
    }

    /// How many links are open on this node.
    pub fn open(&self) -> usize {
        self.registry.len()
    }

    /// Tells a device something; false when it has no link on this node, or the link's queue is full.
    pub fn tell(&self, device: DeviceId, push: impl Into<Push>) -> bool {
        self.registry.tell(device, push.into())
    }

    /// Runs a script on a device of this node and waits for its result, at most `wait`.
    ///
    /// # Errors
    /// [`ScriptError`] says why there is none.
    pub async fn run_script(
        &self,
        device: DeviceId,
        text: String,
        wait: Duration,
    ) -> Result<ScriptResult, ScriptError> {
        let (registry, random) = (&self.registry, &self.platform.random);
        self.scripts.run(registry, random, device, text, wait).await
    }

    /// Watches a terminal of a device of this node; `None` where it is not open.
    pub fn watch(&self, device: DeviceId, terminal: Terminal) -> Option<Watch> {
        self.terminals.watch(device, terminal)
    }

    /// Hands on what a link says to people and callers of this node.
    fn relay(&self, peer: &Peer, link: LinkId, said: Relay) {
        match &said {
            Relay::Script(result) if result.reference == Script::CONNECTING_CODE => {
                let is_good = result.is_good();
                self.platform
                    .metrics
                    .connecting_codes
                    .with_label_values(&[if is_good { "good" } else { "failed" }])
                    .inc();
                if is_good {
                    tracing::debug!(device.id = %peer.device(), "the code of connects was run");
                } else {
                    let reason = result.reason.as_deref();
                    tracing::warn!(device.id = %peer.device(), reason, "the code of connects failed");
                }
            }
            Relay::Script(_) | Relay::NoScripts(_) => drop(self.scripts.hear(peer.device(), said)),
            Relay::Console(_) | Relay::Shell(_) => self.terminals.hear(peer.device(), link, said),
        }
    }

    /// A link ended.
    fn forget(&self, peer: &Peer, link: LinkId) {
        self.registry.leave(peer.device(), link);
        self.terminals.leave(peer.device(), link);
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

    /// Closes every link, spread over a few seconds, as the server stops.
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
            renewals,
            urls,
            scheduler,
        } = self;
        let platform = links.platform.clone();
        tokio::join!(
            identities::run(platform.clone(), proof, identities, stop.clone()),
            writer::run(platform.clone(), proof, writer, urls.clone(), scheduler, stop.clone()),
            news::run(
                platform.clone(),
                proof,
                Arc::clone(&links.registry),
                urls,
                links.writer.clone(),
                stop.clone()
            ),
            renewals::run(platform, proof, Arc::clone(&links.registry), renewals, stop.clone()),
            registry::watch(Arc::clone(&links.registry), links.unfinished.clone(), stop),
        );
    }
}
