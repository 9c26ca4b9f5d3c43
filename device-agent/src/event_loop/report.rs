//! What the agent says of the device and of itself: to the server, to people, to the service manager.

use std::collections::BTreeMap;

use muster_link::{DeviceApiVersion, Join, JoinMeta};
use serde_json::{Value, json};

use super::agent::{Agent, LinkState};
use crate::update::state::Phase;

impl Agent {
    /// What the device says of itself now (device-link §3.1).
    pub(super) fn join(&self) -> Join {
        let (firmware, extra) = self.parts.facts.report();
        let persisted = self.parts.machine.persisted();
        let reverted = persisted.reverted.is_some() || self.parts.facts.other_unvalidated;
        let unreported = persisted.reverted.as_ref().filter(|_| persisted.pending.is_some());
        Join {
            firmware,
            fwup_version: Some(muster_fwup::FWUP_VERSION.to_owned()),
            device_api_version: Some(DeviceApiVersion::OURS.to_owned()),
            currently_downloading_uuid: self.parts.machine.busy_uuid().map(str::to_owned),
            meta: JoinMeta {
                firmware_validated: self.parts.facts.validated,
                firmware_auto_revert_detected: Some(reverted),
                firmware_reverted_uuid: unreported.map(|reverted| reverted.uuid.clone()),
            },
            extra,
            ..Join::default()
        }
    }

    /// What stands in a health report as alarms: names, the first two NervesHub's own, and descriptions.
    pub(super) fn alarms(&self) -> BTreeMap<String, String> {
        let machine = &self.parts.machine;
        let reverted = machine.persisted().reverted.as_ref();
        let alarms = [
            ("NervesHubLink.UpdateInProgress", machine.busy_uuid().map(str::to_owned)),
            (
                "NervesHubLink.FirmwareReverted",
                reverted.map(|reverted| reverted.reason.clone()),
            ),
            (
                "Muster.CertificateEnds",
                self.certificate_ends.then(|| "nobody renews it".to_owned()),
            ),
        ];
        let set = |(name, text): (&str, Option<String>)| text.map(|text| (name.to_owned(), text));
        alarms.into_iter().filter_map(set).collect()
    }

    /// How the agent is, for the control socket.
    pub(super) fn status(&self) -> Value {
        let (parts, facts) = (&self.parts, &self.parts.facts);
        let persisted = parts.machine.persisted();
        let (link, reason) = match &self.link_state {
            LinkState::Down(reason) => ("down", reason.as_deref()),
            LinkState::Open => ("open", None),
            LinkState::Joined => ("joined", None),
        };
        json!({
            "agent": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "identifier": parts.settings.identity.identifier,
            "server": parts.settings.server.url.to_string(),
            "link": { "state": link, "reason": reason },
            "firmware": {
                "slot": facts.slot,
                "uuid": facts.uuid(),
                "version": facts.version(),
                "validated": facts.validated,
            },
            "update": persisted,
            "certificate": parts.renewal.as_ref().map(|renewal| json!({
                "expires": renewal.expires(),
                "ends_soon": self.certificate_ends,
            })),
            "archive": parts.archives.last(),
        })
    }

    /// One line for the service manager.
    pub(super) fn tell_status(&mut self) {
        let link = match &self.link_state {
            LinkState::Down(None) => "connecting".to_owned(),
            LinkState::Down(Some(reason)) => format!("not connected: {reason}"),
            LinkState::Open => "connected, not joined yet".to_owned(),
            LinkState::Joined => "connected".to_owned(),
        };
        let update = match &self.parts.machine.persisted().phase {
            Phase::Idle => String::new(),
            phase => format!(", update {}", phase.name()),
        };
        let text = format!("{link}, firmware {}{update}", self.parts.facts.version());
        self.parts.notify.status(&text);
    }
}
