//! Devices and what is said of them.

use std::str::FromStr;

use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::accounts::OrgId;
use crate::platform::ids::first_uuid_at;
use crate::products::ProductId;
use crate::products::extensions::{SWITCHED, set_of};
use muster_link::ExtensionSet;
use muster_link::limits::IDENTIFIER_MAX;

crate::declare_id! {
    /// A device.
    DeviceId
}
crate::declare_id! {
    /// A certificate pinned to a device.
    CertificateId
}
crate::declare_id! {
    /// A secret that devices share with the server.
    SecretId
}
crate::declare_id! {
    /// One link of a device, from its upgrade to its end: the connection reference of the one session.
    LinkId
}

impl LinkId {
    /// When the link was opened, to the millisecond.
    pub fn opened_at(self) -> OffsetDateTime {
        let (seconds, nanos) = self.0.get_timestamp().map_or((0, 0), |at| at.to_unix());
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Not greater than any link that was opened at this time or later, and greater than any before.
    pub fn first_at(at: OffsetDateTime) -> Self {
        Self(first_uuid_at(at))
    }
}

/// Longest tag, in characters.
pub const TAG_MAX: usize = 100;
/// Most tags of one device or group.
pub const TAGS_MAX: usize = 100;

/// Longest code of connects, of a device or a group, in characters.
pub const CODE_MAX: usize = 20_000;

/// Whether a text may be the code that runs at each connect.
pub fn is_code(text: &str) -> bool {
    text.chars().count() <= CODE_MAX && !text.contains('\0')
}

/// What a device calls itself: the common name of its certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(String);

/// Why a text is no identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Nothing.
    #[error("can't be blank")]
    Empty,
    /// Longer than 255 bytes.
    #[error("should be at most 255 bytes")]
    TooLong,
    /// Would not survive a URL or a log line.
    #[error("must have no slash, space or control character")]
    Character,
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(IdentifierError::Empty);
        }
        if text.len() > IDENTIFIER_MAX {
            return Err(IdentifierError::TooLong);
        }
        if text.chars().any(|c| c == '/' || c.is_control() || c.is_whitespace()) {
            return Err(IdentifierError::Character);
        }
        Ok(Self(text.to_owned()))
    }
}

impl Identifier {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Identifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A word by which devices are chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// Why a text is no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Longer than [`TAG_MAX`].
    #[error("should be at most 100 characters each")]
    TooLong,
    /// Tags are separated by commas and named in queries.
    #[error("must have no space, comma or control character")]
    Character,
    /// More than [`TAGS_MAX`].
    #[error("should be at most 100")]
    TooMany,
}

impl Tag {
    /// Reads tags: blanks are dropped, doubles are one, the order is kept.
    ///
    /// # Errors
    /// [`TagError`] for the first one that is no tag.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Self>, TagError> {
        let mut tags: Vec<Self> = Vec::new();
        for text in texts.into_iter().map(str::trim).filter(|text| !text.is_empty()) {
            if text.chars().count() > TAG_MAX {
                return Err(TagError::TooLong);
            }
            if text.chars().any(|c| c == ',' || c.is_control() || c.is_whitespace()) {
                return Err(TagError::Character);
            }
            if !tags.iter().any(|tag| tag.0 == text) {
                tags.push(Self(text.to_owned()));
            }
            if tags.len() > TAGS_MAX {
                return Err(TagError::TooMany);
            }
        }
        Ok(tags)
    }

    /// The tags as the database stores them.
    pub fn texts(tags: Vec<Self>) -> Vec<String> {
        tags.into_iter().map(|tag| tag.0).collect()
    }
}

/// Where a device's link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize, serde::Deserialize)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// It never connected.
    NotSeen,
    /// It has a link and has not joined.
    Connecting,
    /// It joined.
    Connected,
    /// It has no link.
    Disconnected,
}

impl Connection {
    /// The word in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotSeen => "not_seen",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }
}

/// Whether the running firmware was found good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type, serde::Serialize, serde::Deserialize)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Validation {
    /// The device does not say.
    Unknown,
    /// It will not be reverted.
    Validated,
    /// A reboot now goes back to the firmware before it.
    NotValidated,
}

impl Validation {
    /// From a join's `meta.firmware_validated`.
    pub fn reported(validated: Option<bool>) -> Self {
        match validated {
            Some(true) => Self::Validated,
            Some(false) => Self::NotValidated,
            None => Self::Unknown,
        }
    }

    /// The word in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Validated => "validated",
            Self::NotValidated => "not_validated",
        }
    }
}

