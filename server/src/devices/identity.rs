//! The rules that turn a certificate into a device (device-link §1.4). Nothing else makes a [`Peer`].
//!
//! The TLS layer proves only that the peer holds the certificate's key. A certificate that is pinned to a device is that
//! device, whatever its dates; any other must introduce itself by a CA of the device's org.

use std::collections::HashMap;

use sqlx::{Acquire as _, PgConnection};

use super::model::{DeviceId, Identifier};
use super::store::{self, NewCertificate, sweep};
use crate::accounts::OrgId;
use crate::ca::service as ca;
use crate::ca::x509::Certificate;
use crate::ca::{Ca, Jitp};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, ids};
use crate::products::ProductId;

/// The proof that a link is this device's. Opens that one device's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    device: DeviceId,
    org: OrgId,
    product: ProductId,
    identifier: String,
}

impl Peer {
    pub(super) fn new(device: DeviceId, org: OrgId, product: ProductId, identifier: String) -> Self {
        Self {
            device,
            org,
            product,
            identifier,
        }
    }

    /// A peer that nothing has proven.
    #[cfg(test)]
    pub fn of_test(device: DeviceId, org: OrgId, product: ProductId) -> Self {
        Self::new(device, org, product, "test".to_owned())
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
}

/// A pinned certificate and the device that it is.
#[derive(Debug)]
pub(super) struct Known {
    pub fingerprint: Vec<u8>,
    pub peer: Peer,
    pub deleted: bool,
}

/// Why a device was answered 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// It showed no certificate.
    #[error("no certificate")]
    NoCertificate,
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
    #[error("the certificate has no usable common name")]
    NoIdentifier,
    /// The CA's org has no device of this name, and the CA provisions none.
    #[error("the device is not registered")]
    NotRegistered,
    /// The device is deleted.
    #[error("the device is deleted: restore or destroy it")]
    Deleted,
    /// The device has another key already.
    #[error("the device has a certificate with another key")]
    OtherKey,
    /// The key belongs to a device of another name or org.
    #[error("the key belongs to another device")]
    ForeignKey,
    /// The server could not look it up; the device should try again.
    #[error("the server could not look the device up")]
    Unavailable,
}

impl Refusal {
    /// The constant word for figures and for operators.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Malformed => "malformed_certificate",
            Self::UnknownCa => "unknown_ca",
            Self::BadSignature => "bad_signature",
            Self::NotInDate => "not_in_date",
            Self::NoIdentifier => "no_identifier",
            Self::NotRegistered => "not_registered",
            Self::Deleted => "deleted",
            Self::OtherKey => "other_key",
            Self::ForeignKey => "foreign_key",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Who these certificates are, in their order, in one statement; none where a certificate is not pinned and must be
/// introduced.
///
/// # Errors
/// When the database fails.
pub async fn known(
    platform: &Platform,
    proof: Sweep,
    certificates: &[Certificate],
) -> sqlx::Result<Vec<Option<Result<Peer, Refusal>>>> {
    let mut conn = platform.db.acquire().await?;
    let fingerprints: Vec<Vec<u8>> = certificates
        .iter()
        .map(|certificate| certificate.fingerprint.to_vec())
        .collect();
    let pinned = sweep::find_by_fingerprints(&mut conn, proof, &fingerprints).await?;
    let pinned: HashMap<Vec<u8>, Known> = pinned
        .into_iter()
        .map(|known| (known.fingerprint.clone(), known))
        .collect();
    let mut answers = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        answers.push(match pinned.get(certificate.fingerprint.as_slice()) {
            Some(known) if known.deleted => {
                Some(refuse(&mut conn, platform, proof, &known.peer, Refusal::Deleted).await?)
            }
            Some(known) => Some(Ok(known.peer.clone())),
            None => None,
        });
    }
    Ok(answers)
}

/// Who a certificate is that was not known a moment ago: pins it, where it may be pinned.
///
/// # Errors
/// When the database fails.
pub async fn introduced(
    platform: &Platform,
    proof: Sweep,
    certificate: &Certificate,
) -> sqlx::Result<Result<Peer, Refusal>> {
    let again = known(platform, proof, std::slice::from_ref(certificate)).await?;
    if let Some(Some(answer)) = again.into_iter().next() {
        return Ok(answer);
    }
    introduce(&mut *platform.db.acquire().await?, platform, proof, certificate).await
}

