//! What a server tells a device to fetch: firmware and archives, and the keys that they are checked by
//! (device-link §4.3, §4.8, §4.9).

use serde::{Deserialize, Deserializer, Serialize};

use crate::lenient;
use crate::limits::{KEYS_MAX, PARTS_MAX};

/// The firmware that an update leads to, also when a delta is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FirmwareMeta {
    /// UUID of the target firmware.
    #[serde(deserialize_with = "lenient::or_default")]
    pub uuid: String,
    /// Product name.
    #[serde(deserialize_with = "lenient::or_default")]
    pub product: String,
    /// Board.
    #[serde(deserialize_with = "lenient::or_default")]
    pub platform: String,
    /// CPU architecture.
    #[serde(deserialize_with = "lenient::or_default")]
    pub architecture: String,
    /// Version.
    #[serde(deserialize_with = "lenient::or_default")]
    pub version: String,
    /// Free text.
    #[serde(deserialize_with = "lenient::prose")]
    pub author: Option<String>,
    /// Free text.
    #[serde(deserialize_with = "lenient::prose")]
    pub description: Option<String>,
    /// Free text.
    #[serde(deserialize_with = "lenient::prose")]
    pub misc: Option<String>,
    /// Free text, mostly a commit id.
    #[serde(deserialize_with = "lenient::prose")]
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
    #[serde(default, deserialize_with = "parts")]
    pub partials_checksums: Option<Vec<String>>,
    /// Number of the deployment group, where servers number them.
    #[serde(default, deserialize_with = "lenient::count")]
    pub deployment_id: Option<u64>,
}

/// The org's signing keys in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKeys {
    /// Ed25519 public keys in base64, at most [`KEYS_MAX`].
    #[serde(default, deserialize_with = "lenient::list::<_, _, KEYS_MAX>")]
    pub keys: Vec<String>,
}

/// An archive beside the firmware of the device's group; sent anew after every join.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Archive {
    /// UUID of the archive.
    #[serde(deserialize_with = "lenient::or_default")]
    pub uuid: String,
    /// Its version.
    #[serde(deserialize_with = "lenient::or_default")]
    pub version: String,
    /// Free text.
    #[serde(deserialize_with = "lenient::prose")]
    pub description: Option<String>,
    /// Board.
    #[serde(deserialize_with = "lenient::or_default")]
    pub platform: String,
    /// CPU architecture.
    #[serde(deserialize_with = "lenient::or_default")]
    pub architecture: String,
    /// Size in bytes.
    #[serde(deserialize_with = "lenient::count")]
    pub size: Option<u64>,
    /// When it was uploaded, in UTC and without a zone.
    #[serde(deserialize_with = "lenient::or_default")]
    pub uploaded_at: String,
    /// Absolute URL, good for an hour.
    #[serde(deserialize_with = "lenient::or_default")]
    pub url: String,
}

/// Checksums of more parts than [`PARTS_MAX`] are as good as none: the whole file has one too.
fn parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let parts: Option<Vec<String>> = lenient::or_default(deserializer)?;
    Ok(parts.filter(|parts| parts.len() <= PARTS_MAX))
}
