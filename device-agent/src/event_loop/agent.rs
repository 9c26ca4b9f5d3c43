//! The agent: takes events, asks the machine, does what it says.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use muster_link::{DeviceApiVersion, FromDevice, Join, JoinMeta, ToDevice};
use tokio::time::Instant;

use super::validation::Validation;
use super::{End, Event, Sinks};
use crate::clock;
use crate::config::Settings;
use crate::identity::Tls;
use crate::link::{self, Command, Link, LinkSettings};
use crate::platform::{Facts, Platform};
use crate::policy::{Context, Policy};
use crate::program::{self, Program};
use crate::update::Offer;
use crate::update::attempt::{self, Attempt};
use crate::update::machine::{Effect, Input, Machine};
use crate::update::state::{Persisted, Phase, Store};

/// A reboot that did not work is tried again after this.
const REBOOT_RETRY: Duration = Duration::from_mins(1);
/// A device that was told to reboot and still runs after this is told again.
const REBOOT_PATIENCE: Duration = Duration::from_mins(5);
const IDENTIFY_TIME_LIMIT: Duration = Duration::from_secs(30);

/// What an agent is made of.
pub(super) struct Parts {
    pub settings: Settings,
    pub platform: Box<dyn Platform>,
    pub policy: Arc<dyn Policy>,
    pub store: Store,
    pub tls: Tls,
    pub machine: Machine,
    /// The slot that runs; an update changes the environment and not this.
    pub facts: Facts,
    pub sinks: Sinks,
    /// Held until the process ends.
    pub _lock: File,
}

/// The running agent.
pub(super) struct Agent {
    parts: Parts,
    link: Option<Link>,
    attempt: Option<Attempt>,
    validation: Validation,
    reboot_due: Option<Instant>,
}

impl Agent {
    pub(super) fn new(parts: Parts) -> Self {
        let validation = Validation::new(parts.platform.conduct(), parts.facts.validated, Instant::now());
        let mut agent = Self {
            parts,
            link: None,
            attempt: None,
            validation,
            reboot_due: None,
        };
        agent.open_link();
        agent
    }

    fn open_link(&mut self) {
        if !self.parts.platform.conduct().dials {
            tracing::warn!("firmware has no network");
            return;
        }
        let settings = LinkSettings {
            url: self.parts.settings.server.url.clone(),
            tls: Arc::clone(&self.parts.tls.link),
            backoff: self.parts.settings.agent.backoff.clone(),
            heartbeat: self.parts.settings.agent.heartbeat,
        };
        self.link = Some(Link::start(settings, self.parts.sinks.link.clone()));
    }

    /// When the watchdog bites.
    pub(super) fn watchdog(&self) -> Option<Instant> {
        self.validation.watchdog()
    }

