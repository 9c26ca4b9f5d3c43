//! What comes over the link: where each message goes.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_link::{Archive, FromDevice, Push, Script, ToConsole, ToDevice, ToExtensions, Topic};
use tokio::time::Instant;

use super::End;
use super::agent::{Agent, LinkState};
use crate::extensions::Task;
use crate::link;
use crate::net::interface;
use crate::update::machine::Input;

/// Where no interface has the link's address, it is looked for again after this (device-link §5.2).
const INTERFACE_AGAIN: Duration = Duration::from_mins(1);

/// The connection that stands.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// The device's own address on it.
    local: Option<IpAddr>,
    /// The file of the certificate that proved it.
    pub(super) cert: Option<Arc<Path>>,
}

impl Agent {
    pub(super) fn link_event(&mut self, event: link::Event) -> ControlFlow<End> {
        match event {
            link::Event::NotOpened(reason) => {
                self.link_is(LinkState::Down(Some(reason)));
                self.certificate_failed();
            }
            link::Event::Opened { local, cert } => self.connection = Connection { local, cert },
            link::Event::NeedJoin(topic) => self.need_join(topic),
            link::Event::Joined(Topic::Device) => return self.joined(),
            link::Event::Joined(topic) => tracing::info!(topic = topic.name(), "topic joined"),
            link::Event::Lost(reason) => {
                self.link_is(LinkState::Down(Some(reason)));
                self.validation.lost();
                self.parts.machine.lost();
                self.interface_due = None;
                if let Some(online) = &mut self.online {
                    online.extensions.lost();
                }
            }
            link::Event::Delivered => return self.take(Input::Delivered),
            link::Event::Push(Push::Device(message)) => return self.told(message),
            link::Event::Push(Push::Console(message)) => self.console_told(message),
            link::Event::Push(Push::Extensions(message)) => self.extension_told(message),
        }
        ControlFlow::Continue(())
    }

    fn link_is(&mut self, state: LinkState) {
        self.link_state = state;
        self.tell_status();
    }

    fn need_join(&mut self, topic: Topic) {
        if topic == Topic::Device {
            self.link_is(LinkState::Open);
            let join = self.join();
            self.validation.told(join.meta.firmware_validated);
            self.say(FromDevice::Join(Box::new(join)));
        } else if let Some(join) = self.online.as_ref().and_then(|online| online.join(topic)) {
            self.say(join);
        }
    }

    fn joined(&mut self) -> ControlFlow<End> {
        tracing::info!("joined");
        let now = Instant::now();
        self.link_is(LinkState::Joined);
        self.certificate_joined(now);
        self.report_interface(now);
        let types = self.parts.settings.agent.connection_types.clone();
        if !types.is_empty() {
            self.say(FromDevice::ConnectionTypes(types));
        }
        self.validation.joined(now);
        self.check_health(now);
        self.take(Input::Joined)
    }

    pub(super) fn report_interface(&mut self, now: Instant) {
        let name = self.connection.local.and_then(interface::of);
        self.interface_due = name.is_none().then_some(now + INTERFACE_AGAIN);
        if let Some(name) = name {
            self.say(FromDevice::NetworkInterface(name));
        }
    }

    fn told(&mut self, message: ToDevice) -> ControlFlow<End> {
        match message {
            ToDevice::Update(update) => {
                let uuid = update.firmware_meta.as_ref().map(|meta| meta.uuid.as_str());
                tracing::info!(
                    update.uuid = uuid,
                    update.available = update.update_available,
                    "update told"
                );
                return self.take(Input::Told(update));
            }
            ToDevice::Reboot => return self.take(Input::RebootAsked),
            ToDevice::Identify => self.identify(),
            ToDevice::GetExtensions => self.need_join(Topic::Extensions),
            ToDevice::Archive(archive) => self.archive_told(*archive),
            ToDevice::RunScript(script) => self.script_told(script),
            // The agent trusts its own keys only.
            ToDevice::FirmwareKeys(_) | ToDevice::ArchiveKeys(_) => {}
            ToDevice::Unknown(event) => tracing::debug!(event, "unknown push ignored"),
        }
        ControlFlow::Continue(())
    }

    fn archive_told(&mut self, archive: Archive) {
        let (tls, hooks) = (
            Arc::clone(&self.parts.identity.download),
            Arc::clone(&self.parts.custom.hooks),
        );
        let ended = self.parts.sinks.archives.clone();
        self.parts.archives.told(archive, tls, hooks, ended);
    }

    fn script_told(&self, script: Script) {
        if let Some(online) = &self.online {
            self.parts.scripts.run(script, online.voice());
        }
    }

    fn console_told(&self, message: ToConsole) {
        if let Some(console) = self.online.as_ref().and_then(|online| online.console.as_ref()) {
            console.told(message);
        }
    }

    fn extension_told(&mut self, message: ToExtensions) {
        let alarms = self.alarms();
        let Some(online) = &mut self.online else {
            return;
        };
        let (answers, task) = online.extensions.told(message, alarms);
        for answer in answers {
            self.say(answer);
        }
        match task {
            None => {}
            Some(Task::RenewalOffered) => self.ask_certificate(),
            Some(Task::RenewalIssued(pem)) => self.certificate_issued(&pem),
            Some(Task::RenewalRefused(reason)) => tracing::warn!(reason, "server renews the certificate not"),
        }
    }
}
