//! The typed messages of the topic `device` (device-link §3.2, §3.3, §4.3).

use serde::{Deserialize, Serialize};

use crate::{Frame, FrameError, Join, Ref, StatusUpdate, Topic, lenient, push};

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

#[derive(Serialize)]
struct Empty {}

impl FromDevice {
    /// Reads a frame of the topic `device`. A payload that does not fit its event is [`FromDevice::Unknown`], a join
    /// whose payload is no object is an empty join.
    pub fn read(frame: &Frame<'_>) -> Self {
        let payload = frame.payload.get();
        match &*frame.event {
            "phx_join" => Self::Join(Box::new(serde_json::from_str(payload).unwrap_or_default())),
            "fwup_progress" | "update_progress" => match serde_json::from_str(payload) {
                Ok(Progress {
                    stage,
                    value: Some(value),
                }) => Self::Progress {
                    stage,
                    percent: value.min(100) as u8,
                },
                _ => Self::Unknown,
            },
            "status_update" => serde_json::from_str(payload).map_or(Self::Unknown, Self::Status),
            "firmware_validated" => Self::FirmwareValidated,
            "rebooting" => Self::Rebooting,
            "report_network_interface" => match serde_json::from_str(payload) {
                Ok(Interface {
                    interface: Some(interface),
                }) => Self::NetworkInterface(interface),
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    /// The text that a device sends.
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn write(&self, join_ref: &Ref, reference: &Ref) -> Result<String, FrameError> {
        let (join_ref, reference) = (Some(join_ref), Some(reference));
        match self {
            Self::Join(join) => push(join_ref, reference, Topic::Device, "phx_join", join),
            Self::Progress { stage, percent } => {
                let payload = Progress {
                    stage: *stage,
                    value: Some(u64::from(*percent)),
                };
                push(join_ref, reference, Topic::Device, "fwup_progress", &payload)
            }
            Self::Status(status) => push(join_ref, reference, Topic::Device, "status_update", status),
            Self::FirmwareValidated => push(join_ref, reference, Topic::Device, "firmware_validated", &Empty {}),
            Self::Rebooting => push(join_ref, reference, Topic::Device, "rebooting", &Empty {}),
            Self::NetworkInterface(interface) => {
                let payload = Interface {
                    interface: Some(interface.clone()),
                };
                push(join_ref, reference, Topic::Device, "report_network_interface", &payload)
            }
            Self::Unknown => push(join_ref, reference, Topic::Device, "unknown", &Empty {}),
        }
    }
}

/// The firmware that an update leads to, also when a delta is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FirmwareMeta {
    /// UUID of the target firmware.
    pub uuid: String,
    /// Product name.
    pub product: String,
    /// Board.
    pub platform: String,
    /// CPU architecture.
    pub architecture: String,
    /// Version.
    pub version: String,
    /// Free text.
    pub author: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Free text.
    pub misc: Option<String>,
    /// Free text, mostly a commit id.
    pub vcs_identifier: Option<String>,
}

/// The `update` push: run this firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// False, with everything else absent, when the update was withdrawn at the last moment.
    pub update_available: bool,
    /// Absolute http or https URL of the file.
    #[serde(default)]
    pub firmware_url: Option<String>,
    /// The target firmware.
    #[serde(default)]
    pub firmware_meta: Option<FirmwareMeta>,
    /// Size of the file at the URL, in bytes.
    #[serde(default, deserialize_with = "lenient::count")]
    pub size: Option<u64>,
    /// Upper-case hex SHA-256 of the file at the URL.
    #[serde(default, deserialize_with = "lenient::text")]
    pub checksum: Option<String>,
    /// Upper-case hex SHA-256 of each 1 MiB part of the file.
    #[serde(default)]
    pub partials_checksums: Option<Vec<String>>,
    /// Number of the deployment group, where servers number them.
    #[serde(default)]
    pub deployment_id: Option<u64>,
}

/// The org's signing keys in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKeys {
    /// Ed25519 public keys in base64.
    pub keys: Vec<String>,
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
    /// Something that this version does not know; it is ignored.
    Unknown(String),
}

impl ToDevice {
    /// Reads a push of the topic `device`. One whose payload does not fit is [`ToDevice::Unknown`].
    pub fn read(frame: &Frame<'_>) -> Self {
        let payload = frame.payload.get();
        let unknown = || Self::Unknown(frame.event.to_string());
        match &*frame.event {
            "update" => {
                serde_json::from_str(payload).map_or_else(|_| unknown(), |update| Self::Update(Box::new(update)))
            }
            "fwup_public_keys" => serde_json::from_str(payload).map_or_else(|_| unknown(), Self::FirmwareKeys),
            "archive_public_keys" => serde_json::from_str(payload).map_or_else(|_| unknown(), Self::ArchiveKeys),
            "reboot" => Self::Reboot,
            "identify" => Self::Identify,
            "extensions:get" => Self::GetExtensions,
            _ => unknown(),
        }
    }

    /// The text that a server sends: never with a `ref` (device-link §2.1).
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn write(&self, join_ref: Option<&Ref>) -> Result<String, FrameError> {
        match self {
            Self::Update(update) => push(join_ref, None, Topic::Device, "update", update),
            Self::FirmwareKeys(keys) => push(join_ref, None, Topic::Device, "fwup_public_keys", keys),
            Self::ArchiveKeys(keys) => push(join_ref, None, Topic::Device, "archive_public_keys", keys),
            Self::Reboot => push(join_ref, None, Topic::Device, "reboot", &Empty {}),
            Self::Identify => push(join_ref, None, Topic::Device, "identify", &Empty {}),
            Self::GetExtensions => push(join_ref, None, Topic::Device, "extensions:get", &Empty {}),
            Self::Unknown(event) => push(join_ref, None, Topic::Device, event, &Empty {}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
