//! What devices add to and do not replace: keys in overlay networks and log lines. Both wait for the next flush, and as much
//! of them as a number of bytes.

use std::collections::HashMap;

use muster_link::{Identity, IdentityService};
use time::OffsetDateTime;

use crate::devices::DeviceId;
use crate::devices::service::{DeviceLogLine, ReportedIdentity};

/// Bytes of keys that wait: about eighty thousand usual ones.
const IDENTITY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Keys of one flush, and so of a node in a second; the others wait for the next. Presence goes first.
const IDENTITIES_AT_ONCE: usize = 8192;
/// Lines of one flush: what devices log beyond that in a second is dropped.
const LINES_MAX: usize = 8192;
/// … and their bytes: a line has at most about 40 kB.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What an entry takes besides its texts.
const ENTRY: usize = 128;

/// Keys in overlay networks: of each instance the last word.
#[derive(Debug, Default)]
pub(super) struct Identities {
    kept: HashMap<(DeviceId, IdentityService, String), (OffsetDateTime, Identity)>,
    bytes: usize,
}

fn size(identity: &Identity) -> usize {
    ENTRY + identity.identifier.len() + 2 * identity.instance.len() + identity.details.to_string().len()
}

impl Identities {
    /// Keeps one; false when there is no room.
    pub(super) fn keep(&mut self, one: ReportedIdentity) -> bool {
        let ReportedIdentity { device, at, identity } = one;
        let key = (device, identity.service, identity.instance.clone());
        let before = self.kept.get(&key).map_or(0, |(_, before)| size(before));
        let bytes = self.bytes - before + size(&identity);
        if bytes > IDENTITY_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        self.kept.insert(key, (at, identity));
        true
    }

    /// As many as are written at once, those that came first first.
    pub(super) fn take(&mut self) -> Vec<ReportedIdentity> {
        let mut taken = Vec::new();
        for ((device, ..), (at, identity)) in self.kept.extract_if(|_, _| true).take(IDENTITIES_AT_ONCE) {
            self.bytes -= size(&identity);
            taken.push(ReportedIdentity { device, at, identity });
        }
        taken.sort_by_key(|one| one.at);
        taken
    }
}

/// Log lines, as they came.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<DeviceLogLine>,
    bytes: usize,
}

impl Lines {
    /// Keeps one; false when there is no room.
    pub(super) fn keep(&mut self, one: DeviceLogLine) -> bool {
        let meta: usize = one
            .line
            .meta
            .iter()
            .map(|(key, text)| ENTRY + key.len() + text.len())
            .sum();
        let bytes = self.bytes + ENTRY + one.line.message.len() + meta;
        if bytes > LINE_BYTES_MAX || self.lines.len() >= LINES_MAX {
            return false;
        }
        self.bytes = bytes;
        self.lines.push(one);
        true
    }

    /// All of them.
    pub(super) fn take(&mut self) -> Vec<DeviceLogLine> {
        self.bytes = 0;
        std::mem::take(&mut self.lines)
    }
}

#[cfg(test)]
mod tests {
    use muster_link::LogLine;
    use muster_link::limits::LOG_MESSAGE_MAX;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::devices::service::LogLineId;

    fn line(bytes: usize) -> DeviceLogLine {
        DeviceLogLine {
            id: LogLineId(Uuid::nil()),
            device: DeviceId(Uuid::nil()),
            line: LogLine {
                at: OffsetDateTime::UNIX_EPOCH,
                level: "info",
                message: "x".repeat(bytes),
                meta: [("key".to_owned(), "x".repeat(bytes))].into(),
            },
        }
    }

    #[test]
    fn lines_that_wait_are_bounded_by_number_and_by_bytes() {
        let mut lines = Lines::default();
        let kept = (0..LINES_MAX + 10).filter(|_| lines.keep(line(1))).count();
        assert_eq!((kept, lines.take().len()), (LINES_MAX, LINES_MAX));
        let kept = (0..LINES_MAX).filter(|_| lines.keep(line(LOG_MESSAGE_MAX))).count();
        assert!(kept * 2 * LOG_MESSAGE_MAX <= LINE_BYTES_MAX && kept > 400, "{kept}");
        lines.take();
        assert!(lines.keep(line(1)));
    }

    #[test]
    fn keys_that_wait_are_bounded_by_bytes_and_the_last_word_of_an_instance_counts() {
        let mut identities = Identities::default();
        let mut keep = |number: u128, identifier: &str| {
            identities.keep(ReportedIdentity {
                device: DeviceId(Uuid::from_u128(number)),
                at: OffsetDateTime::UNIX_EPOCH,
                identity: Identity {
                    service: IdentityService::Iroh,
                    identifier: identifier.to_owned(),
                    instance: "default".to_owned(),
                    details: json!({ "note": "x".repeat(4000) }),
                },
            })
        };
        let kept = (0..10_000).filter(|number| keep(*number, "first")).count();
        assert!(kept * 4000 <= IDENTITY_BYTES_MAX && kept > 3500, "{kept}");
        assert!(keep(0, "other"), "it takes the place of another");
        let all = identities.take();
        assert_eq!(all.len(), kept);
        assert_eq!(all.iter().filter(|one| one.identity.identifier == "other").count(), 1);
        assert_eq!((identities.kept.len(), identities.bytes), (0, 0));
    }
}
