//! What a server does beside answering, and how it ends: the list of its tasks is here.
//!
//! The end has two steps. First it drains: listeners accept nothing more, and what holds connections open (links, streams)
//! lets them go. Then the tasks are told to stop. Both have a deadline.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Work};
use crate::archives::ArchiveId;
use crate::deployments;
use crate::deployments::scheduler;
use crate::devices;
use crate::firmware::FirmwareId;
use crate::packages;
use crate::platform::Platform;
use crate::platform::sweep::Sweep;
use crate::platform::tickets::{self, Tickets};
use crate::platform::{events, nodes};

/// How long connections have to end.
pub const DRAIN: Duration = Duration::from_secs(10);
/// How long tasks have to end after that.
const FINISH: Duration = Duration::from_secs(5);
/// How often old rows are removed.
const PRUNE: Duration = Duration::from_hours(1);
/// How often devices that only send heartbeats are looked for.
const SEEN: Duration = Duration::from_mins(1);
/// How often devices whose block has ended are looked for.
const BLOCKS: Duration = Duration::from_secs(5);

type Hook = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The tasks of a server that runs.
pub struct Lifecycle {
    stop: CancellationToken,
    tasks: TaskTracker,
    drains: Vec<(&'static str, Hook)>,
}

impl std::fmt::Debug for Lifecycle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let drains: Vec<&str> = self.drains.iter().map(|(name, _)| *name).collect();
        formatter
            .debug_struct("Lifecycle")
            .field("drains", &drains)
            .finish_non_exhaustive()
    }
}

/// Puts this node on the list and ends the links of those that are gone, so that what is shown is true from the first
/// answer on.
///
/// # Errors
/// When the database fails.
pub async fn announce(platform: &Platform) -> sqlx::Result<()> {
    nodes::beat(&mut *platform.db.acquire().await?, platform.node, platform.clock.now()).await?;
    deployments::service::bury_dead_nodes(platform, Sweep::of_the_server(), true).await
}

/// Starts everything that a server does beside answering.
pub fn start(app: &App, work: Work, tickets: Tickets) -> Lifecycle {
    let Work { links, wakes } = work;
    let mut lifecycle = Lifecycle::new();
    let platform = app.platform.clone();
    let proof = Sweep::of_the_server();

    lifecycle.task("links", move |stop| links.run(proof, stop));
    lifecycle.on_drain("links", {
        let links = app.links.clone();
        async move { links.drain().await }
    });
    lifecycle.task("scheduler", {
        let platform = platform.clone();
        move |stop| scheduler::run(platform, proof, wakes, stop)
    });
    lifecycle.every("dead nodes", nodes::BEAT, {
        let platform = platform.clone();
        move || {
            let platform = platform.clone();
            async move { deployments::service::bury_dead_nodes(&platform, proof, false).await }
        }
    });

    lifecycle.task("events", {
        let platform = platform.clone();
        move |stop| platform.events.clone().run(platform.db, stop)
    });
    lifecycle.every("beat", nodes::BEAT, {
        let (platform, links) = (platform.clone(), app.links.clone());
        move || {
            let (platform, links) = (platform.clone(), links.clone());
            async move {
                let is_new =
                    nodes::beat(&mut *platform.db.acquire().await?, platform.node, platform.clock.now()).await?;
                if is_new { links.say_again(proof).await } else { Ok(()) }
            }
        }
    });
    lifecycle.every("seen", SEEN, {
        let platform = platform.clone();
        move || {
            let platform = platform.clone();
            async move { devices::service::seen_by_node(&mut *platform.db.acquire().await?, &platform, proof).await }
        }
    });
    lifecycle.every("ended blocks", BLOCKS, {
        let platform = platform.clone();
        move || {
            let platform = platform.clone();
            async move { devices::service::lift_ended_blocks(&platform, proof).await }
        }
    });
    lifecycle.every("tickets", tickets::REFRESH, {
        let platform = platform.clone();
        move || {
            let (platform, tickets) = (platform.clone(), tickets.clone());
            async move {
                if let Err(error) = tickets.refresh(&platform).await {
                    tracing::warn!(%error, "the keys of TLS session tickets could not be read; the old ones stay");
                }
                Ok(())
            }
        }
    });
    lifecycle.every("expired packages", PRUNE, {
        let platform = platform.clone();
        move || {
            let platform = platform.clone();
            async move {
                let swept = async {
                    packages::service::sweep::<FirmwareId>(&platform, proof).await?;
                    packages::service::sweep::<ArchiveId>(&platform, proof).await
                };
                if let Err(error) = swept.await {
                    tracing::warn!(%error, "expired firmware and archives were not removed; the next turn tries again");
                }
                Ok(())
            }
        }
    });
    lifecycle.every("log lines", PRUNE, {
        let platform = platform.clone();
        move || {
            let platform = platform.clone();
            async move { devices::service::prune_log_lines(&platform, proof).await.map(drop) }
        }
    });
    lifecycle.every("prune", PRUNE, move || {
        let platform = platform.clone();
        async move {
            let mut conn = platform.db.acquire().await?;
            events::prune(&mut conn, platform.clock.now()).await?;
            devices::service::credentials::prune(&mut conn, &platform, proof).await?;
            devices::service::prune_links(&mut conn, &platform, proof).await
        }
    });
    lifecycle
}

impl Lifecycle {
    fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            drains: Vec::new(),
        }
    }

    /// Runs `work` until it ends; it is handed the token that says when it must.
    pub fn task<F>(&self, name: &'static str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let work = AssertUnwindSafe(work(self.stop.clone())).catch_unwind();
        self.tasks.spawn(async move {
            if work.await.is_err() {
                tracing::error!(task = name, "a task of the server ended by a panic; restart the server");
            }
        });
    }

    /// Runs `work` now and then after every `period`. A failure is told and the next turn tries again.
    pub fn every<F>(&self, name: &'static str, period: Duration, work: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = sqlx::Result<()>> + Send + 'static,
    {
        self.task(name, move |stop| async move {
            let mut turns = interval(period);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = turns.tick() => {}
                }
                if let Err(error) = work().await {
                    tracing::warn!(task = name, %error, "a task of the server failed; it tries again");
                }
            }
        });
    }

    /// Adds what must be done before connections can end. All hooks run at once.
    pub fn on_drain(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.drains.push((name, Box::pin(work)));
    }

    /// Runs the hooks.
    pub async fn drain(&mut self) {
        let hooks = std::mem::take(&mut self.drains)
            .into_iter()
            .map(|(name, work)| async move {
                if timeout(DRAIN, work).await.is_err() {
                    tracing::warn!(hook = name, "connections did not end in time");
                }
            });
        join_all(hooks).await;
    }

    /// Tells the tasks to stop and waits for them; takes this node off the list.
    pub async fn finish(self, app: &App) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(FINISH, self.tasks.wait()).await.is_err() {
            tracing::warn!("tasks of the server did not end in time");
        }
        let platform = &app.platform;
        let leave = async {
            let mut conn = platform.db.acquire().await?;
            nodes::leave(&mut conn, platform.node).await
        };
        match timeout(FINISH, leave).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "this node could not be taken off the list"),
            Err(_) => tracing::warn!("this node could not be taken off the list in time"),
        }
    }
}