async fn refuse(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    peer: &Peer,
    refusal: Refusal,
) -> sqlx::Result<Result<Peer, Refusal>> {
    sweep::insert_refusal(
        conn,
        proof,
        peer.org,
        &peer.identifier,
        refusal.reason(),
        platform.clock.now(),
    )
    .await?;
    Ok(Err(refusal))
}

/// A certificate that is not pinned yet: by its CA, and by what is known of its key and its name.
async fn introduce(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    certificate: &Certificate,
) -> sqlx::Result<Result<Peer, Refusal>> {
    let Some(identifier) = certificate
        .common_name
        .as_deref()
        .and_then(|name| name.parse::<Identifier>().ok())
    else {
        return Ok(Err(Refusal::NoIdentifier));
    };
    let Some(aki) = &certificate.aki else {
        return Ok(Err(Refusal::UnknownCa));
    };
    let Some(ca) = ca::find_by_ski(conn, proof, aki).await? else {
        return Ok(Err(Refusal::UnknownCa));
    };
    if let Err(refusal) = check_path(platform, certificate, &ca) {
        return Ok(Err(refusal));
    }
    let mut tx = conn.begin().await?;
    let found = match find_or_provision(&mut tx, platform, proof, certificate, &identifier, &ca).await? {
        Ok(peer) => pin(&mut tx, platform, &peer, certificate)
            .await?
            .then_some(peer)
            .ok_or(Refusal::ForeignKey),
        Err(refusal) => Err(refusal),
    };
    if found.is_ok() {
        ca::mark_used(&mut tx, &ca, platform.clock.now()).await?;
        tx.commit().await?;
        return Ok(found);
    }
    tx.rollback().await?;
    if let Err(refusal) = found {
        sweep::insert_refusal(
            conn,
            proof,
            ca.org_id,
            identifier.as_str(),
            refusal.reason(),
            platform.clock.now(),
        )
        .await?;
    }
    Ok(found)
}

/// Signature and dates. A new certificate must be in date; its CA only where the CA says so.
fn check_path(platform: &Platform, certificate: &Certificate, ca: &Ca) -> Result<(), Refusal> {
    if !certificate.was_issued_by(&ca.der) {
        return Err(Refusal::BadSignature);
    }
    let now = platform.clock.now();
    let ca_in_date = ca.not_before <= now && now <= ca.not_after;
    if !certificate.is_valid_at(now) || (ca.check_expiration && !ca_in_date) {
        return Err(Refusal::NotInDate);
    }
    Ok(())
}

async fn find_or_provision(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    certificate: &Certificate,
    identifier: &Identifier,
    ca: &Ca,
) -> sqlx::Result<Result<Peer, Refusal>> {
    if let Some((peer, deleted)) = sweep::find_by_public_key(conn, proof, &certificate.public_key_fingerprint).await? {
        return Ok(rotated(peer, deleted, identifier, ca));
    }
    match sweep::find_by_identifier(conn, proof, ca.org_id, identifier.as_str()).await? {
        Some((_, true, _)) => Ok(Err(Refusal::Deleted)),
        Some((_, _, true)) => Ok(Err(Refusal::OtherKey)),
        Some((peer, ..)) => Ok(Ok(peer)),
        None => match &ca.jitp {
            Some(jitp) => provision(conn, platform, proof, identifier, ca.org_id, jitp)
                .await
                .map(Ok),
            None => Ok(Err(Refusal::NotRegistered)),
        },
    }
}

/// The same key with a new certificate.
fn rotated(peer: Peer, deleted: bool, identifier: &Identifier, ca: &Ca) -> Result<Peer, Refusal> {
    if deleted {
        return Err(Refusal::Deleted);
    }
    if peer.identifier != identifier.as_str() || peer.org != ca.org_id {
        return Err(Refusal::ForeignKey);
    }
    Ok(peer)
}

async fn provision(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    identifier: &Identifier,
    org: OrgId,
    jitp: &Jitp,
) -> sqlx::Result<Peer> {
    let peer = Peer::new(platform.new_id(), org, jitp.product_id, identifier.to_string());
    sweep::insert_provisioned(conn, proof, &peer, jitp, platform.clock.now()).await?;
    Ok(peer)
}

async fn pin(
    conn: &mut PgConnection,
    platform: &Platform,
    peer: &Peer,
    certificate: &Certificate,
) -> sqlx::Result<bool> {
    let new = NewCertificate {
        id: ids::new_uuid(&platform.clock, &platform.random),
        org_id: peer.org,
        device_id: peer.device,
        certificate,
        now: platform.clock.now(),
    };
    store::insert_certificate(conn, new).await
}
