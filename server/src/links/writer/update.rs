//! The message that tells a device of its update.

use muster_link::{FirmwareMeta, ToDevice, Update};
use time::OffsetDateTime;

use crate::deployments::model::Told;
use crate::firmware::{FirmwareId, FirmwareUrls, Holder};

/// The message that tells a device of its update, with a fresh URL.
pub(in crate::links) fn update_message(urls: &FirmwareUrls, told: &Told, now: OffsetDateTime) -> ToDevice {
    let holder = Holder::Device(told.device.0);
    let url = urls.sign(told.org, FirmwareId(told.firmware_id), holder, now);
    let checksum: String = told
        .sha256
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02X}"));
    ToDevice::Update(Box::new(Update {
        update_available: true,
        firmware_url: Some(url),
        firmware_meta: Some(FirmwareMeta {
            uuid: told.uuid.to_string(),
            product: told.product.clone(),
            platform: told.platform.clone(),
            architecture: told.architecture.clone(),
            version: told.version.clone(),
            author: told.author.clone(),
            description: told.description.clone(),
            misc: told.misc.clone(),
            vcs_identifier: told.vcs_identifier.clone(),
        }),
        size: u64::try_from(told.size_bytes).ok(),
        checksum: Some(checksum),
        partials_checksums: None,
        deployment_id: None,
    }))
}
