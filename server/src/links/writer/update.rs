//! The messages that tell a device of its update and of its archive.

use muster_link::{Archive, FirmwareMeta, ToDevice, Update};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::accounts::OrgId;
use crate::archives::Sent;
use crate::deployments::model::Told;
use crate::devices::DeviceId;
use crate::firmware::FirmwareId;
use crate::packages::{Holder, PackageUrls};

/// A time without a zone: UTC (device-link §4.9).
const NAIVE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// The message that tells a device of its group's archive, with a fresh URL.
pub(in crate::links) fn archive_message(
    urls: &PackageUrls,
    device: DeviceId,
    org: OrgId,
    sent: &Sent,
    now: OffsetDateTime,
) -> Box<Archive> {
    Box::new(Archive {
        uuid: sent.uuid.to_string(),
        version: sent.version.clone(),
        description: sent.description.clone(),
        platform: sent.platform.clone(),
        architecture: sent.architecture.clone(),
        size: u64::try_from(sent.size_bytes).ok(),
        uploaded_at: sent.uploaded_at.format(NAIVE).unwrap_or_default(),
        url: urls.sign(org, sent.id, Holder::Device(device.0), now),
    })
}

/// The message that tells a device of its update, with a fresh URL.
pub(in crate::links) fn update_message(urls: &PackageUrls, told: &Told, now: OffsetDateTime) -> ToDevice {
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
