//! Groups, releases, updates.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::devices::DeviceId;

crate::declare_id! {
    /// A deployment group.
    GroupId
}
crate::declare_id! {
    /// A release of a group.
    ReleaseId
}
crate::declare_id! {
    /// One device's way to one release.
    UpdateId
}

/// Most updates of one group in flight that an operator may ask for.
pub const CONCURRENT_MAX: i32 = 100_000;

/// Whether a device needs all tags of a group or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type, serde::Serialize, serde::Deserialize)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum TagOperator {
    /// All of them.
    And,
    /// One of them.
    Or,
}

/// A group with its current release, as operators see it.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: String,
    /// Whether devices are told.
    pub is_on: bool,
    /// Tags that choose devices.
    pub tags: Vec<String>,
    /// All of them, or one.
    pub tag_operator: TagOperator,
    /// Versions that devices must have, in Elixir's syntax.
    pub version_requirement: String,
    /// Updates in flight at once.
    pub concurrent_updates: i32,
    /// How long a device that failed is left alone, in seconds.
    pub penalty_seconds: i32,
    /// Free text.
    pub notes: Option<String>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// Number of the current release, counted from 1.
    pub release_number: i32,
    /// When the current release was made.
    pub released_at: OffsetDateTime,
    /// The current release's firmware.
    pub firmware_id: Uuid,
    /// Its fwup UUID.
    pub firmware_uuid: Uuid,
    /// Its version.
    pub firmware_version: String,
    /// Its board.
    pub firmware_platform: String,
    /// Its CPU architecture.
    pub firmware_architecture: String,
    /// The fwup UUID of the current release's archive.
    pub archive_uuid: Option<Uuid>,
    /// Its version.
    pub archive_version: Option<String>,
    /// What its devices run at each connect; empty where nothing.
    pub connecting_code: String,
    /// Devices that belong to the group.
    pub device_count: i64,
}

/// Where an update stands. The words are the device's own where it says them (device-link §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A slot is taken; the device was not told yet.
    Assigned,
    /// The device was told.
    Told,
    /// The device considers it.
    Received,
    /// The device asked for the file.
    Started,
    /// Bytes arrive and are kept.
    Downloading,
    /// Bytes are applied.
    Updating,
    /// The firmware is written; the device reboots.
    Completed,
    /// The device came back on the new firmware.
    Succeeded,
    /// It failed.
    Failed,
    /// The device declined.
    Ignored,
    /// The device asked for later.
    Rescheduled,
    /// It was taken back.
    Withdrawn,
}

impl Status {
    /// Every status, in the order of an update's life.
    pub const ALL: [Self; 12] = [
        Self::Assigned,
        Self::Told,
        Self::Received,
        Self::Started,
        Self::Downloading,
        Self::Updating,
        Self::Completed,
        Self::Succeeded,
        Self::Failed,
        Self::Ignored,
        Self::Rescheduled,
        Self::Withdrawn,
    ];

    /// The word in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Told => "told",
            Self::Received => "received",
            Self::Started => "started",
            Self::Downloading => "downloading",
            Self::Updating => "updating",
            Self::Completed => "completed",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
            Self::Rescheduled => "rescheduled",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether the update is over and its slot free.
    pub fn is_ended(self) -> bool {
        self >= Self::Succeeded
    }
}

/// How an update ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The device came back on the new firmware.
    Succeeded,
    /// It failed, for this reason.
    Failed(String),
    /// The device declined, for this reason.
    Ignored(String),
    /// The device asked for later: how much, and why.
    Rescheduled(std::time::Duration, String),
    /// It was taken back, for this reason.
    Withdrawn(String),
}

impl Outcome {
    /// The status that it leaves.
    pub fn status(&self) -> Status {
        match self {
            Self::Succeeded => Status::Succeeded,
            Self::Failed(_) => Status::Failed,
            Self::Ignored(_) => Status::Ignored,
            Self::Rescheduled(..) => Status::Rescheduled,
            Self::Withdrawn(_) => Status::Withdrawn,
        }
    }

    /// The reason, where there is one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Succeeded => None,
            Self::Failed(reason) | Self::Ignored(reason) | Self::Rescheduled(_, reason) | Self::Withdrawn(reason) => {
                Some(reason)
            }
        }
    }
}

/// One update of a device's history.
#[derive(Debug, Clone)]
pub struct UpdateEntry {
    /// Its id.
    pub id: UpdateId,
    /// The group that told it, unless that is gone.
    pub group_name: Option<String>,
    /// The firmware before it.
    pub from_version: Option<String>,
    /// The firmware that it leads to.
    pub to_version: String,
    /// Where it stands.
    pub status: Status,
    /// Its progress in percent.
    pub percent: Option<i16>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// How often the device was told.
    pub attempts: i16,
    /// When its slot was taken.
    pub assigned_at: OffsetDateTime,
    /// When the device was told first.
    pub told_at: Option<OffsetDateTime>,
    /// When something last changed.
    pub updated_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
}

/// One release of a group's past.
#[derive(Debug, Clone)]
pub struct ReleaseEntry {
    /// Counted from 1.
    pub number: i32,
    /// Its firmware's version.
    pub version: String,
    /// Its firmware's fwup UUID.
    pub firmware_uuid: Uuid,
    /// Its archive's fwup UUID.
    pub archive_uuid: Option<Uuid>,
    /// Its archive's version.
    pub archive_version: Option<String>,
    /// Who made it, unless that was a program without a person.
    pub created_by: Option<String>,
    /// When.
    pub created_at: OffsetDateTime,
}

/// Where a device stands on its way to a group's release.
#[derive(Debug, Clone)]
pub struct DeviceUpdate {
    /// The device.
    pub identifier: String,
    /// Where it stands.
    pub status: Status,
    /// Its progress in percent.
    pub percent: Option<i16>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// When it was told first.
    pub told_at: Option<OffsetDateTime>,
    /// When something last changed.
    pub updated_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
}

/// The firmware that a device is to be told, with what the message needs.
#[derive(Debug, Clone)]
pub struct Told {
    /// The device.
    pub device: DeviceId,
    /// Its org.
    pub org: crate::accounts::OrgId,
    /// The row of the firmware.
    pub firmware_id: Uuid,
    /// Its fwup UUID.
    pub uuid: Uuid,
    /// Product name of its metadata.
    pub product: String,
    /// Version.
    pub version: String,
    /// Board.
    pub platform: String,
    /// CPU architecture.
    pub architecture: String,
    /// Free text.
    pub author: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Free text.
    pub misc: Option<String>,
    /// Free text.
    pub vcs_identifier: Option<String>,
    /// Bytes of the file.
    pub size_bytes: i64,
    /// SHA-256 of the file.
    pub sha256: Vec<u8>,
}

/// How many updates of a release stand where, for its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Devices of the group.
    pub devices: i64,
    /// Of these, how many run the release's firmware.
    pub on_release: i64,
    /// Of these, how many are connected.
    pub connected: i64,
    /// Latest updates of the current release, by where they stand.
    pub by_status: Vec<(Status, i64)>,
    /// Failures, refusals and delays, by reason, most first.
    pub reasons: Vec<(Status, String, i64)>,
}