/// A device with what is known of it now.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its org.
    pub org_id: OrgId,
    /// Its org's name.
    pub org_name: String,
    /// Its product.
    pub product_id: ProductId,
    /// Its product's name.
    pub product_name: String,
    /// What it calls itself.
    pub identifier: String,
    /// Free text.
    pub description: String,
    /// By which groups choose it.
    pub tags: Vec<String>,
    /// Whether deployments may tell it.
    pub updates_enabled: bool,
    /// No deployment tells it before then.
    pub updates_blocked_until: Option<OffsetDateTime>,
    /// Extensions that it may not use, though its product's devices may.
    pub extensions_off: Vec<String>,
    /// When it connected for the first time.
    pub first_seen_at: Option<OffsetDateTime>,
    /// When it was registered.
    pub created_at: OffsetDateTime,
    /// When it was deleted.
    pub deleted_at: Option<OffsetDateTime>,
    /// Where its link stands.
    pub connection: Connection,
    /// When the link was joined.
    pub connected_at: Option<OffsetDateTime>,
    /// When the last link ended.
    pub disconnected_at: Option<OffsetDateTime>,
    /// Why.
    pub disconnect_reason: Option<String>,
    /// When something last came from it.
    pub last_seen_at: Option<OffsetDateTime>,
    /// Where the link came from.
    pub address: Option<String>,
    /// The device's interface that carries it.
    pub interface: Option<String>,
    /// Its protocol level.
    pub api_version: Option<String>,
    /// Its fwup level.
    pub fwup_version: Option<String>,
    /// The running firmware.
    pub firmware_uuid: Option<Uuid>,
    /// Product name inside it.
    pub firmware_product: Option<String>,
    /// Its version.
    pub firmware_version: Option<String>,
    /// Its board.
    pub firmware_platform: Option<String>,
    /// Its CPU architecture.
    pub firmware_architecture: Option<String>,
    /// Free text.
    pub firmware_author: Option<String>,
    /// Free text.
    pub firmware_description: Option<String>,
    /// Free text.
    pub firmware_vcs_identifier: Option<String>,
    /// Free text.
    pub firmware_misc: Option<String>,
    /// Since when it runs.
    pub firmware_since: Option<OffsetDateTime>,
    /// Whether it was found good.
    pub validation: Validation,
    /// Whether the bootloader went back to it.
    pub auto_reverted: bool,
    /// The update in flight.
    pub update_status: Option<String>,
    /// Its progress in percent.
    pub update_percent: Option<i16>,
}

impl Device {
    /// The extensions that are switched on for the device itself: it may use those of them that are on for its product.
    pub fn extensions(&self) -> ExtensionSet {
        SWITCHED
            .into_iter()
            .collect::<ExtensionSet>()
            .without(set_of(&self.extensions_off))
    }
}

/// A certificate pinned to a device.
#[derive(Debug, Clone)]
pub struct DeviceCertificate {
    /// Serial number in decimal.
    pub serial: String,
    /// SHA-256 of its DER.
    pub fingerprint: Vec<u8>,
    /// SHA-1 of its DER, by which peers' records name it.
    pub fingerprint_sha1: Vec<u8>,
    /// Valid from.
    pub not_before: OffsetDateTime,
    /// Valid until; a pinned certificate is good beyond it (device-link §1.4).
    pub not_after: OffsetDateTime,
    /// When the device last came by it, give or take an hour.
    pub last_used_at: Option<OffsetDateTime>,
    /// Whether it was issued to replace another and the device has not come by it yet.
    pub is_unproven: bool,
}

/// A secret of a product or of a device. The secret itself is shown once, as a [`NewSecret`].
#[derive(Debug, Clone)]
pub struct SharedSecret {
    /// Its id.
    pub id: SecretId,
    /// What a device names it by: `nhp_…` of a product, `nhd_…` of a device.
    pub key: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// Since when it proves nothing.
    pub deactivated_at: Option<OffsetDateTime>,
    /// When a device last came by it, give or take an hour.
    pub last_used_at: Option<OffsetDateTime>,
}

/// A secret that was just made.
#[derive(Debug)]
pub struct NewSecret {
    /// What is kept of it.
    pub shared: SharedSecret,
    /// The secret's text, which is shown this once.
    pub secret: Zeroizing<String>,
}

