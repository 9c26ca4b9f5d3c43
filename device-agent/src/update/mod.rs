//! Updates: one at a time, written down before each step, verified with the agent's own keys.
//!
//! [`machine`] decides and does nothing; [`state`] is what survives a power cut; [`attempt`] downloads and applies: at the
//! same time, the bytes flowing from one to the other, or one after the other by way of a [`cache`] on the disk.

pub mod apply;
pub mod attempt;
pub mod cache;
pub mod download;
pub mod fetch;
pub mod machine;
mod progress;
pub mod resolve;
pub mod state;

use muster_link::Update;

/// An update that a server told and that can be considered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// The firmware that it leads to.
    pub uuid: String,
    /// Its version.
    pub version: String,
    /// Its product.
    pub product: String,
    /// Its platform.
    pub platform: String,
    /// Its architecture.
    pub architecture: String,
    /// Where the file is.
    pub url: String,
    /// How many bytes it has, if the server knows.
    pub size: Option<u64>,
    /// Its SHA-256 in hex, if the server knows.
    pub checksum: Option<String>,
    /// The SHA-256 of each of its parts in hex; empty if the server does not know.
    pub part_checksums: Vec<String>,
}

impl Offer {
    /// The offer in an `update` push, unless that was withdrawn or lacks what is needed (device-link §4.3).
    pub fn read(update: Update) -> Option<Self> {
        let (Some(url), Some(meta)) = (update.firmware_url, update.firmware_meta) else {
            return None;
        };
        if !update.update_available || url.is_empty() || meta.uuid.is_empty() {
            return None;
        }
        Some(Self {
            uuid: meta.uuid,
            version: meta.version,
            product: meta.product,
            platform: meta.platform,
            architecture: meta.architecture,
            url,
            size: update.size,
            checksum: update.checksum.filter(|checksum| !checksum.is_empty()),
            part_checksums: update.partials_checksums.unwrap_or_default(),
        })
    }
}
