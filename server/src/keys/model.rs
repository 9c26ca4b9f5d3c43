//! Signing keys.

use muster_fwup::PublicKey;
use time::OffsetDateTime;

crate::declare_id! {
    /// A signing key.
    KeyId
}

/// The only scheme there is.
pub const SCHEME: &str = "ed25519";

/// A public key that the org trusts.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// Its id.
    pub id: KeyId,
    /// What the org calls it.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// Since when.
    pub created_at: OffsetDateTime,
}