/// A device of the org that was answered 401.
#[derive(Debug, Clone)]
pub struct RefusedDevice {
    /// What it calls itself.
    pub identifier: String,
    /// Why, as [`crate::devices::Refusal::reason`] says it.
    pub reason: String,
    /// Since when.
    pub first_at: OffsetDateTime,
    /// Last.
    pub last_at: OffsetDateTime,
    /// How often.
    pub count: i64,
}

/// A link of a device that has ended.
#[derive(Debug, Clone)]
pub struct PastLink {
    /// The link; it says when it was opened.
    pub link: LinkId,
    /// When it ended.
    pub ended_at: OffsetDateTime,
    /// Why: a constant word.
    pub reason: String,
    /// From where it came.
    pub address: String,
}

/// Which devices a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Exactly this identifier.
    pub identifier: Option<String>,
    /// This is part of its identifier.
    pub identifier_part: Option<String>,
    /// Words that identifier, description or a tag contains, each.
    pub words: Vec<String>,
    /// Tags that it has, all of them.
    pub tags: Vec<String>,
    /// It has no tags, or some.
    pub untagged: Option<bool>,
    /// Its link stands there.
    pub connection: Option<&'static str>,
    /// Nothing came from it since then.
    pub silent_since: Option<OffsetDateTime>,
    /// Deployments may tell it, or not.
    pub updates_enabled: Option<bool>,
    /// Deployments leave it alone beyond then.
    pub blocked_at: Option<OffsetDateTime>,
    /// It runs this version.
    pub version: Option<String>,
    /// It has an update in flight.
    pub updating: Option<bool>,
    /// It has this platform.
    pub platform: Option<String>,
    /// It has this architecture.
    pub architecture: Option<String>,
    /// Deleted devices: shown among the others, or not.
    pub with_deleted: bool,
    /// Only deleted devices.
    pub only_deleted: bool,
}

/// The column that orders a list; the identifier decides between equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// By identifier.
    #[default]
    Identifier,
    /// By where the link stands.
    Connection,
    /// By firmware version, as text.
    Version,
    /// By when something last came from it.
    LastSeen,
    /// By when it was registered.
    Created,
    /// By when its link was joined.
    Connected,
    /// By its tags.
    Tags,
}

/// One page of a list, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Column.
    pub sort: Sort,
    /// Largest first.
    pub descending: bool,
    /// Rows before it.
    pub offset: i64,
    /// Rows in it.
    pub limit: i64,
}

/// A row beside a page of a list: where the page begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageKey {
    /// What the list is sorted by, as text.
    pub value: Option<String>,
    /// The device.
    pub identifier: String,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageFrom {
    /// With the first row.
    Start,
    /// After this row.
    After(PageKey),
    /// It ends before this row.
    Before(PageKey),
}

/// One page of a list, by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Column.
    pub sort: Sort,
    /// Largest first.
    pub descending: bool,
    /// Where it begins.
    pub from: PageFrom,
    /// Rows in it.
    pub limit: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_when_it_was_opened() {
        let at = time::macros::datetime!(2026-08-20 10:11:12.345 UTC);
        let first = LinkId::first_at(at);
        assert_eq!(first.opened_at(), at);
        assert!(LinkId::first_at(at - time::Duration::milliseconds(1)) < first);
        let clock = crate::platform::clock::Clock::manual(at);
        let made: LinkId = crate::platform::ids::Id::from_parts(&clock, &crate::platform::random::Random::system());
        assert!(made >= first && made < LinkId::first_at(at + time::Duration::milliseconds(1)));
    }

    #[test]
    fn identifiers_are_parsed() {
        assert_eq!("kiosk-0001".parse::<Identifier>().unwrap().as_str(), "kiosk-0001");
        assert_eq!("".parse::<Identifier>(), Err(IdentifierError::Empty));
        assert_eq!("a/b".parse::<Identifier>(), Err(IdentifierError::Character));
        assert_eq!("a b".parse::<Identifier>(), Err(IdentifierError::Character));
        assert_eq!("x".repeat(256).parse::<Identifier>(), Err(IdentifierError::TooLong));
    }

    #[test]
    fn tags_are_read_without_doubles() {
        let tags = Tag::texts(Tag::read([" beta", "", "beta", "lobby"]).unwrap());
        assert_eq!(tags, ["beta", "lobby"]);
        assert_eq!(Tag::read(["a,b"]), Err(TagError::Character));
        assert_eq!(Tag::read(["x".repeat(101).as_str()]), Err(TagError::TooLong));
        let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        assert_eq!(Tag::read(many.iter().map(String::as_str)), Err(TagError::TooMany));
    }
}
