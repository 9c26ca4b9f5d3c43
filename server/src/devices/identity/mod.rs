//! The rules that turn a certificate ([`certificates`], device-link §1.4) or a signature by a shared secret ([`secrets`],
//! §1.5) into a device. Nothing else makes a [`Peer`].
//!
//! The TLS layer proves only that the peer holds the certificate's key. A certificate that is pinned to a device is that
//! device, whatever its dates, until it is revoked; any other must introduce itself by a CA of the device's org. All of it
//! is looked up on every connection, a resumed TLS session too.

mod certificates;
mod introduction;
mod secrets;
#[cfg(test)]
mod tests;

pub(super) use self::certificates::{Known, Standing};
pub use self::certificates::{introduced, known};
pub(super) use self::introduction::Holder;
pub(super) use self::secrets::{Asked, Namesake};
pub use self::secrets::{by_secrets, now_ms};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::model::{CertificateId, DeviceId, SecretId};
use crate::accounts::OrgId;
use crate::products::ProductId;

/// When a credential was last used is noted this exactly: a fleet that comes back at once writes nothing.
pub const USED_EVERY: Duration = Duration::hours(1);

/// What a device proved itself by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// This certificate.
    Certificate(Pinned),
    /// A signature by this shared secret.
    Secret(SecretId),
}

impl Credential {
    /// The id of its row.
    pub fn id(self) -> Uuid {
        match self {
            Self::Certificate(pinned) => pinned.id.0,
            Self::Secret(secret) => secret.0,
        }
    }
}

/// A certificate that is pinned to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pinned {
    /// Its id.
    pub id: CertificateId,
    /// Whether the device comes by it for the first time after it was renewed: the one before is still good.
    pub is_unproven: bool,
    /// Whether its CA issues the next one over the link.
    pub may_renew: bool,
}

/// The proof that a link is this device's. Opens that one device's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    device: DeviceId,
    org: OrgId,
    product: ProductId,
    identifier: String,
    credential: Credential,
    is_noted: bool,
}

impl Peer {
    fn new(
        device: DeviceId,
        org: OrgId,
        product: ProductId,
        identifier: impl Into<String>,
        credential: Credential,
    ) -> Self {
        Self {
            device,
            org,
            product,
            identifier: identifier.into(),
            credential,
            is_noted: false,
        }
    }

    /// A credential that was last used at this time, as far as it was noted.
    fn last_used(mut self, at: Option<OffsetDateTime>, now: OffsetDateTime) -> Self {
        self.is_noted = at.is_some_and(|at| now < at + USED_EVERY);
        self
    }

    /// A peer that nothing has proven.
    #[cfg(test)]
    pub fn of_test(device: DeviceId, org: OrgId, product: ProductId) -> Self {
        let credential = Credential::Secret(SecretId(Uuid::nil()));
        Self::new(device, org, product, "test", credential)
    }

    /// The device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Its org.
    pub fn org(&self) -> OrgId {
        self.org
    }

    /// Its product.
    pub fn product(&self) -> ProductId {
        self.product
    }

    /// What it calls itself.
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Whether it was noted within [`USED_EVERY`] that the credential is in use.
    pub fn is_noted(&self) -> bool {
        self.is_noted
    }

    /// What it proved itself by.
    pub fn credential(&self) -> Credential {
        self.credential
    }
}

/// Why a device was answered 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// It showed no certificate and no signature.
    #[error("no certificate and no signature by a shared secret")]
    NoCredential,
    /// What it showed is no certificate that can be read.
    #[error("the certificate cannot be read")]
    Malformed,
    /// The certificate names no issuer, or one that no org registered.
    #[error("no registered CA issued the certificate")]
    UnknownCa,
    /// The CA did not sign it.
    #[error("the CA did not sign the certificate")]
    BadSignature,
    /// It, or its CA, is not in date.
    #[error("the certificate is not valid now")]
    NotInDate,
    /// It has no common name, or one that is no identifier.
    #[error("the device names itself by no usable identifier")]
    NoIdentifier,
    /// The CA's org has no device of this name, and the CA provisions none.
    #[error("the device is not registered")]
    NotRegistered,
    /// The device is deleted.
    #[error("the device is deleted: restore or destroy it")]
    Deleted,
    /// The certificate, or another with its key, was revoked.
    #[error("the certificate is revoked")]
    Revoked,
    /// The device has another key already.
    #[error("the device has a certificate with another key")]
    OtherKey,
    /// The key belongs to a device of another name or org.
    #[error("the key belongs to another device")]
    ForeignKey,
    /// The device has another certificate of this serial number.
    #[error("the device has another certificate of this serial number")]
    SerialTaken,
    /// The headers of a shared secret's signature cannot be read, or ask for too much work.
    #[error("the signature's headers cannot be read")]
    MalformedSignature,
    /// The signature is not of now.
    #[error("the signature is more than 90 seconds old or ahead")]
    NotOfNow,
    /// There is no secret of this key.
    #[error("there is no shared secret of this key")]
    UnknownSecret,
    /// The secret is deactivated.
    #[error("the shared secret is deactivated")]
    SecretOff,
    /// Another secret made the signature.
    #[error("the signature is wrong")]
    WrongSignature,
    /// The secret is another device's, or the device is another product's.
    #[error("the shared secret is not this device's")]
    ForeignSecret,
    /// The server could not look it up; the device should try again.
    #[error("the server could not look the device up")]
    Unavailable,
}

impl Refusal {
    /// The constant word for figures and for operators.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::Malformed => "malformed_certificate",
            Self::UnknownCa => "unknown_ca",
            Self::BadSignature => "bad_signature",
            Self::NotInDate => "not_in_date",
            Self::NoIdentifier => "no_identifier",
            Self::NotRegistered => "not_registered",
            Self::Deleted => "deleted",
            Self::Revoked => "revoked",
            Self::OtherKey => "other_key",
            Self::ForeignKey => "foreign_key",
            Self::SerialTaken => "serial_taken",
            Self::MalformedSignature => "malformed_signature",
            Self::NotOfNow => "not_of_now",
            Self::UnknownSecret => "unknown_secret",
            Self::SecretOff => "secret_off",
            Self::WrongSignature => "wrong_signature",
            Self::ForeignSecret => "foreign_secret",
            Self::Unavailable => "unavailable",
        }
    }
}
