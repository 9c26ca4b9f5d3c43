//! The agent: takes events, asks the machine, does what it says.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use muster_link::FromDevice;
use tokio::time::Instant;

use super::online::Online;
use super::told::Connection;
use super::validation::Validation;
use super::{End, Event, Sinks};
use crate::archives::Archives;
use crate::clock;
use crate::config::Settings;
use crate::control::Control;
use crate::hooks::{Custom, RebootReason};
use crate::identity::Identity;
use crate::link::{Command, LinkSettings, Say};
use crate::notify::Notify;
use crate::platform::{Facts, Platform};
use crate::policy::Context;
use crate::renewal::Renewal;
use crate::scripts::Scripts;
use crate::update::Offer;
use crate::update::attempt::{self, Attempt};
use crate::update::machine::{Effect, Input, Machine};
use crate::update::state::{Persisted, Phase, Store};

/// A reboot that did not work is tried again after this.
const REBOOT_RETRY: Duration = Duration::from_mins(1);
/// A device that was told to reboot and still runs after this is told again.
const REBOOT_PATIENCE: Duration = Duration::from_mins(5);
/// Whatever the hook has to do, a device that is to reboot does.
const BEFORE_REBOOT_TIMEOUT: Duration = Duration::from_mins(5);
/// A reboot, its hook included, may keep the loop for so long.
const REBOOT_TIMEOUT: Duration = Duration::from_mins(8);

/// What an agent is made of.
pub(super) struct Parts {
    pub settings: Settings,
    pub platform: Box<dyn Platform>,
    pub custom: Custom,
    pub store: Store,
    pub identity: Arc<Identity>,
    pub machine: Machine,
    /// The slot that runs; an update changes the environment and not this.
    pub facts: Facts,
    pub sinks: Sinks,
    pub archives: Archives,
    pub scripts: Scripts,
    /// What becomes of the device's certificate, if it has one.
    pub renewal: Option<Renewal>,
    pub control: Option<Control>,
    pub notify: Notify,
    /// Held until the process ends.
    pub _lock: File,
}

/// The running agent.
pub(super) struct Agent {
    pub(super) parts: Parts,
    pub(super) link_state: LinkState,
    pub(super) online: Option<Online>,
    pub(super) connection: Connection,
    /// Whether people are to be warned of the certificate's end.
    pub(super) certificate_ends: bool,
    attempt: Option<Attempt>,
    pub(super) validation: Validation,
    reboot_due: Option<Instant>,
    alive_due: Option<Instant>,
    pub(super) interface_due: Option<Instant>,
    pub(super) certificate_due: Option<Instant>,
}

/// How the link is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Not open, for this reason, if it was ever tried.
    Down(Option<String>),
    /// Open, and not joined yet.
    Open,
    /// The server has us.
    Joined,
}

impl Agent {
    pub(super) fn new(parts: Parts) -> Self {
        let validation = Validation::new(parts.platform.conduct(), parts.facts.validated, Instant::now());
        let mut agent = Self {
            parts,
            link_state: LinkState::Down(None),
            online: None,
            connection: Connection::default(),
            certificate_ends: false,
            attempt: None,
            validation,
            reboot_due: None,
            alive_due: None,
            interface_due: None,
            certificate_due: None,
        };
        agent.open_link();
        agent.parts.notify.ready();
        agent.alive(Instant::now());
        agent.tell_status();
        agent
    }

    fn open_link(&mut self) {
        if !self.parts.platform.conduct().dials {
            tracing::warn!("firmware has no network");
            return;
        }
        let settings = &self.parts.settings;
        let link = LinkSettings {
            url: settings.server.url.clone(),
            identity: Arc::clone(&self.parts.identity),
            encoding: settings.server.encoding,
            backoff: settings.agent.backoff.clone(),
            without_network: settings.agent.network_retry,
            heartbeat: settings.agent.heartbeat,
        };
        self.online = Some(Online::start(settings, link, self.parts.sinks.link.clone()));
    }

    /// When the watchdog bites.
    pub(super) fn watchdog(&self) -> Option<Instant> {
        self.validation.watchdog()
    }

