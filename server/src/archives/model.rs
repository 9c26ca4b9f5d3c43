//! What an archive is.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::packages::Package;

crate::declare_id! {
    /// An archive of a product.
    ArchiveId
}

/// An archive of a product.
pub type Archive = Package<ArchiveId>;

/// An archive that a device is to be sent, with what the message needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub id: ArchiveId,
    /// fwup's UUID of its `meta.conf`: what devices remember it by.
    pub uuid: Uuid,
    /// Its version.
    pub version: String,
    /// What it says of itself.
    pub description: Option<String>,
    /// The board that it is for.
    pub platform: String,
    /// The processor that it is for.
    pub architecture: String,
    /// Bytes of the file.
    pub size_bytes: i64,
    /// When it was uploaded.
    pub uploaded_at: OffsetDateTime,
}
