//! The topic `extensions`: who may use which, attached and detached while the link stands (device-link §3.5).

use muster_link::{Extension, ExtensionSet, Frame, FromExtensions, Names, Reply, ToExtensions};

use super::{Effect, Membership, Relay, Report, Session, belongs, send};

/// Where the topic stands.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    joined: Option<Membership>,
    /// What the device has.
    offered: ExtensionSet,
    /// What it may use.
    allowed: ExtensionSet,
    /// What it may use since operators switched while the link stands.
    switched: Option<ExtensionSet>,
    /// What runs on it.
    attached: ExtensionSet,
}

impl Extensions {
    /// Whether there was anything to leave.
    pub(super) fn leave(&mut self) -> bool {
        self.offered = ExtensionSet::default();
        self.attached = ExtensionSet::default();
        self.joined.take().is_some()
    }
}

impl Session {
    /// Answered with the names to attach: a list, not an object.
    pub(super) fn join_extensions(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        let FromExtensions::Join(offers) = FromExtensions::read(frame) else {
            return Vec::new();
        };
        let state = &mut self.extensions;
        state.joined = Some(Membership(frame.join_ref.clone()));
        state.offered = offers.usable();
        state.attached = ExtensionSet::default();
        let names = state.offered.and(state.allowed).names();
        self.answer(frame, Reply::Ok, &names)
    }

    pub(super) fn hear_extensions(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        let Some(joined) = &self.extensions.joined else {
            return Vec::new();
        };
        if !belongs(frame, joined.join_ref()) {
            return Vec::new();
        }
        let extension = FromExtensions::extension(frame);
        let Some(extension) = extension.filter(|extension| self.extensions.allowed.has(*extension)) else {
            return self.refuse(frame);
        };
        let said = FromExtensions::read(frame);
        match said {
            FromExtensions::Attached(_) => return self.attached(extension),
            FromExtensions::Detached(_) | FromExtensions::Error(..) => {
                self.extensions.attached.remove(extension);
                return Vec::new();
            }
            _ if !self.extensions.attached.has(extension) => return Vec::new(),
            _ => {}
        }
        let report = match said {
            FromExtensions::Health(report) => Report::Health(report),
            FromExtensions::Location(location) => Report::Location(location),
            FromExtensions::Identities(identities) => Report::Identities(identities),
            FromExtensions::Log(line) => Report::Log(line),
            FromExtensions::ShellStatus(_) | FromExtensions::ShellOutput(_) | FromExtensions::ShellExited(_) => {
                return vec![Effect::Relay(Relay::Shell(said))];
            }
            FromExtensions::RenewalRequest(csr) => return vec![Effect::Renew(csr)],
            _ => return Vec::new(),
        };
        vec![Effect::Report(report)]
    }

    /// The one reply to a push that there is: the text `detach`. Whoever says that it is stopped needs none.
    fn refuse(&self, frame: &Frame<'_>) -> Vec<Effect> {
        let event = frame.event.split_once(':').map(|(_, event)| event);
        match event {
            None | Some("detached" | "error") => Vec::new(),
            Some(_) if frame.reference.is_none() => Vec::new(),
            Some(_) => self.answer(frame, Reply::Error, &"detach"),
        }
    }

    /// An extension runs from now on: what a server asks of it at once.
    fn attached(&mut self, extension: Extension) -> Vec<Effect> {
        if self.extensions.attached.has(extension) {
            return Vec::new();
        }
        self.extensions.attached.insert(extension);
        let first = match extension {
            Extension::Health => ToExtensions::CheckHealth,
            Extension::Geo => ToExtensions::RequestLocation,
            Extension::LocalShell => ToExtensions::RequestShell,
            Extension::NetworkIdentity => ToExtensions::RequestIdentities,
            Extension::Logging | Extension::Renewal => return Vec::new(),
        };
        self.tell_extensions(&first)
    }

    /// Operators switched. What they said was read afterwards, and what a join is told may have been read before: from now
    /// on this counts, whatever the answer to a join says. Before the join there is silence.
    pub(super) fn switch(&mut self, extensions: ExtensionSet) -> Vec<Effect> {
        self.extensions.switched = Some(extensions);
        if self.is_joined() {
            self.allow(extensions)
        } else {
            Vec::new()
        }
    }

    /// The device joined, and may use these unless they were switched since.
    pub(super) fn allow_at_join(&mut self, read: ExtensionSet) -> Vec<Effect> {
        self.allow(self.extensions.switched.unwrap_or(read))
    }

    /// What was switched off is detached, what was switched on and the device has is attached.
    fn allow(&mut self, extensions: ExtensionSet) -> Vec<Effect> {
        let state = &mut self.extensions;
        let before = std::mem::replace(&mut state.allowed, extensions);
        if state.joined.is_none() {
            return Vec::new();
        }
        let off = state.offered.and(before).without(extensions);
        let on = state.offered.and(extensions).without(before);
        state.attached = state.attached.without(off);
        let mut effects = Vec::new();
        if !off.is_empty() {
            effects.extend(self.tell_extensions(&ToExtensions::Detach(Names::of(off))));
        }
        if !on.is_empty() {
            effects.extend(self.tell_extensions(&ToExtensions::Attach(Names::of(on))));
        }
        effects
    }

    /// Tells an extension that runs; one that does not is told nothing.
    pub(super) fn tell_extensions(&self, message: &ToExtensions) -> Vec<Effect> {
        let Some(joined) = &self.extensions.joined else {
            return Vec::new();
        };
        let of = match message {
            ToExtensions::CheckHealth => Some(Extension::Health),
            ToExtensions::RequestLocation => Some(Extension::Geo),
            ToExtensions::RequestShell
            | ToExtensions::ShellInput(_)
            | ToExtensions::ShellWindow { .. }
            | ToExtensions::KillShell(_) => Some(Extension::LocalShell),
            ToExtensions::RequestIdentities => Some(Extension::NetworkIdentity),
            ToExtensions::RenewalIssued(_) | ToExtensions::RenewalRefused(_) => Some(Extension::Renewal),
            ToExtensions::Attach(_) | ToExtensions::Detach(_) | ToExtensions::Unknown(_) => None,
        };
        if of.is_some_and(|extension| !self.extensions.attached.has(extension)) {
            return Vec::new();
        }
        send(message.encode(self.encoding, joined.join_ref()))
    }
}
