//! What links write of certificates and secrets: when they were used, and the next certificate of a device
//! (`docs/decisions/0010`).

use serde_json::json;
use sqlx::PgConnection;
use time::Duration;
use uuid::Uuid;

use crate::audit::{self, Act, Actor, Subject};
use crate::ca::authority;
use crate::ca::request::{Request, RequestError};
use crate::ca::service::{self as ca, OwnError};
use crate::ca::x509::Certificate;
use crate::devices::identity::{Credential, Peer, USED_EVERY};
use crate::devices::model::CertificateId;
use crate::devices::store::credentials::sweep;
use crate::devices::store::{self, NewCertificate};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, db};

/// A device that asks for another key has to wait this long, …
const OTHER_KEY_AFTER: Duration = Duration::minutes(1);
/// … and this long after it came by its new certificate.
const AGAIN_AFTER: Duration = Duration::hours(1);

/// Why a device gets no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The link was not proved by a certificate, or that was revoked meanwhile.
    #[error("the link was not proved by a certificate that is good")]
    NoCertificate,
    /// The request cannot be read.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It names another device.
    #[error("the identifier is another one")]
    OtherName,
    /// The certificate's CA does not renew.
    #[error("the certificate's CA does not renew certificates")]
    NotOffered,
    /// The key is not a new one.
    #[error("the key was used before")]
    UsedKey,
    /// It asks too often.
    #[error("the certificate was renewed a moment ago; ask later")]
    TooSoon,
    /// The CA itself ends too early.
    #[error("the CA ends before the certificate would")]
    CaEnds,
    /// The server failed.
    #[error("the server could not renew the certificate; ask later")]
    Server(#[source] OwnError),
}

impl From<sqlx::Error> for RenewalError {
    fn from(error: sqlx::Error) -> Self {
        Self::Server(error.into())
    }
}

/// The next certificate of the device of this link, in PEM, for the key of its request. The one of now is good until the
/// device comes by the new one. The same request again gives the same certificate.
///
/// # Errors
/// [`RenewalError`] says why there is none.
pub async fn renew(platform: &Platform, proof: Sweep, peer: &Peer, csr: &str) -> Result<String, RenewalError> {
    let Credential::Certificate(shown) = peer.credential() else {
        return Err(RenewalError::NoCertificate);
    };
    let request = Request::from_pem(csr)?;
    if request.common_name != peer.identifier() {
        return Err(RenewalError::OtherName);
    }
    let now = platform.clock.now();
    let mut tx = platform.db.begin().await?;
    let current = sweep::lock_certificate(&mut tx, proof, shown.id)
        .await?
        .ok_or(RenewalError::NoCertificate)?;
    if let Some(issued) = sweep::find_successor(&mut tx, proof, shown.id).await? {
        if issued.public_key_fingerprint == request.public_key_fingerprint {
            return Ok(authority::pem(&issued.der));
        }
        if issued.created_at + OTHER_KEY_AFTER > now {
            return Err(RenewalError::TooSoon);
        }
        sweep::delete_unproven(&mut tx, proof, issued.id).await?;
    }
    if current.proven_at.is_some_and(|at| at + AGAIN_AFTER > now) {
        return Err(RenewalError::TooSoon);
    }
    let of_key = sweep::find_by_public_key(&mut tx, proof, &request.public_key_fingerprint).await?;
    if of_key.is_some() {
        return Err(RenewalError::UsedKey);
    }
    let aki = current.aki.unwrap_or_default();
    let authority = ca::open_renewing(&mut tx, platform, proof, peer.org(), &aki)
        .await
        .map_err(RenewalError::Server)?
        .ok_or(RenewalError::NotOffered)?;
    let ca_ends = authority.ends().map_err(|error| RenewalError::Server(error.into()))?;
    let until = (now + (current.not_after - current.not_before)).min(ca_ends);
    if until <= current.not_after {
        return Err(RenewalError::CaEnds);
    }
    let pem = authority
        .issue_for(&request, platform.random.bytes(), now, until)
        .map_err(|error| RenewalError::Server(error.into()))?;
    let certificate = Certificate::from_pem(&pem).map_err(|_| RequestError::Key)?;
    if certificate.public_key_fingerprint != request.public_key_fingerprint {
        return Err(RequestError::Key.into());
    }
    pin(&mut tx, platform, peer, shown.id, &certificate).await?;
    record(&mut tx, platform, peer, "device.certificate_issued").await?;
    tx.commit().await?;
    Ok(pem)
}

async fn pin(
    conn: &mut PgConnection,
    platform: &Platform,
    peer: &Peer,
    replaces: CertificateId,
    certificate: &Certificate,
) -> Result<(), RenewalError> {
    let new = NewCertificate {
        id: platform.new_id(),
        org_id: peer.org(),
        device_id: peer.device(),
        certificate,
        replaces: Some(replaces),
        now: platform.clock.now(),
    };
    match store::insert_certificate(conn, new).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(RenewalError::UsedKey),
        Err(error) if db::violated(&error) == Some("device_certificates_fingerprint_key") => Err(RenewalError::TooSoon),
        Err(error) => Err(error.into()),
    }
}

async fn record(conn: &mut PgConnection, platform: &Platform, peer: &Peer, action: &'static str) -> sqlx::Result<()> {
    let act = Act {
        org_id: peer.org().0,
        actor: &Actor::System("renewal"),
        action,
        subject: Subject {
            kind: "device",
            id: Some(peer.device().0),
            name: peer.identifier(),
        },
        detail: json!({}),
    };
    audit::record(conn, platform, act).await
}

/// Devices joined by these: notes when their credentials were used, and retires the certificates whose successors were
/// shown for the first time.
///
/// # Errors
/// When the database fails.
pub(super) async fn used(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    peers: &[&Peer],
) -> sqlx::Result<()> {
    let now = platform.clock.now();
    let due: Vec<Uuid> = peers
        .iter()
        .filter(|peer| !peer.is_noted())
        .map(|peer| peer.credential().id())
        .collect();
    if !due.is_empty() {
        sweep::update_used(conn, proof, &due, now - USED_EVERY, now).await?;
    }
    let unproven: Vec<Uuid> = peers
        .iter()
        .filter_map(|peer| match peer.credential() {
            Credential::Certificate(pinned) if pinned.is_unproven => Some(pinned.id.0),
            _ => None,
        })
        .collect();
    if unproven.is_empty() {
        return Ok(());
    }
    for device in sweep::prove(conn, proof, &unproven, now).await? {
        if let Some(peer) = peers.iter().find(|peer| peer.device() == device) {
            record(conn, platform, peer, "device.certificate_renewed").await?;
        }
    }
    Ok(())
}

/// Forgets revoked certificates that could not be used any more.
///
/// # Errors
/// When the database fails.
pub async fn prune(conn: &mut PgConnection, platform: &Platform, proof: Sweep) -> sqlx::Result<()> {
    sweep::prune_revoked(conn, proof, platform.clock.now()).await
}
