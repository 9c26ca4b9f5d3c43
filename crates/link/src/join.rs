//! What a device says of itself when it joins the topic `device` (device-link §3.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lenient;

/// The parameters of a join: the device's running firmware and what it wants.
///
/// A device sends every key of its active slot; what is not named here is kept only when we are the sender.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Join {
    /// The running firmware, by the keys of the active slot.
    #[serde(flatten)]
    pub firmware: FirmwareReport,
    /// The device's fwup level; gates delta updates.
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub fwup_version: Option<String>,
    /// Protocol level, see [`crate::DeviceApiVersion`].
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub device_api_version: Option<String>,
    /// UUID of the firmware that is being downloaded or applied now, if any.
    #[serde(deserialize_with = "lenient::text")]
    pub currently_downloading_uuid: Option<String>,
    /// `"on_connect"`: send the org's firmware signing keys after the join.
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub fwup_public_keys: Option<String>,
    /// `"on_connect"`: send the org's archive signing keys after the join.
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub archive_public_keys: Option<String>,
    /// Validation and revert.
    #[serde(deserialize_with = "lenient::or_default")]
    pub meta: JoinMeta,
    /// Further keys of the active slot, sent by an agent and ignored by the server.
    #[serde(flatten, skip_deserializing)]
    pub extra: BTreeMap<String, String>,
}

/// Validation and revert, as the device sees them; absent before NervesHubLink 2.8.1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinMeta {
    /// Whether the running firmware was validated; absent means unknown.
    #[serde(deserialize_with = "lenient::flag", skip_serializing_if = "Option::is_none")]
    pub firmware_validated: Option<bool>,
    /// Whether the bootloader went back to this firmware from another one.
    #[serde(deserialize_with = "lenient::flag", skip_serializing_if = "Option::is_none")]
    pub firmware_auto_revert_detected: Option<bool>,
    /// UUID of the firmware that the bootloader just went back from, until that was reported. A field of ours, which
    /// others ignore: it tells a revert of this update from an older one.
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    pub firmware_reverted_uuid: Option<String>,
}

/// The keys of the active slot that describe the running firmware.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FirmwareReport {
    /// UUID of the running firmware.
    #[serde(
        rename = "nerves_fw_uuid",
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub uuid: Option<String>,
    /// Product name inside the firmware.
    #[serde(
        rename = "nerves_fw_product",
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub product: Option<String>,
    /// CPU architecture, such as `arm`.
    #[serde(
        rename = "nerves_fw_architecture",
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub architecture: Option<String>,
    /// Version, mostly SemVer.
    #[serde(
        rename = "nerves_fw_version",
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<String>,
    /// Board, such as `rpi4`.
    #[serde(
        rename = "nerves_fw_platform",
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub platform: Option<String>,
    /// Free text.
    #[serde(
        rename = "nerves_fw_author",
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub author: Option<String>,
    /// Free text.
    #[serde(
        rename = "nerves_fw_description",
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub description: Option<String>,
    /// Free text, mostly a commit id.
    #[serde(
        rename = "nerves_fw_vcs_identifier",
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub vcs_identifier: Option<String>,
    /// Free text.
    #[serde(
        rename = "nerves_fw_misc",
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub misc: Option<String>,
}

impl Join {
    /// The value that asks for keys.
    pub const ON_CONNECT: &'static str = "on_connect";

    /// Whether the device wants the firmware signing keys.
    pub fn wants_firmware_keys(&self) -> bool {
        self.fwup_public_keys.as_deref() == Some(Self::ON_CONNECT)
    }

    /// Whether the device wants the archive signing keys.
    pub fn wants_archive_keys(&self) -> bool {
        self.archive_public_keys.as_deref() == Some(Self::ON_CONNECT)
    }

    /// The update that the device says it is busy with, if any.
    pub fn busy_with(&self) -> Option<&str> {
        self.currently_downloading_uuid
            .as_deref()
            .filter(|uuid| !uuid.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::Join;

    #[test]
    fn join_of_a_real_device_is_read() {
        let join: Join = serde_json::from_str(
            r#"{"archive_public_keys":"on_connect","console_version":"2.0.0","currently_downloading_uuid":null,
            "device_api_version":"2.3.0","fwup_public_keys":"on_connect","fwup_version":"1.16.0",
            "meta":{"firmware_auto_revert_detected":false,"firmware_validated":true},"nerves_fw_architecture":"x86_64",
            "nerves_fw_author":"harness","nerves_fw_platform":"x86_64","nerves_fw_product":"acme",
            "nerves_fw_uuid":"8a8b902c-d1a9-58aa-6111-04ab57c2f2a8","nerves_fw_version":"0.1.0"}"#,
        )
        .unwrap();
        assert_eq!(join.firmware.version.as_deref(), Some("0.1.0"));
        assert!(join.wants_firmware_keys() && join.wants_archive_keys());
        assert_eq!(join.meta.firmware_validated, Some(true));
        assert_eq!(join.busy_with(), None);
    }

    #[test]
    fn odd_fields_count_as_absent_and_never_refuse_the_join() {
        let join: Join = serde_json::from_str(
            r#"{"nerves_fw_uuid":7,"meta":"yes","currently_downloading_uuid":"","fwup_version":[]}"#,
        )
        .unwrap();
        assert_eq!(
            join,
            Join {
                currently_downloading_uuid: Some(String::new()),
                ..Join::default()
            }
        );
        assert_eq!(join.busy_with(), None);
    }

    #[test]
    fn an_agent_sends_every_key_of_its_slot() {
        let mut join = Join::default();
        join.extra
            .insert("nerves_fw_application_part0_fstype".into(), "f2fs".into());
        let text = serde_json::to_string(&join).unwrap();
        assert!(
            text.contains(r#""nerves_fw_application_part0_fstype":"f2fs""#),
            "{text}"
        );
        assert!(text.contains(r#""currently_downloading_uuid":null"#), "{text}");
    }
}
