//! The topic `device`: the join, what follows it, and what the device reports (device-link §3.1 to §3.3).

use muster_link::{
    Archive, DeviceApiVersion, Frame, FromDevice, Join, PublicKeys, Ref, Reply, Script, StatusUpdate, ToConsole,
    ToDevice,
};
use serde_json::json;

use super::{Effect, Relay, Report, Session, Welcome, belongs, send};

/// Where the topic stands.
#[derive(Debug, Default)]
pub(super) enum Device {
    #[default]
    Absent,
    Joining(Box<Waiting>),
    Joined(Joined),
}

/// A join that waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    join_ref: Option<Ref>,
    reference: Option<Ref>,
    api: DeviceApiVersion,
    wants_firmware_keys: bool,
    wants_archive_keys: bool,
    /// An archive that came meanwhile: newer than what the answer knows.
    archive: Option<Box<Archive>>,
}

/// A join that was answered.
#[derive(Debug)]
pub(super) struct Joined {
    pub join_ref: Option<Ref>,
    pub api: DeviceApiVersion,
}

impl Device {
    pub(super) fn joined(&self) -> Option<&Joined> {
        match self {
            Self::Joined(joined) => Some(joined),
            Self::Absent | Self::Joining(_) => None,
        }
    }

    /// Whether there was anything to leave.
    pub(super) fn leave(&mut self) -> bool {
        !matches!(std::mem::take(self), Self::Absent)
    }

    /// The join that waits for its answer; the answer to one that was replaced or left finds none.
    fn answered(&mut self) -> Option<Waiting> {
        match std::mem::take(self) {
            Self::Joining(waiting) => Some(*waiting),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Session {
    pub(super) fn join_device(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        let FromDevice::Join(join) = FromDevice::read(frame) else {
            return Vec::new();
        };
        self.device = Device::Joining(Box::new(Waiting {
            join_ref: frame.join_ref.clone(),
            reference: frame.reference.clone(),
            api: DeviceApiVersion::parse(join.device_api_version.as_deref()),
            wants_firmware_keys: Join::wants_firmware_keys(&join),
            wants_archive_keys: Join::wants_archive_keys(&join),
            archive: None,
        }));
        vec![Effect::Join(join)]
    }

    /// The reply, and after it what the device is told, in the order of device-link §3.1.
    pub(super) fn joined(&mut self, welcome: Welcome) -> Vec<Effect> {
        let Some(mut waiting) = self.device.answered() else {
            return Vec::new();
        };
        let archive = waiting.archive.take().or(welcome.archive);
        let mut effects = self.reply_to_join(&waiting, Reply::Ok, &json!({}));
        let has_extensions = waiting.api.has_extensions();
        self.device = Device::Joined(Joined {
            join_ref: waiting.join_ref,
            api: waiting.api,
        });
        let keys = PublicKeys { keys: welcome.keys };
        if !keys.keys.is_empty() && waiting.wants_firmware_keys {
            effects.extend(self.tell_device(&ToDevice::FirmwareKeys(keys.clone())));
        }
        if !keys.keys.is_empty() && waiting.wants_archive_keys {
            effects.extend(self.tell_device(&ToDevice::ArchiveKeys(keys)));
        }
        if let Some(archive) = archive {
            effects.extend(self.tell_device(&ToDevice::Archive(archive)));
        }
        effects.extend(self.allow_at_join(welcome.extensions));
        if has_extensions {
            effects.extend(self.tell_device(&ToDevice::GetExtensions));
        }
        if let Some(update) = welcome.update {
            effects.extend(self.tell_device(&update));
        }
        effects.extend(self.run_connecting_code(welcome.connecting_code));
        effects
    }

    /// Devices that run no scripts get the code typed into their console, as soon as there is one.
    fn run_connecting_code(&mut self, code: String) -> Vec<Effect> {
        let runs_scripts = self.api().is_some_and(DeviceApiVersion::runs_scripts);
        self.forget_typing();
        if code.is_empty() {
            return Vec::new();
        }
        if runs_scripts {
            return self.tell_device(&ToDevice::RunScript(Script {
                text: code,
                reference: Script::CONNECTING_CODE.to_owned(),
                timeout: None,
            }));
        }
        self.type_into_console(ToConsole::Down(format!("{code}\n\r")))
    }

    pub(super) fn not_joined(&mut self) -> Vec<Effect> {
        match self.device.answered() {
            Some(waiting) => self.reply_to_join(&waiting, Reply::Error, &json!({ "error": "could not connect" })),
            None => Vec::new(),
        }
    }

    fn reply_to_join(&self, waiting: &Waiting, status: Reply, response: &serde_json::Value) -> Vec<Effect> {
        let (join_ref, reference) = (waiting.join_ref.as_ref(), waiting.reference.as_ref());
        send(self.encoding.reply(join_ref, reference, "device", status, response))
    }

    pub(super) fn hear_device(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        let Some(joined) = self.device.joined() else {
            return Vec::new();
        };
        if !belongs(frame, joined.join_ref.as_ref()) {
            return Vec::new();
        }
        let report = match FromDevice::read(frame) {
            FromDevice::Progress { stage, percent } => Report::Progress(stage, percent),
            FromDevice::Status(status) if !matches!(status, StatusUpdate::Unknown(_)) => Report::Status(status),
            FromDevice::FirmwareValidated => Report::Validated,
            FromDevice::NetworkInterface(interface) => Report::Interface(interface),
            FromDevice::ConnectionTypes(types) => Report::ConnectionTypes(types),
            FromDevice::Script(result) => return vec![Effect::Relay(Relay::Script(result))],
            FromDevice::Join(_) | FromDevice::Rebooting | FromDevice::Status(_) | FromDevice::Unknown => {
                return Vec::new();
            }
        };
        vec![Effect::Report(report)]
    }

    /// Keeps an archive for the device that is joining; `None` where it was kept.
    pub(super) fn keep_archive(&mut self, archive: Box<Archive>) -> Option<Box<Archive>> {
        match &mut self.device {
            Device::Joining(waiting) => {
                waiting.archive = Some(archive);
                None
            }
            Device::Absent | Device::Joined(_) => Some(archive),
        }
    }

    pub(super) fn tell_device(&self, message: &ToDevice) -> Vec<Effect> {
        let Some(joined) = self.device.joined() else {
            return Vec::new();
        };
        match message {
            ToDevice::Archive(_) if !joined.api.takes_archives() => Vec::new(),
            ToDevice::GetExtensions if !joined.api.has_extensions() => Vec::new(),
            ToDevice::RunScript(script) if !joined.api.runs_scripts() => {
                vec![Effect::Relay(Relay::NoScripts(script.reference.clone()))]
            }
            _ => send(message.encode(self.encoding, joined.join_ref.as_ref())),
        }
    }
}
