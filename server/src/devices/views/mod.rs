//! What the pages of devices show.

pub(super) mod commands;
pub(super) mod moves;

use askama::Template;
use serde_json::Value;
use time::OffsetDateTime;

use super::model::{
    Connection, Device, DeviceCertificate, NewSecret, PastLink, RefusedDevice, SharedSecret, Validation,
};
use super::query::{self, QueryError};
use super::reported::NetworkIdentity;
use crate::audit::Entry;
use crate::deployments::Status;
use crate::deployments::model::{Group, UpdateEntry};
use crate::deployments::why::Why;
use crate::products::views::Switch;
use crate::web::forms::Wrong;
use crate::web::listing::{Key, Listing};
use crate::web::page::{Frame, path};
use crate::web::words;

/// A shape and a word, in a tone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sign {
    pub tone: &'static str,
    pub icon: &'static str,
    pub word: &'static str,
}

const fn sign(tone: &'static str, icon: &'static str, word: &'static str) -> Sign {
    Sign { tone, icon, word }
}

/// Where a device stands, in a word.
pub(super) fn state(device: &Device) -> Sign {
    if device.deleted_at.is_some() {
        return sign("bad", "failed", "Deleted");
    }
    match device.connection {
        _ if device.update_status.is_some() => sign("busy", "busy", "Updating"),
        Connection::Connected => sign("ok", "online", "Online"),
        Connection::Connecting => sign("idle", "busy", "Connecting"),
        Connection::Disconnected => sign("idle", "offline", "Offline"),
        Connection::NotSeen => sign("idle", "new", "Never seen"),
    }
}

/// The word for an update in flight.
pub(super) fn step_word(status: &str) -> &'static str {
    match status {
        "assigned" => "Waiting",
        "told" | "received" => "Told",
        "started" | "downloading" => "Downloading",
        "updating" => "Applying",
        "completed" => "Rebooting",
        _ => "Updating",
    }
}

/// A row of the list.
pub(super) struct Row<'a> {
    pub device: &'a Device,
    pub url: String,
    pub state: Sign,
}

impl<'a> Row<'a> {
    pub(super) fn new(frame: &Frame, device: &'a Device) -> Self {
        Self {
            device,
            url: format!("{}{}", frame.product_url("/devices"), path(&[&device.identifier])),
            state: state(device),
        }
    }

    /// The update in flight: its word, and its percent where it has one.
    pub(super) fn progress(&self) -> Option<(&'static str, Option<i16>)> {
        let status = self.device.update_status.as_deref()?;
        let moves = matches!(status, "started" | "downloading" | "updating" | "completed");
        Some((step_word(status), self.device.update_percent.filter(|_| moves)))
    }

    /// What an operator should know, when no update is in flight.
    pub(super) fn note(&self) -> Option<Sign> {
        let device = self.device;
        if device.auto_reverted {
            return Some(sign("warn", "warning", "Reverted by its bootloader"));
        }
        if device.firmware_uuid.is_some() && device.validation == Validation::NotValidated {
            return Some(sign("busy", "waiting", "Not validated yet"));
        }
        if !device.updates_enabled {
            return Some(sign("idle", "paused", "Updates are off"));
        }
        None
    }

    /// Until when it is left alone.
    pub(super) fn blocked_until(&self, now: &OffsetDateTime) -> Option<OffsetDateTime> {
        self.device.updates_blocked_until.filter(|until| until > now)
    }
}

/// A state to filter by.
pub(super) struct Chip {
    pub sign: Sign,
    pub url: String,
    pub is_on: bool,
}

/// The chips under the filter.
pub(super) fn chips(listing: &Listing) -> Vec<Chip> {
    query::STATES
        .iter()
        .map(|(value, word)| Chip {
            sign: match *value {
                "online" => sign("ok", "online", word),
                "updating" => sign("busy", "busy", word),
                "offline" => sign("idle", "offline", word),
                _ => sign("idle", "new", word),
            },
            url: listing.filtered(&query::toggle(&listing.q, "state", value)),
            is_on: query::has(&listing.q, &format!("state:{value}")),
        })
        .collect()
}