    /// When [`Event::Due`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let dues = [
            self.validation.check_at(),
            self.reboot_due,
            self.alive_due,
            self.interface_due,
            self.certificate_due,
        ];
        dues.into_iter().flatten().min()
    }

    /// Tells the service manager that the loop turns and the link's task lives; silence has it start the agent anew.
    fn alive(&mut self, now: Instant) {
        let Some(interval) = self.parts.notify.interval() else {
            return;
        };
        if self.online.as_ref().is_none_or(Online::is_alive) {
            self.parts.notify.alive();
        }
        self.alive_due = Some(now + interval);
    }

    /// The end, as the system wants it.
    pub(super) async fn stop(&mut self) {
        self.parts.notify.stopping();
        self.parts.control = None;
        self.close().await;
    }

    /// Says goodbye.
    pub(super) async fn close(&mut self) {
        self.attempt = None;
        self.interface_due = None;
        self.certificate_due = None;
        if let Some(online) = self.online.take() {
            online.close().await;
        }
    }

    /// Reboots; returns where the reboot is a matter of time, or did not work and will be tried again.
    pub(super) async fn reboot(&mut self, reason: RebootReason) {
        tracing::info!(reason = reason.name(), "device reboots");
        let interrupted = self.attempt.is_some();
        self.parts.notify.stands_still(REBOOT_TIMEOUT);
        self.close().await;
        self.validation.stop();
        let ready = self.parts.custom.hooks.before_reboot(reason);
        let ready = tokio::time::timeout(BEFORE_REBOOT_TIMEOUT, ready).await;
        if let Err(cause) = ready.unwrap_or_else(|_| Err("it does not end".to_owned())) {
            tracing::warn!(error = cause, "hook before the reboot failed");
        }
        let Err(cause) = self.parts.platform.reboot().await else {
            tracing::info!("reboot under way");
            self.reboot_due = Some(Instant::now() + REBOOT_PATIENCE);
            self.parts.notify.goes_on();
            return;
        };
        self.parts.notify.goes_on();
        tracing::error!(error = %cause, "device does not reboot");
        self.reboot_due = Some(Instant::now() + REBOOT_RETRY);
        if interrupted {
            // A failed attempt asks for no reboot.
            let _ = self.take(Input::Failed("Update failed: a reboot was asked for".to_owned()));
        }
        self.open_link();
    }

    /// Takes one event.
    pub(super) fn handle(&mut self, event: Event) -> ControlFlow<End> {
        match event {
            Event::Link(event) => self.link_event(event),
            Event::Attempt(event) => self.attempt_event(event),
            Event::Decided(decision) => {
                tracing::info!(policy.decision = ?decision, "policy decided");
                self.take(Input::Decided(decision))
            }
            Event::Health(result) => self.health(result),
            Event::Watchdog => {
                tracing::warn!("firmware was not validated in time");
                ControlFlow::Break(End::Reboot(RebootReason::NotValidated))
            }
            Event::Archive(ended) => {
                self.parts.archives.ended(&ended);
                ControlFlow::Continue(())
            }
            Event::Asked(asked) => {
                self.asked(asked);
                ControlFlow::Continue(())
            }
            Event::Due => self.is_due(),
            Event::Stop => ControlFlow::Break(End::Stopped),
        }
    }

    fn is_due(&mut self) -> ControlFlow<End> {
        let now = Instant::now();
        if self.alive_due.is_some_and(|at| at <= now) {
            self.alive(now);
        }
        if self.reboot_due.is_some_and(|at| at <= now) {
            self.reboot_due = None;
            return ControlFlow::Break(End::Reboot(RebootReason::Again));
        }
        if self.interface_due.is_some_and(|at| at <= now) {
            self.report_interface(now);
        }
        if self.certificate_due.is_some_and(|at| at <= now) {
            self.check_certificate(now);
        }
        self.check_health(now);
        ControlFlow::Continue(())
    }

    fn attempt_event(&mut self, event: attempt::Event) -> ControlFlow<End> {
        match event {
            attempt::Event::RequestOpened => self.take(Input::RequestOpened),
            attempt::Event::UrlExpired => self.take(Input::UrlExpired),
            attempt::Event::Progress(stage, percent) => self.take(Input::Progress(stage, percent)),
            attempt::Event::Ended(result) => {
                self.attempt = None;
                match result {
                    Ok(()) => {
                        tracing::info!("update applied");
                        self.take(Input::Applied)
                    }
                    Err(reason) => {
                        tracing::warn!(reason, "update failed");
                        self.take(Input::Failed(reason))
                    }
                }
            }
        }
    }

    pub(super) fn tell(&self, command: Command) {
        if let Some(online) = &self.online {
            online.tell(command);
        }
    }

    pub(super) fn say(&self, message: impl Into<Say>) {
        self.tell(Command::Send(message.into()));
    }

    pub(super) fn check_health(&mut self, now: Instant) {
        if !self.validation.begin_check(now) {
            return;
        }
        let settings = self.parts.settings.agent.clone();
        let tasks = self.parts.sinks.tasks.clone();
        tokio::spawn(async move {
            let result = crate::health::check(&settings).await;
            let _ = tasks.send(Event::Health(result)).await;
        });
    }

    fn health(&mut self, result: Result<(), String>) -> ControlFlow<End> {
        if let Err(reason) = result.and_then(|()| self.validate()) {
            tracing::warn!(reason, "firmware not validated");
            self.validation.failed(Instant::now());
            return ControlFlow::Continue(());
        }
        tracing::info!(firmware.version = self.parts.facts.version(), "firmware validated");
        self.parts.facts.validated = Some(true);
        if self.validation.succeeded() {
            self.say(FromDevice::FirmwareValidated);
        }
        self.take(Input::Validated)
    }

    /// Marks the firmware as here to stay, or sees whether the program that does so has done it.
    fn validate(&self) -> Result<(), String> {
        let platform = &self.parts.platform;
        if self.parts.settings.agent.validate {
            return platform.validate().map_err(|cause| cause.to_string());
        }
        match platform.facts() {
            Ok(facts) if facts.unvalidated() => Err("no other program has validated it yet".to_owned()),
            Ok(_) => Ok(()),
            Err(cause) => Err(cause.to_string()),
        }
    }

    /// Gives the machine an input and does what it says, in its order.
    pub(super) fn take(&mut self, input: Input) -> ControlFlow<End> {
        let mut effects = VecDeque::from(self.parts.machine.handle(input, clock::now()));
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Save(persisted) => {
                    if let Some(failed) = self.save(&persisted) {
                        effects = self.parts.machine.handle(failed, clock::now()).into();
                    }
                }
                Effect::Send(message) => self.say(message),
                Effect::Deliver(status) => self.tell(Command::Deliver(status)),
                Effect::Decide(offer, reschedules) => self.decide(*offer, reschedules),
                Effect::Start(offer) => self.start(&offer),
                Effect::Resume(url) => {
                    if let Some(attempt) = &self.attempt {
                        attempt.resume(url);
                    }
                }
                Effect::Rejoin => self.tell(Command::Rejoin),
                Effect::Reboot(reason) => return ControlFlow::Break(End::Reboot(reason)),
            }
        }
        ControlFlow::Continue(())
    }

    /// Writes the state. An attempt that cannot be written down must not begin; any other step is safe to go on from
    /// the older state.
    fn save(&self, persisted: &Persisted) -> Option<Input> {
        let saved = self.parts.store.save(persisted);
        if let Err(cause) = saved {
            tracing::error!(error = %cause, "update state not written");
            let applying = matches!(persisted.phase, Phase::Applying { .. });
            return applying.then(|| Input::Failed(format!("Update failed: cannot write the state: {cause}")));
        }
        tracing::info!(
            update.phase = persisted.phase.name(),
            update.uuid = persisted.phase.uuid(),
            update.pending = persisted.pending.is_some(),
            "update state changed"
        );
        None
    }

    fn decide(&self, offer: Offer, reschedules: u32) {
        let context = Context {
            identifier: self.parts.settings.identity.identifier.clone(),
            running_uuid: self.parts.facts.uuid().to_owned(),
            running_version: self.parts.facts.version().to_owned(),
            reschedules,
        };
        let (policy, tasks) = (Arc::clone(&self.parts.custom.policy), self.parts.sinks.tasks.clone());
        tokio::spawn(async move {
            let decision = policy.decide(&offer, &context).await;
            let _ = tasks.send(Event::Decided(decision)).await;
        });
    }

    fn start(&mut self, offer: &Offer) {
        let parts = &self.parts;
        let order = attempt::order(offer, &parts.settings, parts.platform.as_ref(), &parts.facts);
        self.attempt = Some(Attempt::start(
            offer,
            order,
            &parts.settings,
            Arc::clone(&parts.identity.download),
            parts.sinks.attempt.clone(),
        ));
    }
}
