//! The topic `extensions` (device-link §3.5): what the configuration switches on is offered, what the server attaches runs,
//! and an error in one leaves the others alone.

pub mod geo;
pub mod health;
pub mod logging;
mod shell;

use std::collections::BTreeMap;

use muster_link::{Extension, ExtensionSet, FromExtensions, Identity, Names, Offers, ToExtensions};
use tokio::task::JoinHandle;

use self::geo::GeoSettings;
use self::health::Reporter;
use self::logging::Valve;
use self::shell::LocalShell;
use crate::clock;
use crate::link::Voice;

/// What is offered to the server.
#[derive(Debug, Clone, Default)]
pub struct ExtensionSettings {
    /// Whether, and with what, health is reported.
    pub health: Option<Reporter>,
    /// How the place is found, if it is told.
    pub geo: Option<GeoSettings>,
    /// The shell of `local_shell`, if there is one.
    pub local_shell: Option<Vec<String>>,
    /// Whether the agent's log is sent.
    pub logging: bool,
    /// The device's keys in overlay networks.
    pub identities: Vec<Identity>,
    /// Whether certificates are renewed.
    pub renewal: bool,
}

/// What the agent has to do itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// The server renews certificates.
    RenewalOffered,
    /// The new certificate, in PEM.
    RenewalIssued(String),
    /// There is none, for this reason.
    RenewalRefused(String),
}

/// The extensions of one link.
#[derive(Debug)]
pub struct Extensions {
    settings: ExtensionSettings,
    voice: Voice,
    attached: ExtensionSet,
    shell: LocalShell,
    logging: Option<JoinHandle<()>>,
}

impl Extensions {
    /// None is attached yet.
    pub fn new(settings: ExtensionSettings, voice: Voice) -> Self {
        Self {
            shell: LocalShell::new(settings.local_shell.clone().unwrap_or_default(), voice.clone()),
            settings,
            voice,
            attached: ExtensionSet::default(),
            logging: None,
        }
    }

    fn offered(&self) -> ExtensionSet {
        let settings = &self.settings;
        let on = |extension: &Extension| match extension {
            Extension::Health => settings.health.is_some(),
            Extension::Geo => settings.geo.is_some(),
            Extension::LocalShell => settings.local_shell.is_some(),
            Extension::Logging => settings.logging,
            Extension::NetworkIdentity => !settings.identities.is_empty(),
            Extension::Renewal => settings.renewal,
        };
        Extension::ALL.into_iter().filter(on).collect()
    }

    /// What the join of the topic offers; none where nothing is switched on.
    pub fn join(&self) -> Option<FromExtensions> {
        let offered = self.offered();
        (offered.iter().next().is_some()).then(|| FromExtensions::Join(Offers::of(offered)))
    }

    /// Whether the server has attached it.
    pub fn has(&self, extension: Extension) -> bool {
        self.attached.has(extension)
    }

    /// The link is gone, and with it whatever was attached.
    pub fn lost(&mut self) {
        for extension in self.attached.iter() {
            self.stop(extension);
        }
        self.attached = ExtensionSet::default();
    }

    /// The server says this; gives what is to be answered at once, and what the agent has to do. `alarms` stand in a health
    /// report.
    pub fn told(
        &mut self,
        message: ToExtensions,
        alarms: BTreeMap<String, String>,
    ) -> (Vec<FromExtensions>, Option<Task>) {
        let has = |extension: Extension| self.has(extension);
        match message {
            ToExtensions::Attach(names) => return self.attach(&names),
            ToExtensions::Detach(names) => return (self.detach(&names), None),
            ToExtensions::CheckHealth if has(Extension::Health) => self.report_health(alarms),
            ToExtensions::RequestLocation if has(Extension::Geo) => self.locate(),
            ToExtensions::RequestIdentities if has(Extension::NetworkIdentity) => {
                return (vec![FromExtensions::Identities(self.settings.identities.clone())], None);
            }
            ToExtensions::RequestShell if has(Extension::LocalShell) => return (vec![self.shell.request()], None),
            ToExtensions::ShellInput(text) if has(Extension::LocalShell) => self.shell.input(text),
            ToExtensions::ShellWindow { rows, cols } if has(Extension::LocalShell) => self.shell.resize(rows, cols),
            ToExtensions::KillShell(signal) if has(Extension::LocalShell) => self.shell.kill(signal),
            ToExtensions::RenewalIssued(pem) if has(Extension::Renewal) => {
                return (Vec::new(), Some(Task::RenewalIssued(pem)));
            }
            ToExtensions::RenewalRefused(reason) if has(Extension::Renewal) => {
                return (Vec::new(), Some(Task::RenewalRefused(reason)));
            }
            other => tracing::debug!(message = ?other, "message for an extension ignored"),
        }
        (Vec::new(), None)
    }

    fn attach(&mut self, names: &Names) -> (Vec<FromExtensions>, Option<Task>) {
        let mut task = None;
        let mut answers = Vec::new();
        for extension in self.meant(names, self.offered()).iter() {
            if !self.attached.has(extension) {
                tracing::info!(extension = extension.name(), "extension attached");
                self.attached.insert(extension);
                self.start(extension);
            }
            if extension == Extension::Renewal {
                task = Some(Task::RenewalOffered);
            }
            answers.push(FromExtensions::Attached(extension));
        }
        (answers, task)
    }

    fn detach(&mut self, names: &Names) -> Vec<FromExtensions> {
        let mut answers = Vec::new();
        for extension in self.meant(names, self.attached).iter() {
            tracing::info!(extension = extension.name(), "extension detached");
            self.stop(extension);
            self.attached.remove(extension);
            answers.push(FromExtensions::Detached(extension));
        }
        answers
    }

    /// Of these extensions, those that are named.
    fn meant(&self, names: &Names, among: ExtensionSet) -> ExtensionSet {
        match names {
            Names::All => among,
            Names::These(names) => {
                let named = names.iter().filter_map(|name| Extension::named(name));
                named.collect::<ExtensionSet>().and(among)
            }
        }
    }

    fn start(&mut self, extension: Extension) {
        if extension == Extension::Logging {
            let (mut lines, voice) = (Valve::global().open(), self.voice.clone());
            self.logging = Some(tokio::spawn(async move {
                while let Some(line) = lines.recv().await {
                    voice.say(FromExtensions::Log(Box::new(line))).await;
                }
            }));
        }
    }

    fn stop(&mut self, extension: Extension) {
        match extension {
            Extension::LocalShell => self.shell.stop(),
            Extension::Logging => {
                Valve::global().close();
                if let Some(task) = self.logging.take() {
                    task.abort();
                }
            }
            Extension::Health | Extension::Geo | Extension::NetworkIdentity | Extension::Renewal => {}
        }
    }

    fn report_health(&self, alarms: BTreeMap<String, String>) {
        let (voice, reporter) = (self.voice.clone(), self.settings.health.clone().unwrap_or_default());
        tokio::spawn(async move {
            let report = health::report(reporter, alarms, clock::now()).await;
            voice.say(FromExtensions::Health(Box::new(report))).await;
        });
    }

    fn locate(&self) {
        let Some(settings) = self.settings.geo.clone() else {
            return;
        };
        let voice = self.voice.clone();
        tokio::spawn(async move {
            let location = geo::locate(settings).await;
            voice.say(FromExtensions::Location(location)).await;
        });
    }
}

impl Drop for Extensions {
    fn drop(&mut self) {
        self.lost();
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