/// A column's head.
pub(super) struct Column {
    pub name: &'static str,
    pub label: &'static str,
    pub class: &'static str,
    pub sorts: bool,
}

const fn column(name: &'static str, label: &'static str, class: &'static str, sorts: bool) -> Column {
    Column {
        name,
        label,
        class,
        sorts,
    }
}

/// The columns of the list.
pub(super) const COLUMNS: [Column; 6] = [
    column("state", "State", "c-state", true),
    column("identifier", "Device", "c-name", true),
    column("version", "Version", "c-version", true),
    column("", "Update", "c-update", false),
    column("", "Tags", "c-tags phone-off", false),
    column("seen", "Last seen", "c-seen phone-off", true),
];

/// The product's devices.
#[derive(Template)]
#[template(path = "devices/index.html")]
pub(super) struct IndexPage<'a> {
    pub frame: Frame,
    pub listing: Listing,
    pub wrong: Option<QueryError>,
    pub chips: Vec<Chip>,
    pub rows: Vec<Row<'a>>,
    pub total: i64,
    pub is_empty: bool,
    pub first: Option<Key>,
    pub last: Option<Key>,
    pub refused: Vec<RefusedDevice>,
    pub may_change: bool,
    pub now: OffsetDateTime,
    pub public_url: String,
}

impl IndexPage<'_> {
    fn columns() -> &'static [Column] {
        &COLUMNS
    }

    /// `ascending`, `descending`, or nothing.
    fn sorted(&self, column: &Column) -> Option<&'static str> {
        let (sorted, falls) = self.listing.column();
        let sorted = if sorted.is_empty() { "identifier" } else { sorted };
        (sorted == column.name).then_some(if falls { "descending" } else { "ascending" })
    }

    fn total_text(&self) -> String {
        words::count(self.total, "device", "devices")
    }

    /// The filter before, in, and after its wrong term.
    fn wrong_parts(&self, wrong: &QueryError) -> (String, String, String) {
        let text = &self.listing.q;
        let part = |range: Option<&str>| range.unwrap_or_default().to_owned();
        let end = wrong.at + wrong.len;
        (
            part(text.get(..wrong.at)),
            part(text.get(wrong.at..end)),
            part(text.get(end..)),
        )
    }

    fn create_command(&self) -> String {
        let url = format!(
            "{}/api/orgs/{}/products/{}/devices",
            self.public_url.trim_end_matches('/'),
            self.frame.org.as_deref().unwrap_or_default(),
            self.frame.product.as_ref().map_or("", |product| product.name.as_str()),
        );
        format!(
            "curl -X POST '{}' \\\n  -H \"Authorization: token $MUSTER_TOKEN\" -H 'Content-Type: application/json' \\\n  -d '{{\"identifier\": \"kiosk-0001\", \"tags\": [\"beta\"]}}'",
            url.replace(' ', "%20")
        )
    }
}

/// Rows that changed.
#[derive(Template)]
#[template(path = "devices/rows.html")]
pub(super) struct RowsPart<'a> {
    pub frame: Frame,
    pub rows: Vec<Row<'a>>,
    pub now: OffsetDateTime,
}

/// A step of an update, as the bar shows it.
pub(super) struct Step {
    pub class: &'static str,
    pub sign: Sign,
    pub percent: Option<i16>,
}

