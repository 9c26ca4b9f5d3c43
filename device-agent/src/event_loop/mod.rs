//! The agent's shell: every source of news merged into one [`Event`], taken one at a time.

mod agent;
mod asked;
mod certificate;
mod online;
mod report;
mod startup;
mod told;
mod validation;

use std::ops::ControlFlow;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::config::Settings;
use crate::hooks::{Custom, RebootReason};
use crate::policy::Decision;
use crate::update::attempt;
use crate::{archives, control, link};

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
    /// An archive was taken, or not.
    Archive(archives::Ended),
    /// Somebody asks by the control socket.
    Asked(control::Asked),
    /// Something that was put off is due.
    Due,
    /// The system wants the agent to end.
    Stop,
}

/// How the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stopped,
    Reboot(RebootReason),
}

/// Where news come from.
struct Sources {
    link: mpsc::Receiver<link::Event>,
    attempt: mpsc::Receiver<attempt::Event>,
    tasks: mpsc::Receiver<Event>,
    archives: mpsc::Receiver<archives::Ended>,
    asked: mpsc::Receiver<control::Asked>,
    terminate: Signal,
    interrupt: Signal,
}

/// Where news go to.
#[derive(Debug, Clone)]
struct Sinks {
    link: mpsc::Sender<link::Event>,
    attempt: mpsc::Sender<attempt::Event>,
    tasks: mpsc::Sender<Event>,
    archives: mpsc::Sender<archives::Ended>,
    asked: mpsc::Sender<control::Asked>,
}

fn channels() -> std::io::Result<(Sources, Sinks)> {
    let (link, link_source) = mpsc::channel(EVENTS_MAX);
    let (attempt, attempt_source) = mpsc::channel(EVENTS_MAX);
    let (tasks, tasks_source) = mpsc::channel(EVENTS_MAX);
    let (archives, archives_source) = mpsc::channel(1);
    let (asked, asked_source) = mpsc::channel(1);
    let sources = Sources {
        link: link_source,
        attempt: attempt_source,
        tasks: tasks_source,
        archives: archives_source,
        asked: asked_source,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let sinks = Sinks {
        link,
        attempt,
        tasks,
        archives,
        asked,
    };
    Ok((sources, sinks))
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
            Some(ended) = self.archives.recv() => Event::Archive(ended),
            Some(asked) = self.asked.recv() => Event::Asked(asked),
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
pub async fn run(settings: Settings, custom: Custom) -> anyhow::Result<()> {
    let (mut sources, sinks) = channels().context("cannot listen for signals")?;
    let Some(mut agent) = startup::start(settings, custom, sinks).await? else {
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
                agent.stop().await;
                return Ok(());
            }
            ControlFlow::Break(End::Reboot(reason)) => agent.reboot(reason).await,
        }
    }
}
