//! Network identities: the keys by which a device is reached in overlay networks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient;
use crate::limits::{DETAILS_MAX, IDENTITIES_MAX, IDENTITY_MAX};

/// An overlay network that Muster knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityService {
    /// iroh.
    Iroh,
    /// NetBird.
    Netbird,
    /// Tailscale.
    Tailscale,
    /// WireGuard.
    Wireguard,
}

impl IdentityService {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Iroh, Self::Netbird, Self::Tailscale, Self::Wireguard];

    /// The network of this word.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// The word on the wire and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iroh => "iroh",
            Self::Netbird => "netbird",
            Self::Tailscale => "tailscale",
            Self::Wireguard => "wireguard",
        }
    }
}

/// One key of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The network.
    pub service: IdentityService,
    /// The key, as the network writes it.
    pub identifier: String,
    /// Which of several of the same network.
    #[serde(default = "default_instance")]
    pub instance: String,
    /// What the device tells of it: a JSON object of at most [`DETAILS_MAX`] bytes.
    #[serde(default)]
    pub details: Value,
}

fn default_instance() -> String {
    "default".to_owned()
}

/// A report as it is on the wire: additive, never a replacement.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    #[serde(deserialize_with = "lenient::list::<_, _, IDENTITIES_MAX>")]
    identities: Vec<Identity>,
}

impl Report {
    /// Those within the limits; others, and those of unknown networks, are left out.
    pub(super) fn read(self) -> Vec<Identity> {
        let text = |text: &str| (1..=IDENTITY_MAX).contains(&text.len()) && !text.contains('\0');
        let mut identities = self.identities;
        identities.retain(|identity| text(&identity.identifier) && text(&identity.instance));
        for identity in &mut identities {
            let fits = identity.details.is_object() && identity.details.to_string().len() <= DETAILS_MAX;
            if !fits || identity.details.to_string().contains("\\u0000") {
                identity.details = Value::Object(serde_json::Map::new());
            }
        }
        identities
    }

    pub(super) fn of(identities: &[Identity]) -> Self {
        Self {
            identities: identities.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_bounded_and_unknown_networks_left_out() {
        let mut list = vec![
            serde_json::json!({ "service": "zerotier", "identifier": "x" }),
            serde_json::json!({ "service": "iroh", "identifier": "y".repeat(256) }),
            serde_json::json!({ "service": "wireguard", "identifier": "k", "details": { "note": "z".repeat(5000) } }),
            serde_json::json!({ "service": "netbird", "identifier": "k", "instance": "wt0", "details": [1] }),
        ];
        list.extend((0..20).map(|n| serde_json::json!({ "service": "tailscale", "identifier": format!("{n}") })));
        let report: Report = serde_json::from_value(serde_json::json!({ "identities": list })).unwrap();
        let read = report.read();
        assert!(read.len() <= IDENTITIES_MAX);
        assert_eq!(
            (read[0].service.name(), read[0].instance.as_str()),
            ("wireguard", "default")
        );
        assert_eq!(read[0].details, serde_json::json!({}));
        assert_eq!(read[1].details, serde_json::json!({}));
    }
}
