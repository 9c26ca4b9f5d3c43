//! The typed messages of the topic `device` (device-link §3.2, §3.3, §4.3).

use serde::{Deserialize, Serialize};

use crate::frame::Head;
use crate::limits::CONNECTION_TYPES_MAX;
use crate::{
    Archive, Encoding, Frame, FrameError, Join, Message, PublicKeys, Ref, Script, ScriptResult, StatusUpdate, Topic,
    Update, lenient,
};

/// What an update is doing when it reports progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Bytes arrive and are kept.
    Downloading,
    /// Bytes are applied; while streaming also downloaded.
    Updating,
}

/// What a device says on its topic.
#[derive(Debug, Clone, PartialEq)]
pub enum FromDevice {
    /// The join.
    Join(Box<Join>),
    /// Progress in percent.
    Progress {
        /// The stage, if the device names one.
        stage: Option<Stage>,
        /// 0 to 100.
        percent: u8,
    },
    /// Where the device stands with its update.
    Status(StatusUpdate),
    /// The running firmware was found good and will not be reverted.
    FirmwareValidated,
    /// The device is about to reboot.
    Rebooting,
    /// The interface that carries the link.
    NetworkInterface(String),
    /// The kinds of connection that the device has.
    ConnectionTypes(Vec<String>),
    /// What became of a script.
    Script(ScriptResult),
    /// Something that this version does not know; it changes nothing.
    Unknown,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    #[serde(deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    stage: Option<Stage>,
    #[serde(deserialize_with = "lenient::count")]
    value: Option<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Interface {
    #[serde(deserialize_with = "lenient::text")]
    interface: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Types {
    #[serde(deserialize_with = "lenient::list::<_, _, CONNECTION_TYPES_MAX>")]
    values: Vec<String>,
}

/// A payload that says nothing.
#[derive(Debug, Serialize)]
pub(crate) struct Empty {}

impl FromDevice {
    /// Reads a frame of the topic `device`. A payload that does not fit its event is [`FromDevice::Unknown`], a join
    /// whose payload is no object is an empty join.
    pub fn read(frame: &Frame<'_>) -> Self {
        let payload = &frame.payload;
        match &*frame.event {
            "phx_join" => Self::Join(Box::new(payload.read().unwrap_or_default())),
            "fwup_progress" | "update_progress" => match payload.read() {
                Ok(Progress {
                    stage,
                    value: Some(value),
                }) => Self::Progress {
                    stage,
                    percent: value.min(100) as u8,
                },
                _ => Self::Unknown,
            },
            "status_update" => payload.read().map_or(Self::Unknown, Self::Status),
            "firmware_validated" => Self::FirmwareValidated,
            "rebooting" => Self::Rebooting,
            "report_network_interface" => match payload.read() {
                Ok(Interface {
                    interface: Some(interface),
                }) => Self::NetworkInterface(interface),
                _ => Self::Unknown,
            },
            "connection_types" => payload
                .read()
                .map_or(Self::Unknown, |Types { values }| Self::ConnectionTypes(values)),
            "scripts/run" => match payload.read_large::<ScriptResult>() {
                Ok(result) if !result.reference.is_empty() => Self::Script(result),
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    /// The message that a device sends.
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn encode(&self, encoding: Encoding, join_ref: &Ref, reference: &Ref) -> Result<Message, FrameError> {
        let head = Head {
            encoding,
            join_ref: Some(join_ref),
            reference: Some(reference),
            topic: Topic::Device,
        };
        match self {
            Self::Join(join) => head.put("phx_join", join),
            Self::Progress { stage, percent } => {
                let payload = Progress {
                    stage: *stage,
                    value: Some(u64::from(*percent)),
                };
                head.put("fwup_progress", &payload)
            }
            Self::Status(status) => head.put("status_update", status),
            Self::FirmwareValidated => head.put("firmware_validated", &Empty {}),
            Self::Rebooting => head.put("rebooting", &Empty {}),
            Self::NetworkInterface(interface) => {
                let payload = Interface {
                    interface: Some(interface.clone()),
                };
                head.put("report_network_interface", &payload)
            }
            Self::ConnectionTypes(values) => head.put("connection_types", &Types { values: values.clone() }),
            Self::Script(result) => head.put("scripts/run", result),
            Self::Unknown => head.put("unknown", &Empty {}),
        }
    }

    /// The JSON text that a device sends, for who speaks nothing else.
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn write(&self, join_ref: &Ref, reference: &Ref) -> Result<String, FrameError> {
        Ok(self.encode(Encoding::Json, join_ref, reference)?.into_text())
    }
}

/// What a server says on the topic `device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToDevice {
    /// Run this firmware.
    Update(Box<Update>),
    /// Keys for firmware, as the join asked.
    FirmwareKeys(PublicKeys),
    /// Keys for archives, as the join asked.
    ArchiveKeys(PublicKeys),
    /// Reboot now.
    Reboot,
    /// Make yourself seen, such as by blinking.
    Identify,
    /// Join the topic `extensions`.
    GetExtensions,
    /// Take this archive.
    Archive(Box<Archive>),
    /// Run this script.
    RunScript(Script),
    /// Something that this version does not know; it is ignored.
    Unknown(String),
}

impl ToDevice {
    /// Reads a push of the topic `device`. One whose payload does not fit is [`ToDevice::Unknown`].
    pub fn read(frame: &Frame<'_>) -> Self {
        let payload = &frame.payload;
        let unknown = || Self::Unknown(frame.event.to_string());
        match &*frame.event {
            "update" => payload
                .read_large()
                .map_or_else(|_| unknown(), |update| Self::Update(Box::new(update))),
            "fwup_public_keys" => payload.read().map_or_else(|_| unknown(), Self::FirmwareKeys),
            "archive_public_keys" => payload.read().map_or_else(|_| unknown(), Self::ArchiveKeys),
            "reboot" => Self::Reboot,
            "identify" => Self::Identify,
            "extensions:get" => Self::GetExtensions,
            "archive" => payload
                .read()
                .map_or_else(|_| unknown(), |archive| Self::Archive(Box::new(archive))),
            "scripts/run" => payload.read_large().map_or_else(|_| unknown(), Self::RunScript),
            _ => unknown(),
        }
    }

    /// The message that a server sends: never with a `ref` (device-link §2.1).
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn encode(&self, encoding: Encoding, join_ref: Option<&Ref>) -> Result<Message, FrameError> {
        let head = Head {
            encoding,
            join_ref,
            reference: None,
            topic: Topic::Device,
        };
        match self {
            Self::Update(update) => head.put("update", update),
            Self::FirmwareKeys(keys) => head.put("fwup_public_keys", keys),
            Self::ArchiveKeys(keys) => head.put("archive_public_keys", keys),
            Self::Reboot => head.put("reboot", &Empty {}),
            Self::Identify => head.put("identify", &Empty {}),
            Self::GetExtensions => head.put("extensions:get", &Empty {}),
            Self::Archive(archive) => head.put("archive", archive),
            Self::RunScript(script) => head.put("scripts/run", script),
            Self::Unknown(event) => head.put(event, &Empty {}),
        }
    }

    /// The JSON text that a server sends, for who speaks nothing else.
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn write(&self, join_ref: Option<&Ref>) -> Result<String, FrameError> {
        Ok(self.encode(Encoding::Json, join_ref)?.into_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FirmwareMeta;

    fn from_device(text: &str) -> FromDevice {
        FromDevice::read(&Frame::parse(text).unwrap())
    }

    #[test]
    fn progress_of_old_and_new_clients_is_read() {
        let old = from_device(r#"["1","6","device","fwup_progress",{"value":37}]"#);
        assert_eq!(
            old,
            FromDevice::Progress {
                stage: None,
                percent: 37
            }
        );
        let new = from_device(r#"["1","6","device","update_progress",{"stage":"downloading","value":101.5}]"#);
        assert_eq!(
            new,
            FromDevice::Progress {
                stage: Some(Stage::Downloading),
                percent: 100
            }
        );
        assert_eq!(
            from_device(r#"["1","6","device","fwup_progress",{"value":"x"}]"#),
            FromDevice::Unknown
        );
    }

    #[test]
    fn every_message_of_a_device_reads_back_as_it_was_written() {
        let one = Ref::from(1);
        for message in [
            FromDevice::Join(Box::default()),
            FromDevice::Progress {
                stage: Some(Stage::Updating),
                percent: 12,
            },
            FromDevice::Status(StatusUpdate::Failed {
                reason: "Download failed".into(),
            }),
            FromDevice::FirmwareValidated,
            FromDevice::Rebooting,
            FromDevice::NetworkInterface("eth0".into()),
            FromDevice::Unknown,
        ] {
            let text = message.write(&one, &one).unwrap();
            assert_eq!(from_device(&text), message, "{text}");
        }
    }

    #[test]
    fn every_push_reads_back_and_has_no_ref() {
        let update = Update {
            update_available: true,
            firmware_url: Some("https://host/f.fw?sig=1".into()),
            firmware_meta: Some(FirmwareMeta {
                uuid: "u".into(),
                ..FirmwareMeta::default()
            }),
            size: Some(7),
            checksum: None,
            partials_checksums: None,
            deployment_id: None,
        };
        for message in [
            ToDevice::Update(Box::new(update)),
            ToDevice::FirmwareKeys(PublicKeys { keys: vec!["k".into()] }),
            ToDevice::ArchiveKeys(PublicKeys::default()),
            ToDevice::Reboot,
            ToDevice::Identify,
            ToDevice::GetExtensions,
        ] {
            let text = message.write(Some(&Ref::from(1))).unwrap();
            assert!(text.starts_with(r#"["1",null,"device","#), "{text}");
            assert_eq!(ToDevice::read(&Frame::parse(&text).unwrap()), message);
        }
    }

    #[test]
    fn withdrawn_update_is_read() {
        let text = r#"[null,null,"device","update",{"update_available":false,"firmware_url":null,"firmware_meta":null,
            "size":null,"checksum":null,"partials_checksums":null,"deployment_id":null}]"#;
        let ToDevice::Update(update) = ToDevice::read(&Frame::parse(text).unwrap()) else {
            panic!()
        };
        assert!(!update.update_available);
    }
}
