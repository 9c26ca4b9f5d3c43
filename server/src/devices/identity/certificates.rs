//! Who shows a certificate: the one it is pinned to, else the one that its CA introduces.

use std::collections::HashMap;

use sqlx::{Acquire as _, PgConnection};
use time::OffsetDateTime;

use super::introduction::{self, Holder, Introduced};
use super::{Credential, Peer, Pinned, Refusal};
use crate::ca::Ca;
use crate::ca::service as ca;
use crate::ca::x509::Certificate;
use crate::devices::model::{CertificateId, DeviceId, Identifier};
use crate::devices::store::credentials::sweep;
use crate::devices::store::{self, NewCertificate};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, db};

/// A certificate that was pinned once, and whether it still is.
#[derive(Debug)]
pub(in crate::devices) struct Known {
    pub fingerprint: Vec<u8>,
    pub holder: Holder,
    pub pinned: Pinned,
    pub last_used_at: Option<OffsetDateTime>,
    pub standing: Standing,
}

/// Whether a certificate proves anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::devices) enum Standing {
    Good,
    Deleted,
    Revoked,
}

impl Known {
    fn peer(&self, now: OffsetDateTime) -> Result<Peer, Refusal> {
        match self.standing {
            Standing::Good => {
                Ok(peer(&self.holder, Credential::Certificate(self.pinned)).last_used(self.last_used_at, now))
            }
            Standing::Deleted => Err(Refusal::Deleted),
            Standing::Revoked => Err(Refusal::Revoked),
        }
    }
}

fn peer(holder: &Holder, credential: Credential) -> Peer {
    Peer::new(
        holder.device,
        holder.org,
        holder.product,
        holder.identifier.as_str(),
        credential,
    )
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
    let found = sweep::find_by_fingerprints(&mut conn, proof, &fingerprints).await?;
    let found: HashMap<Vec<u8>, Known> = found
        .into_iter()
        .map(|known| (known.fingerprint.clone(), known))
        .collect();
    let mut answers = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        let known = found.get(certificate.fingerprint.as_slice());
        let answer = known.map(|known| known.peer(platform.clock.now()));
        if let Some((known, Err(refusal))) = known.zip(answer.as_ref()) {
            note(&mut conn, platform, proof, &known.holder, *refusal).await?;
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// A refusal that an org can name: its operators see it.
async fn note(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    holder: &Holder,
    refusal: Refusal,
) -> sqlx::Result<()> {
    let now = platform.clock.now();
    sweep::insert_refusal(conn, proof, holder.org, &holder.identifier, refusal.reason(), now).await
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
    let mut is_again = false;
    loop {
        let known = known(platform, proof, std::slice::from_ref(certificate)).await?;
        if let Some(Some(answer)) = known.into_iter().next() {
            return Ok(answer);
        }
        let mut conn = platform.db.acquire().await?;
        match introduce(&mut conn, platform, proof, certificate).await {
            // Another connection of the device was faster; what it wrote decides.
            Err(error) if !is_again && is_race(&error) => is_again = true,
            done => return done,
        }
    }
}

/// Whether somebody else pinned the same certificate, or made the same device, at the same moment.
fn is_race(error: &sqlx::Error) -> bool {
    matches!(
        db::violated(error),
        Some("device_certificates_fingerprint_key" | "devices_identifier_key")
    )
}

/// A certificate that is not pinned yet: by its CA, and by what is known of its key and its name.
async fn introduce(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    certificate: &Certificate,
) -> sqlx::Result<Result<Peer, Refusal>> {
    let identifier = match introduction::identifier(certificate) {
        Ok(identifier) => identifier,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(aki) = &certificate.aki else {
        return Ok(Err(Refusal::UnknownCa));
    };
    let Some(ca) = ca::find_by_ski(conn, proof, aki).await? else {
        return Ok(Err(Refusal::UnknownCa));
    };
    if let Err(refusal) = introduction::check_path(certificate, &ca, platform.clock.now()) {
        return Ok(Err(refusal));
    }
    ca::mark_used(conn, &ca, platform.clock.now()).await?;
    let mut tx = conn.begin().await?;
    let found = find_or_provision(&mut tx, platform, proof, certificate, &identifier, &ca).await?;
    if found.is_ok() {
        tx.commit().await?;
        return Ok(found);
    }
    tx.rollback().await?;
    if let Err(refusal) = found {
        let now = platform.clock.now();
        sweep::insert_refusal(conn, proof, ca.org_id, identifier.as_str(), refusal.reason(), now).await?;
    }
    Ok(found)
}

async fn find_or_provision(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    certificate: &Certificate,
    identifier: &Identifier,
    ca: &Ca,
) -> sqlx::Result<Result<Peer, Refusal>> {
    let of_name = sweep::find_by_identifier(conn, proof, ca.org_id, identifier.as_str()).await?;
    let of_key = sweep::find_by_public_key(conn, proof, &certificate.public_key_fingerprint).await?;
    let holder = match introduction::decide(identifier, ca, of_key, of_name) {
        Ok(Introduced::Device(holder)) => holder,
        Ok(Introduced::New(jitp)) => {
            let new = sweep::NewDevice {
                id: platform.new_id::<DeviceId>(),
                org: ca.org_id,
                product: jitp.product_id,
                identifier: identifier.as_str(),
                description: &jitp.description,
                tags: &jitp.tags,
                now: platform.clock.now(),
            };
            sweep::insert_provisioned(conn, proof, &new).await?;
            new.holder()
        }
        Err(refusal) => return Ok(Err(refusal)),
    };
    let pinned = match pin(conn, platform, &holder, certificate).await? {
        Pinning::Done(id) => Pinned {
            id,
            is_unproven: false,
            may_renew: ca.renews == Some(true),
        },
        Pinning::KeyTaken => return Ok(Err(Refusal::ForeignKey)),
        Pinning::SerialTaken => return Ok(Err(Refusal::SerialTaken)),
    };
    Ok(Ok(peer(&holder, Credential::Certificate(pinned))))
}

/// What became of an attempt to pin a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::devices) enum Pinning {
    /// It is pinned, under this id.
    Done(CertificateId),
    /// Another device has its key.
    KeyTaken,
    /// The device has another certificate of this serial number.
    SerialTaken,
}

async fn pin(
    conn: &mut PgConnection,
    platform: &Platform,
    holder: &Holder,
    certificate: &Certificate,
) -> sqlx::Result<Pinning> {
    let id: CertificateId = platform.new_id();
    let new = NewCertificate {
        id,
        org_id: holder.org,
        device_id: holder.device,
        certificate,
        replaces: None,
        now: platform.clock.now(),
    };
    match store::insert_certificate(conn, new).await {
        Ok(true) => Ok(Pinning::Done(id)),
        Ok(false) => Ok(Pinning::KeyTaken),
        Err(error) if db::violated(&error) == Some("device_certificates_serial_key") => Ok(Pinning::SerialTaken),
        Err(error) => Err(error),
    }
}
