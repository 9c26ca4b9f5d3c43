//! The agent's shell: every source of news merged into one [`Event`], taken one at a time.

mod agent;
mod startup;
mod validation;

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::config::Settings;
use crate::link;
use crate::policy::{Decision, Policy};
use crate::update::attempt;

/// News that wait to be taken; who brings more waits.
const EVENTS_MAX: usize = 32;

/// Everything that can happen to the agent.
#[derive(Debug)]
enum Event {
    /// On the link.
    Link(link::Event),
    /// In the running attempt.
    Attempt(attempt::Event),
    /// The policy decided.
    Decided(Decision),
    /// The health check of new firmware ended.
    Health(Result<(), String>),
    /// New firmware was not validated in time.
    Watchdog,
    /// Something that was put off is due.
    Due,
    /// The system wants the agent to end.
    Stop,
}

/// How the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stopped,
    Reboot,
}

/// Where news come from.
struct Sources {
    link: mpsc::Receiver<link::Event>,
    attempt: mpsc::Receiver<attempt::Event>,
    tasks: mpsc::Receiver<Event>,
    terminate: Signal,
    interrupt: Signal,
}

/// Where news go to.
#[derive(Debug, Clone)]
struct Sinks {
    link: mpsc::Sender<link::Event>,
    attempt: mpsc::Sender<attempt::Event>,
    tasks: mpsc::Sender<Event>,
}

fn channels() -> std::io::Result<(Sources, Sinks)> {
    let (link, link_source) = mpsc::channel(EVENTS_MAX);
    let (attempt, attempt_source) = mpsc::channel(EVENTS_MAX);
    let (tasks, tasks_source) = mpsc::channel(EVENTS_MAX);
    let sources = Sources {
        link: link_source,
        attempt: attempt_source,
        tasks: tasks_source,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    Ok((sources, Sinks { link, attempt, tasks }))
}

impl Sources {
    /// The next thing that happens. A source never closes while the agent holds its other end.
    async fn next(&mut self, watchdog: Option<Instant>, due: Option<Instant>) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            Some(event) = self.link.recv() => Event::Link(event),
            Some(event) = self.attempt.recv() => Event::Attempt(event),
            Some(event) = self.tasks.recv() => event,
            () = at(watchdog) => Event::Watchdog,
            () = at(due) => Event::Due,
        }
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// When the agent cannot start.
pub async fn run(settings: Settings, policy: Arc<dyn Policy>) -> anyhow::Result<()> {
    let (mut sources, sinks) = channels().context("cannot listen for signals")?;
    let Some(mut agent) = startup::start(settings, policy, sinks).await? else {
        // The system ends this process when it comes to it.
        tracing::info!("reboot under way");
        sources.stop().await;
        return Ok(());
    };
    loop {
        let event = sources.next(agent.watchdog(), agent.due()).await;
        match agent.handle(event) {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(End::Stopped) => {
                tracing::info!("agent stops");
                agent.close().await;
                return Ok(());
            }
            ControlFlow::Break(End::Reboot) => agent.reboot().await,
        }
    }
}