/// The steps of a device's latest update, while there is something to see.
pub(super) fn steps(device: &Device, latest: Option<&UpdateEntry>) -> Vec<Step> {
    const WORDS: [&str; 5] = ["Told", "Downloading", "Applying", "Rebooting", "Validating"];
    let Some(latest) = latest else {
        return Vec::new();
    };
    let validating = latest.status == Status::Succeeded && device.validation == Validation::NotValidated;
    let at = match latest.status {
        Status::Assigned | Status::Told | Status::Received => 0,
        Status::Started | Status::Downloading => 1,
        Status::Updating => 2,
        Status::Completed => 3,
        Status::Succeeded if validating => 4,
        _ => return Vec::new(),
    };
    WORDS
        .iter()
        .enumerate()
        .map(|(index, word)| match index.cmp(&at) {
            std::cmp::Ordering::Less => step("done", "ok", "done", word, None),
            std::cmp::Ordering::Equal => step(
                "now",
                "busy",
                "busy",
                word,
                latest.percent.filter(|_| index == 1 || index == 2),
            ),
            std::cmp::Ordering::Greater => step("", "idle", "offline", word, None),
        })
        .collect()
}

fn step(class: &'static str, tone: &'static str, icon: &'static str, word: &'static str, percent: Option<i16>) -> Step {
    Step {
        class,
        sign: sign(tone, icon, word),
        percent,
    }
}

/// How an update of the history stands.
pub(super) fn update_sign(status: Status) -> Sign {
    match status {
        Status::Succeeded => sign("ok", "done", "Updated"),
        Status::Failed => sign("bad", "failed", "Failed"),
        Status::Ignored => sign("warn", "skipped", "Declined"),
        Status::Rescheduled => sign("warn", "waiting", "Asked for later"),
        Status::Withdrawn => sign("idle", "skipped", "Taken back"),
        going => sign("busy", "busy", step_word(going.name())),
    }
}

/// One device.
#[derive(Template)]
#[template(path = "devices/show.html")]
pub(super) struct ShowPage<'a> {
    pub frame: Frame,
    pub device: &'a Device,
    pub url: String,
    pub state: Sign,
    pub group: Option<&'a Group>,
    pub why: Why,
    pub history: &'a [UpdateEntry],
    pub links: &'a [PastLink],
    pub links_last_hour: i64,
    pub identities: &'a [NetworkIdentity],
    pub certificates: &'a [DeviceCertificate],
    pub refusals: Vec<&'a RefusedDevice>,
    pub activity: &'a [Entry],
    pub may_change: bool,
    pub now: OffsetDateTime,
    pub wrong: Wrong,
    pub pem: String,
}

/// A device that opened more links than this in an hour flaps.
const FLAPPING: i64 = 6;

impl ShowPage<'_> {
    fn flaps(&self) -> bool {
        self.links_last_hour > FLAPPING
    }

    /// How long a link lasted, in seconds.
    fn lasted(link: &PastLink) -> i64 {
        (link.ended_at - link.link.opened_at()).whole_seconds().max(0)
    }

    fn steps(&self) -> Vec<Step> {
        steps(self.device, self.history.first())
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn update_sign(status: &Status) -> Sign {
        update_sign(*status)
    }

    fn validation(&self) -> Sign {
        match self.device.validation {
            Validation::Validated => sign("ok", "done", "Validated"),
            Validation::NotValidated => sign("busy", "waiting", "Not validated yet"),
            Validation::Unknown => sign("idle", "offline", "Not reported"),
        }
    }

    /// The version that it is on its way to.
    fn target(&self) -> Option<&str> {
        let group = self.group?;
        (self.device.firmware_uuid != Some(group.firmware_uuid)).then_some(group.firmware_version.as_str())
    }

    fn blocked(&self) -> bool {
        self.device.updates_blocked_until.is_some_and(|until| until > self.now)
    }

    fn fingerprint(certificate: &DeviceCertificate) -> String {
        let bytes: Vec<String> = certificate
            .fingerprint
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{}…", bytes.join(":"))
    }

    /// What a device tells of a key, pair by pair.
    fn details(identity: &NetworkIdentity) -> Vec<(String, String)> {
        let pairs = identity.details.as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        pairs.map(|(name, value)| (name.clone(), text(value))).collect()
    }

    fn connected(&self) -> bool {
        self.device.connection == Connection::Connected
    }

    fn expired(&self, certificate: &DeviceCertificate) -> bool {
        certificate.not_after < self.now
    }

    /// `device.certificate_added` → `Certificate added`.
    fn act(entry: &Entry) -> String {
        let words = entry.action.rsplit('.').next().unwrap_or_default().replace('_', " ");
        let mut letters = words.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().to_string() + letters.as_str())
    }

    fn reason(refused: &RefusedDevice) -> &'static str {
        reason(&refused.reason)
    }
}