    /// When [`Event::Due`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let dues = [self.validation.check_at(), self.reboot_due];
        dues.into_iter().flatten().min()
    }

    /// Says goodbye.
    pub(super) async fn close(&mut self) {
        self.attempt = None;
        if let Some(link) = self.link.take() {
            link.close().await;
        }
    }

    /// Reboots; returns where the reboot is a matter of time, or did not work and will be tried again.
    pub(super) async fn reboot(&mut self) {
        tracing::info!("device reboots");
        let interrupted = self.attempt.is_some();
        self.close().await;
        self.validation.stop();
        let Err(cause) = self.parts.platform.reboot().await else {
            tracing::info!("reboot under way");
            self.reboot_due = Some(Instant::now() + REBOOT_PATIENCE);
            return;
        };
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
                ControlFlow::Break(End::Reboot)
            }
            Event::Due => self.is_due(),
            Event::Stop => ControlFlow::Break(End::Stopped),
        }
    }

    fn is_due(&mut self) -> ControlFlow<End> {
        let now = Instant::now();
        if self.reboot_due.is_some_and(|at| at <= now) {
            self.reboot_due = None;
            return ControlFlow::Break(End::Reboot);
        }
        self.check_health(now);
        ControlFlow::Continue(())
    }

    fn link_event(&mut self, event: link::Event) -> ControlFlow<End> {
        match event {
            link::Event::NeedJoin => {
                let join = self.join();
                self.validation.told(join.meta.firmware_validated);
                self.tell(Command::Join(Box::new(join)));
                ControlFlow::Continue(())
            }
            link::Event::Joined => {
                tracing::info!("joined");
                self.validation.joined(Instant::now());
                self.check_health(Instant::now());
                self.take(Input::Joined)
            }
            link::Event::Lost => {
                self.validation.lost();
                self.parts.machine.lost();
                ControlFlow::Continue(())
            }
            link::Event::Delivered => self.take(Input::Delivered),
            link::Event::Push(message) => self.push(message),
        }
    }

    fn push(&mut self, message: ToDevice) -> ControlFlow<End> {
        match message {
            ToDevice::Update(update) => {
                let uuid = update.firmware_meta.as_ref().map(|meta| meta.uuid.as_str());
                tracing::info!(
                    update.uuid = uuid,
                    update.available = update.update_available,
                    "update told"
                );
                self.take(Input::Told(update))
            }
            ToDevice::Reboot => self.take(Input::RebootAsked),
            ToDevice::Identify => {
                self.identify();
                ControlFlow::Continue(())
            }
            // The agent trusts its own keys only, takes no archives, runs no scripts and has no extensions.
            ToDevice::FirmwareKeys(_)
            | ToDevice::ArchiveKeys(_)
            | ToDevice::GetExtensions
            | ToDevice::Archive(_)
            | ToDevice::RunScript(_) => ControlFlow::Continue(()),
            ToDevice::Unknown(event) => {
                tracing::debug!(event, "unknown push ignored");
                ControlFlow::Continue(())
            }
        }
    }

    fn identify(&self) {
        tracing::info!("device identifies itself");
        let line = &self.parts.settings.agent.identify_command;
        if line.is_empty() {
            return;
        }
        let program = Program::command(line, IDENTIFY_TIME_LIMIT);
        tokio::spawn(async move {
            if let Err(cause) = program::run(program).await {
                tracing::warn!(error = %cause, "identify command failed");
            }
        });
    }

    fn attempt_event(&mut self, event: attempt::Event) -> ControlFlow<End> {
        match event {
            attempt::Event::RequestOpened => self.take(Input::RequestOpened),
            attempt::Event::UrlExpired => self.take(Input::UrlExpired),
            attempt::Event::Progress(percent) => self.take(Input::Progress(percent)),
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

    /// What the device says of itself now (device-link §3.1).
    fn join(&self) -> Join {
        let (firmware, extra) = self.parts.facts.report();
        let persisted = self.parts.machine.persisted();
        let reverted = persisted.reverted.is_some() || self.parts.facts.other_unvalidated;
        let unreported = persisted.reverted.as_ref().filter(|_| persisted.pending.is_some());
        Join {
            firmware,
            fwup_version: Some(muster_fwup::FWUP_VERSION.to_owned()),
            device_api_version: Some(DeviceApiVersion::OURS.to_owned()),
            currently_downloading_uuid: self.parts.machine.busy_uuid().map(str::to_owned),
            meta: JoinMeta {
                firmware_validated: self.parts.facts.validated,
                firmware_auto_revert_detected: Some(reverted),
                firmware_reverted_uuid: unreported.map(|reverted| reverted.uuid.clone()),
            },
            extra,
            ..Join::default()
        }
    }

    fn tell(&self, command: Command) {
        if let Some(link) = &self.link {
            link.tell(command);
        }
    }

    fn check_health(&mut self, now: Instant) {
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
        let validated = result.and_then(|()| self.parts.platform.validate().map_err(|cause| cause.to_string()));
        if let Err(reason) = validated {
            tracing::warn!(reason, "firmware not validated");
            self.validation.failed(Instant::now());
            return ControlFlow::Continue(());
        }
        tracing::info!(firmware.version = self.parts.facts.version(), "firmware validated");
        self.parts.facts.validated = Some(true);
        if self.validation.succeeded() {
            self.tell(Command::Send(FromDevice::FirmwareValidated));
        }
        self.take(Input::Validated)
    }

    /// Gives the machine an input and does what it says, in its order.
    fn take(&mut self, input: Input) -> ControlFlow<End> {
        let mut effects = VecDeque::from(self.parts.machine.handle(input, clock::now()));
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Save(persisted) => {
                    if let Some(failed) = self.save(&persisted) {
                        effects = self.parts.machine.handle(failed, clock::now()).into();
                    }
                }
                Effect::Send(message) => self.tell(Command::Send(message)),
                Effect::Deliver(status) => self.tell(Command::Deliver(status)),
                Effect::Decide(offer, reschedules) => self.decide(*offer, reschedules),
                Effect::Start(offer) => self.start(&offer),
                Effect::Resume(url) => {
                    if let Some(attempt) = &self.attempt {
                        attempt.resume(url);
                    }
                }
                Effect::Rejoin => self.tell(Command::Rejoin),
                Effect::Reboot => return ControlFlow::Break(End::Reboot),
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
        let (policy, tasks) = (Arc::clone(&self.parts.policy), self.parts.sinks.tasks.clone());
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
            Arc::clone(&parts.tls.download),
            parts.sinks.attempt.clone(),
        ));
    }
}
