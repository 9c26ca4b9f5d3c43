//! What a device says: the join of a current NervesHubLink with every key of its active slot, heartbeats, and the answers
//! that a server waits for.

use std::collections::BTreeMap;

use muster_link::{DeviceApiVersion, FirmwareReport, FromDevice, Join, JoinMeta, Ref, StatusUpdate, Topic};
use serde_json::{Value, json};

use super::args::Run;

/// The join of a device that runs this firmware.
pub fn parameters(run: &Run) -> Join {
    let empty = || Some(String::new());
    let extra = [
        ("console_version", "2.0.0"),
        ("nerves_fw_application_part0_devpath", "/dev/mmcblk0p3"),
        ("nerves_fw_application_part0_fstype", "f2fs"),
        ("nerves_fw_application_part0_target", "/root"),
    ];
    Join {
        firmware: FirmwareReport {
            uuid: Some(run.firmware_uuid.clone()),
            product: Some(run.product.clone()),
            architecture: Some(run.architecture.clone()),
            version: Some(run.firmware_version.clone()),
            platform: Some(run.platform.clone()),
            author: empty(),
            description: empty(),
            vcs_identifier: Some("9c2e1d0".into()),
            misc: empty(),
        },
        fwup_version: Some("1.13.2".into()),
        device_api_version: Some(DeviceApiVersion::OURS.into()),
        currently_downloading_uuid: None,
        fwup_public_keys: Some(Join::ON_CONNECT.into()),
        archive_public_keys: Some(Join::ON_CONNECT.into()),
        meta: JoinMeta {
            firmware_validated: Some(true),
            firmware_auto_revert_detected: Some(false),
            firmware_reverted_uuid: None,
        },
        extra: BTreeMap::from(extra.map(|(key, value)| (key.to_owned(), value.to_owned()))),
    }
}

/// One link's counter of references: joins, pushes and heartbeats share it.
#[derive(Debug, Default)]
pub struct Voice {
    last: u64,
    device: u64,
    extensions: u64,
    reports_health: bool,
}

impl Voice {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A join of the topic `device`, and the reference that its reply carries.
    pub fn join(&mut self, join: &Join) -> anyhow::Result<(String, u64)> {
        self.device = self.next();
        let reference = Ref::from(self.device);
        let text = FromDevice::Join(Box::new(join.clone())).write(&reference, &reference)?;
        Ok((text, self.device))
    }

    /// A heartbeat, and the reference that its reply carries.
    pub fn heartbeat(&mut self) -> anyhow::Result<(String, u64)> {
        let reference = self.next();
        let text = muster_link::push(
            None,
            Some(&Ref::from(reference)),
            Topic::Phoenix,
            "heartbeat",
            &json!({}),
        )?;
        Ok((text, reference))
    }

    /// The interface that carries the link, told once after the join.
    pub fn interface(&mut self) -> anyhow::Result<String> {
        self.report(&FromDevice::NetworkInterface("eth0".into()))
    }

    /// An update was read.
    pub fn received(&mut self) -> anyhow::Result<String> {
        self.report(&FromDevice::Status(StatusUpdate::Received))
    }

    /// A reboot was read.
    pub fn rebooting(&mut self) -> anyhow::Result<String> {
        self.report(&FromDevice::Rebooting)
    }

    fn report(&mut self, message: &FromDevice) -> anyhow::Result<String> {
        let reference = Ref::from(self.next());
        Ok(message.write(&Ref::from(self.device), &reference)?)
    }

    /// A join of the topic `extensions`, which the server asked for.
    pub fn extensions(&mut self) -> anyhow::Result<String> {
        self.extensions = self.next();
        let reference = Ref::from(self.extensions);
        let offered = json!({ "health": "0.0.1", "geo": "0.0.1", "network_identity": "0.0.1" });
        let (join_ref, reference) = (Some(&reference), Some(&reference));
        Ok(muster_link::push(
            join_ref,
            reference,
            Topic::Extensions,
            "phx_join",
            &offered,
        )?)
    }

    /// The extensions that the server attached.
    pub fn attached(&mut self, response: &Value) -> anyhow::Result<Vec<String>> {
        self.reports_health = response
            .as_array()
            .is_some_and(|names| names.iter().any(|name| name == "health"));
        let names = response.as_array().into_iter().flatten().filter_map(Value::as_str);
        names
            .map(|name| {
                let (join_ref, reference) = (Ref::from(self.extensions), Ref::from(self.next()));
                let event = format!("{name}:attached");
                let (join_ref, reference) = (Some(&join_ref), Some(&reference));
                Ok(muster_link::push(
                    join_ref,
                    reference,
                    Topic::Extensions,
                    &event,
                    &json!({}),
                )?)
            })
            .collect()
    }

    /// A health report of the usual size, where the server attached that extension.
    pub fn health(&mut self) -> anyhow::Result<Option<String>> {
        if !self.reports_health {
            return Ok(None);
        }
        let (join_ref, reference) = (Ref::from(self.extensions), Ref::from(self.next()));
        let percent = || f64::from(rand::random_range(0..1000_u32)) / 10.0;
        let report = json!({ "value": {
            "timestamp": "2026-08-22T10:15:30.123456Z", "metadata": { "placement": "roof" },
            "alarms": { "NervesHubLink.UpdateInProgress": "[]" },
            "metrics": { "cpu_temp": percent(), "cpu_usage_percent": percent(), "load_1min": percent(), "load_5min": 0.4,
                "load_15min": 0.38, "mem_size_mb": 926, "mem_used_mb": 212, "mem_used_percent": percent(),
                "disk_total_kb": 28_000_000, "disk_available_kb": 26_040_000, "disk_used_percentage": 7 },
            "checks": { "rtc": { "pass": true, "note": "" } }, "connectivity": {} } });
        let (join_ref, reference) = (Some(&join_ref), Some(&reference));
        let text = muster_link::push(join_ref, reference, Topic::Extensions, "health:report", &report)?;
        Ok(Some(text))
    }
}