impl IndexPage<'_> {
    fn reason(refused: &RefusedDevice) -> &'static str {
        reason(&refused.reason)
    }

    /// Whether registering it would let it in.
    fn unknown(refused: &RefusedDevice) -> bool {
        refused.reason == "not_registered"
    }
}

/// Shared secrets of a product, or of one device.
#[derive(Template)]
#[template(path = "devices/secrets.html")]
pub(super) struct SecretsPage {
    pub frame: Frame,
    /// The device's identifier, where they are a device's.
    pub device: Option<String>,
    pub secrets: Vec<SharedSecret>,
    pub may_change: bool,
    pub url: String,
    /// One that was just made.
    pub new: Option<NewSecret>,
    pub wrong: Wrong,
}

impl SecretsPage {
    /// What the agent's configuration needs.
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn configuration(&self, new: &NewSecret) -> String {
        format!(
            "shared_key = \"{}\"\nshared_secret = \"{}\"",
            new.shared.key, *new.secret
        )
    }
}

/// Asks before a secret is deactivated.
#[derive(Template)]
#[template(path = "devices/secret_off.html")]
pub(super) struct SecretOffPage {
    pub frame: Frame,
    pub secret: SharedSecret,
    pub is_device: bool,
    /// What is typed again.
    pub name: String,
    pub url: String,
    pub wrong: Wrong,
}

/// What a refusal means for an operator.
fn reason(word: &str) -> &'static str {
    match word {
        "malformed_certificate" => "Its certificate cannot be read.",
        "unknown_ca" => "No registered CA issued its certificate.",
        "bad_signature" => "The CA that its certificate names did not sign it.",
        "not_in_date" => "Its certificate, or its CA, is expired or not valid yet. Look at its clock.",
        "no_identifier" => "It names itself by nothing that can be an identifier.",
        "not_registered" => "It is not registered. Register it, then it is let in.",
        "deleted" => "It was deleted. Restore it, or destroy it to use its identifier again.",
        "other_key" => "A certificate with another key is pinned to it. Add this one, or remove that one.",
        "foreign_key" => "Its key belongs to another device.",
        "revoked" => "Its certificate was removed here. Add it again, or give the device one with another key.",
        "serial_taken" => "It has another certificate of the same serial number. Remove that one first.",
        "foreign_secret" => "It came by a shared secret of another device, or of a product that it does not belong to.",
        "unavailable" => "The server could not look it up.",
        _ => "It was refused.",
    }
}

/// The form of a device, new or old.
#[derive(Template)]
#[template(path = "devices/edit.html")]
pub(super) struct EditPage {
    pub frame: Frame,
    pub url: String,
    pub back: String,
    pub is_new: bool,
    pub wrong: Wrong,
    pub identifier: String,
    pub description: String,
    pub tags: String,
    pub updates_enabled: bool,
    pub connecting_code: String,
    /// None for a device that is not there yet.
    pub switches: Vec<Switch>,
    pub settings_url: String,
}

/// Asks before a device is deleted or destroyed.
#[derive(Template)]
#[template(path = "devices/delete.html")]
pub(super) struct DeletePage<'a> {
    pub frame: Frame,
    pub device: &'a Device,
    pub url: String,
    pub wrong: Wrong,
}
