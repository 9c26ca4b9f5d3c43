//! What links tell of devices, and what was known before.

use muster_link::{ExtensionSet, Identity, Join, LogLine};
use time::OffsetDateTime;
use uuid::Uuid;

use super::identity::Peer;
use super::model::{DeviceId, LinkId, Validation};
use crate::accounts::OrgId;
use crate::archives::Sent;
use crate::platform::ids::first_uuid_at;
use crate::products::ProductId;

/// What a device said when it joined, with the link that it said it on.
#[derive(Debug, Clone)]
pub struct JoinRecord {
    /// Who.
    pub peer: Peer,
    /// On which link.
    pub link: LinkId,
    /// From where.
    pub address: String,
    /// What.
    pub join: Join,
}

impl JoinRecord {
    /// The running firmware, where it is a UUID.
    pub fn firmware_uuid(&self) -> Option<Uuid> {
        self.join.firmware.uuid.as_deref().and_then(|uuid| uuid.parse().ok())
    }

    /// Whether it was found good.
    pub fn validation(&self) -> Validation {
        Validation::reported(self.join.meta.firmware_validated)
    }
}

/// A device opened a link and has not joined by it yet.
#[derive(Debug, Clone)]
pub struct LinkStart {
    /// Whose.
    pub device: DeviceId,
    /// The link.
    pub link: LinkId,
    /// From where.
    pub address: String,
    /// When.
    pub at: OffsetDateTime,
}

/// A link that ended.
#[derive(Debug, Clone)]
pub struct LinkEnd {
    /// Whose.
    pub device: DeviceId,
    /// The device's org.
    pub org: OrgId,
    /// The device's product.
    pub product: ProductId,
    /// The link.
    pub link: LinkId,
    /// From where.
    pub address: String,
    /// When something last came from it.
    pub heard_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: OffsetDateTime,
    /// Why.
    pub reason: &'static str,
}

/// What was stored of a device before it joined.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The device.
    pub device: DeviceId,
    /// The firmware that it ran.
    pub previous_firmware: Option<Uuid>,
    /// Its version.
    pub previous_version: Option<String>,
    /// Whether an update is in flight.
    pub in_flight: bool,
    /// The link that it had on another node, and that the new one replaces.
    pub elsewhere: Option<LinkId>,
    /// The extensions that it may use: the product's without those that are off for the device.
    pub extensions: ExtensionSet,
    /// What it runs at each connect: its group's code, then its own.
    pub connecting_code: String,
    /// The archive of its group's release, unless updates are off for it or it is left alone for a while.
    pub archive: Option<Sent>,
}

/// What kinds of reports are kept; of each the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReportKind {
    /// What it measured.
    Health,
    /// Where it is.
    Location,
    /// The kinds of connection that it has.
    ConnectionTypes,
}

impl ReportKind {
    /// The word in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Location => "location",
            Self::ConnectionTypes => "connection_types",
        }
    }
}

/// A report as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceReport {
    /// Whose.
    pub device: DeviceId,
    /// Which.
    pub kind: ReportKind,
    /// When it came.
    pub at: OffsetDateTime,
    /// What it says, as JSON.
    pub report: serde_json::Value,
}

/// A key of a device in an overlay network, as the device reports it.
#[derive(Debug, Clone)]
pub struct ReportedIdentity {
    /// Whose.
    pub device: DeviceId,
    /// When the report came.
    pub at: OffsetDateTime,
    /// Which.
    pub identity: Identity,
}

/// A key of a device in an overlay network, as it is kept.
#[derive(Debug, Clone)]
pub struct NetworkIdentity {
    /// The network.
    pub service: String,
    /// Which of several of the same network.
    pub instance: String,
    /// The key, as the network writes it.
    pub identifier: String,
    /// What the device tells of it.
    pub details: serde_json::Value,
    /// When the device last reported it.
    pub last_reported_at: OffsetDateTime,
    /// When it first did.
    pub created_at: OffsetDateTime,
    /// When the key or its details last changed.
    pub updated_at: OffsetDateTime,
}

crate::declare_id! {
    /// A log line of a device; it says when the line came.
    LogLineId
}

impl LogLineId {
    /// Not greater than any line that came at this time or later, and greater than any before.
    pub fn first_at(at: OffsetDateTime) -> Self {
        Self(first_uuid_at(at))
    }
}

/// A log line of a device.
#[derive(Debug, Clone)]
pub struct DeviceLogLine {
    /// Its id.
    pub id: LogLineId,
    /// Whose.
    pub device: DeviceId,
    /// What it says.
    pub line: LogLine,
}

/// Where an update in flight stands, for the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The device.
    pub device: DeviceId,
    /// Its status; `None` when no update is in flight any more.
    pub status: Option<&'static str>,
    /// Its percent.
    pub percent: Option<i16>,
}
