//! Archives that are sent while the link stands: news says who may be due one, the database says who is, and each of those
//! is told where to fetch it (device-link §4.9). At a join the writer tells it.

use std::collections::{BTreeMap, BTreeSet};

use super::registry::Registry;
use super::writer::archive_message;
use crate::deployments::{GroupId, service as deployments};
use crate::devices::DeviceId;
use crate::packages::PackageUrls;
use crate::platform::Platform;
use crate::platform::events::{Event, kind};
use crate::platform::sweep::Sweep;
use crate::products::ProductId;
use muster_link::ToDevice;

/// Devices asked for in one statement.
const BATCH: usize = 1024;

/// Who may be due an archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Devices here that were changed, came into a group, or are no longer left alone.
    devices: BTreeSet<DeviceId>,
    /// Groups whose release has another archive, by their products.
    groups: BTreeMap<ProductId, BTreeSet<GroupId>>,
}

impl Due {
    pub(super) fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.groups.is_empty()
    }

    /// Notes what a piece of news means for the links of this node.
    pub(super) fn hear(&mut self, event: &Event, registry: &Registry) {
        let (device, product) = (DeviceId(event.subject_id), event.product_id.map(ProductId));
        match (event.kind.as_str(), product) {
            (kind::EDITED | kind::ELIGIBLE, _) if registry.has(device) => drop(self.devices.insert(device)),
            (kind::ARCHIVE_RELEASED, Some(product)) => {
                self.groups
                    .entry(product)
                    .or_default()
                    .insert(GroupId(event.subject_id));
            }
            _ => {}
        }
    }

    /// Tells those that are due their archive; who was told is forgotten.
    pub(super) async fn tell(
        &mut self,
        platform: &Platform,
        proof: Sweep,
        registry: &Registry,
        urls: &PackageUrls,
    ) -> sqlx::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let devices: Vec<DeviceId> = self.devices.iter().copied().collect();
        let mut asked: Vec<(Vec<DeviceId>, Option<Vec<GroupId>>)> = vec![(devices, None)];
        for (product, groups) in &self.groups {
            let groups = groups.iter().copied().collect();
            asked.push((registry.devices_of(*product), Some(groups)));
        }
        let mut conn = platform.db.acquire().await?;
        let mut told = BTreeSet::new();
        for (devices, groups) in &asked {
            for devices in devices.chunks(BATCH) {
                let due = deployments::archives_due(&mut conn, platform, proof, devices, groups.as_deref()).await?;
                let now = platform.clock.now();
                for (device, org, sent) in due {
                    if told.insert(device) {
                        let archive = archive_message(urls, device, org, &sent, now);
                        registry.tell(device, ToDevice::Archive(archive).into());
                    }
                }
            }
        }
        if !told.is_empty() {
            tracing::info!(devices = told.len(), "devices told of their archive");
        }
        *self = Self::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
