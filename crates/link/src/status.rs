//! `status_update`: where a device stands with an update (device-link §4.4).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lenient;
use crate::limits::DELAY_MAX;

/// A `delay_for` below this is minutes, from it on milliseconds: clients send minutes, servers read milliseconds.
const DELAY_FOR_MILLISECONDS_FROM: u64 = 100_000;
/// The smallest `delay_for` that our agent sends, in milliseconds: right on a server that reads milliseconds.
const DELAY_FOR_MIN_MS: u64 = 300_000;

/// What a device says of the update it was told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Wire", into = "Wire")]
pub enum StatusUpdate {
    /// The message was accepted for consideration.
    Received,
    /// A download request was opened; sent again at each retry.
    Started,
    /// The firmware is written; the device reboots next.
    Completed,
    /// The device declined.
    Ignored {
        /// Why, in the device's words; may be empty.
        reason: String,
    },
    /// The device asks for later.
    Rescheduled {
        /// How much later.
        delay: Duration,
        /// Why, in the device's words; may be empty.
        reason: String,
    },
    /// The update failed.
    Failed {
        /// Why, in the device's words.
        reason: String,
    },
    /// A status that this version does not know; it changes nothing.
    Unknown(String),
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(deserialize_with = "lenient::prose")]
    status: Option<String>,
    #[serde(deserialize_with = "lenient::prose", skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    delay_for: Option<u64>,
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
}

impl Wire {
    fn delay(&self) -> Duration {
        let delay = match (self.delay_ms, self.delay_for) {
            (None, Some(minutes)) if minutes < DELAY_FOR_MILLISECONDS_FROM => Duration::from_secs(minutes * 60),
            (exact, coarse) => Duration::from_millis(exact.or(coarse).unwrap_or(0)),
        };
        delay.min(DELAY_MAX)
    }
}

impl From<Wire> for StatusUpdate {
    fn from(wire: Wire) -> Self {
        let delay = wire.delay();
        let reason = wire.reason.unwrap_or_default();
        let status = wire.status.unwrap_or_default();
        match status.as_str() {
            "received" => Self::Received,
            "started" => Self::Started,
            "completed" => Self::Completed,
            "ignored" => Self::Ignored { reason },
            "rescheduled" => Self::Rescheduled { delay, reason },
            "failed" => Self::Failed { reason },
            // NervesHubLink up to 2.8 knows no other status than its free text.
            text if text.to_ascii_lowercase().contains("fwup error") => Self::Failed { reason: status },
            _ => Self::Unknown(status),
        }
    }
}

impl From<StatusUpdate> for Wire {
    fn from(update: StatusUpdate) -> Self {
        let named = |status: &str| Self {
            status: Some(status.to_owned()),
            ..Self::default()
        };
        match update {
            StatusUpdate::Received => named("received"),
            StatusUpdate::Started => named("started"),
            StatusUpdate::Completed => named("completed"),
            StatusUpdate::Ignored { reason } => Self {
                reason: Some(reason),
                ..named("ignored")
            },
            StatusUpdate::Failed { reason } => Self {
                reason: Some(reason),
                ..named("failed")
            },
            StatusUpdate::Rescheduled { delay, reason } => {
                let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                Self {
                    reason: Some(reason),
                    delay_for: Some(ms.max(DELAY_FOR_MIN_MS)),
                    delay_ms: Some(ms),
                    ..named("rescheduled")
                }
            }
            StatusUpdate::Unknown(status) => named(&status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> StatusUpdate {
        serde_json::from_str(json).unwrap()
    }

    fn delay(json: &str) -> Duration {
        match read(json) {
            StatusUpdate::Rescheduled { delay, .. } => delay,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn delay_is_read_in_the_unit_that_the_sender_meant() {
        assert_eq!(
            delay(r#"{"status":"rescheduled","delay_for":15}"#),
            Duration::from_mins(15)
        );
        assert_eq!(delay(r#"{"status":"rescheduled","delay_for":99999}"#), DELAY_MAX);
        assert_eq!(
            delay(r#"{"status":"rescheduled","delay_for":300000}"#),
            Duration::from_mins(5)
        );
        assert_eq!(
            delay(r#"{"status":"rescheduled","delay_for":300000,"delay_ms":5000}"#),
            Duration::from_secs(5)
        );
        assert_eq!(delay(r#"{"status":"rescheduled"}"#), Duration::ZERO);
    }

    #[test]
    fn a_rescheduled_update_of_ours_is_right_on_either_server() {
        let update = StatusUpdate::Rescheduled {
            delay: Duration::from_secs(5),
            reason: "busy".into(),
        };
        let text = serde_json::to_string(&update).unwrap();
        assert_eq!(
            text,
            r#"{"status":"rescheduled","reason":"busy","delay_for":300000,"delay_ms":5000}"#
        );
        assert_eq!(read(&text), update);
    }

    #[test]
    fn free_text_of_old_clients_is_a_failure() {
        let status = read(r#"{"status":"FWUP error Invalid signature"}"#);
        assert_eq!(
            status,
            StatusUpdate::Failed {
                reason: "FWUP error Invalid signature".into()
            }
        );
    }

    #[test]
    fn odd_statuses_are_unknown() {
        assert_eq!(read("{}"), StatusUpdate::Unknown(String::new()));
        assert_eq!(read(r#"{"status":7}"#), StatusUpdate::Unknown(String::new()));
        assert_eq!(read(r#"{"status":"paused"}"#), StatusUpdate::Unknown("paused".into()));
    }
}
