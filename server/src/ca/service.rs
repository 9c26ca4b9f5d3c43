//! Use cases of CA certificates.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::authority::{Authority, AuthorityError};
use super::model::{Ca, CaId, Jitp, VERIFICATION_LIFETIME, VERIFICATION_URI};
use super::store;
use super::x509::{Certificate, CertificateError};
use crate::accounts::{Forbidden, Org, OrgId, Role};
use crate::audit::{self, Act, Actor, Subject};
use crate::platform::sweep::Sweep;
use crate::platform::vault::VaultError;
use crate::platform::{Platform, db};

/// The name of the secret that signs verification tokens.
const TOKEN_SECRET: &str = "ca_verification";

/// Why a CA was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The role is too low.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The CA certificate cannot be read.
    #[error("The CA certificate {0}.")]
    Certificate(CertificateError),
    /// It is not a CA.
    #[error("The certificate is not a CA: its basic constraints do not allow it to sign.")]
    NotCa,
    /// It has no subject key identifier, by which device certificates would name it.
    #[error("The CA certificate has no subject key identifier.")]
    NoKeyIdentifier,
    /// It is expired or not valid yet.
    #[error("The CA certificate is not valid now.")]
    NotInDate,
    /// The verification certificate cannot be read.
    #[error("The verification certificate {0}.")]
    Verification(CertificateError),
    /// The proof is missing, old, or another org's.
    #[error(
        "The verification certificate does not prove that the CA is yours: it must be signed by the CA and have the alternative name URI:{VERIFICATION_URI} followed by a token of this org that is at most an hour old."
    )]
    NotProven,
    /// Someone registered this CA before.
    #[error("This CA certificate is already registered.")]
    Taken,
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A CA to register, as an operator gives it.
#[derive(Debug, Clone)]
pub struct Registration<'a> {
    /// The CA certificate in PEM.
    pub certificate_pem: &'a str,
    /// A certificate signed by it that holds a token, in PEM.
    pub verification_pem: &'a str,
    /// Free text.
    pub description: Option<&'a str>,
    /// What an unknown device becomes.
    pub jitp: Option<Jitp>,
}

/// A token that a verification certificate must hold; good for an hour.
///
/// # Errors
/// When the vault or the database fails.
pub async fn verification_token(platform: &Platform, org: &Org) -> Result<String, VaultError> {
    let mut tx = platform.db.begin().await?;
    let secret = platform.vault.secret(&mut tx, TOKEN_SECRET).await?;
    tx.commit().await?;
    let expires = (platform.clock.now() + VERIFICATION_LIFETIME).unix_timestamp();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*secret);
    let tag = hmac::sign(&key, token_message(org, expires).as_bytes());
    Ok(format!("{expires}.{}", URL_SAFE_NO_PAD.encode(tag)))
}

fn token_message(org: &Org, expires: i64) -> String {
    format!("{}-{}-{expires}", org.id(), org.name())
}

fn token_is_good(org: &Org, secret: &[u8], token: &str, now: OffsetDateTime) -> bool {
    let Some((expires, tag)) = token.split_once('.') else {
        return false;
    };
    let (Ok(expires), Ok(tag)) = (expires.parse::<i64>(), URL_SAFE_NO_PAD.decode(tag)) else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    expires >= now.unix_timestamp() && hmac::verify(&key, token_message(org, expires).as_bytes(), &tag).is_ok()
}

/// Registers a CA once its possession is proven.
///
/// # Errors
/// [`RegisterError`] says what is missing.
pub async fn register(platform: &Platform, org: &Org, registration: Registration<'_>) -> Result<Ca, RegisterError> {
    org.require(Role::Manage)?;
    let now = platform.clock.now();
    let certificate = Certificate::from_pem(registration.certificate_pem).map_err(RegisterError::Certificate)?;
    let ski = check_ca(&certificate, now)?;
    let mut tx = platform.db.begin().await?;
    let secret = platform.vault.secret(&mut tx, TOKEN_SECRET).await?;
    let proof = Certificate::from_pem(registration.verification_pem).map_err(RegisterError::Verification)?;
    let proven = proof.uris.iter().any(|uri| {
        uri.strip_prefix(VERIFICATION_URI)
            .is_some_and(|token| token_is_good(org, &*secret, token, now))
    });
    if !proven || !proof.is_valid_at(now) || !proof.was_issued_by(&certificate.der) {
        return Err(RegisterError::NotProven);
    }
    let new = store::NewCa {
        id: platform.new_id(),
        org_id: org.id(),
        certificate: &certificate,
        ski: &ski,
        description: registration.description,
        jitp: registration.jitp.as_ref(),
        key: None,
        now,
    };
    add(&mut tx, platform, org.actor(), new).await?;
    let ca = store::find(&mut tx, org, &certificate.serial)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    tx.commit().await?;
    Ok(ca)
}

fn check_ca(certificate: &Certificate, now: OffsetDateTime) -> Result<Vec<u8>, RegisterError> {
    if !certificate.is_ca {
        return Err(RegisterError::NotCa);
    }
    if !certificate.is_valid_at(now) {
        return Err(RegisterError::NotInDate);
    }
    certificate.ski.clone().ok_or(RegisterError::NoKeyIdentifier)
}

async fn add(
    conn: &mut PgConnection,
    platform: &Platform,
    actor: &Actor,
    new: store::NewCa<'_>,
) -> Result<(), RegisterError> {
    let (id, org_id, serial) = (new.id, new.org_id, new.certificate.serial.clone());
    store::insert(conn, new)
        .await
        .map_err(|error| match db::violated(&error) {
            Some("ca_certificates_ski_key" | "ca_certificates_serial_key") => RegisterError::Taken,
            _ => RegisterError::Database(error),
        })?;
    let act = Act {
        org_id: org_id.0,
        actor,
        action: "ca_certificate.registered",
        subject: Subject {
            kind: "ca_certificate",
            id: Some(id.0),
            name: &serial,
        },
        detail: json!({}),
    };
    Ok(audit::record(conn, platform, act).await?)
}

/// Why an own CA could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// A certificate could not be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// It could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Makes a CA whose key the server holds, and registers it for the org.
///
/// # Errors
/// [`OwnError`] says what failed.
pub async fn create_own(
    conn: &mut PgConnection,
    platform: &Platform,
    _proof: Sweep,
    org_id: OrgId,
    name: &str,
) -> Result<Authority, OwnError> {
    let now = platform.clock.now();
    let (authority, key) = Authority::create(name, platform.random.bytes(), now)?;
    let certificate = Certificate::from_der(authority.certificate_der()).map_err(RegisterError::Certificate)?;
    let ski = check_ca(&certificate, now)?;
    let id: CaId = platform.new_id();
    let sealed = platform.vault.seal(conn, &key_binding(id), &key).await?;
    let new = store::NewCa {
        id,
        org_id,
        certificate: &certificate,
        ski: &ski,
        description: Some(name),
        jitp: None,
        key: Some(&sealed),
        now,
    };
    add(conn, platform, &Actor::System("muster-server"), new).await?;
    Ok(authority)
}

/// The org's newest CA whose key the server holds.
///
/// # Errors
/// [`OwnError`] says what failed.
pub async fn open_own(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    org_id: OrgId,
) -> Result<Option<Authority>, OwnError> {
    let Some((id, der, sealed)) = store::sweep::find_own(conn, proof, org_id).await? else {
        return Ok(None);
    };
    let key = platform.vault.open(conn, &key_binding(id), &sealed).await?;
    Ok(Some(Authority::load(&der, &key)?))
}

/// The oldest CA whose key the server holds, of whatever org: the one that agents were given first, and so the one that
/// signs the listener's certificate.
///
/// # Errors
/// [`OwnError`] says what failed.
pub async fn open_first_own(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
) -> Result<Option<Authority>, OwnError> {
    let Some((id, der, sealed)) = store::sweep::find_first_own(conn, proof).await? else {
        return Ok(None);
    };
    let key = platform.vault.open(conn, &key_binding(id), &sealed).await?;
    Ok(Some(Authority::load(&der, &key)?))
}

/// The org's CA with this key identifier, if it issues devices' next certificates.
///
/// # Errors
/// [`OwnError`] says what failed.
pub async fn open_renewing(
    conn: &mut PgConnection,
    platform: &Platform,
    proof: Sweep,
    org_id: OrgId,
    ski: &[u8],
) -> Result<Option<Authority>, OwnError> {
    let Some((id, der, sealed)) = store::sweep::find_renewing(conn, proof, org_id, ski).await? else {
        return Ok(None);
    };
    let key = platform.vault.open(conn, &key_binding(id), &sealed).await?;
    Ok(Some(Authority::load(&der, &key)?))
}

/// Seals every key anew by the vault's newest data key, in the transaction of a rotation; says how many.
///
/// # Errors
/// When one does not open, or the database fails.
pub async fn reseal(conn: &mut PgConnection, platform: &Platform, proof: Sweep) -> Result<usize, VaultError> {
    let keys = store::sweep::lock_sealed_keys(conn, proof).await?;
    for (id, old) in &keys {
        let new = platform.vault.reseal(conn, &key_binding(*id), old).await?;
        store::sweep::update_sealed_key(conn, proof, *id, &new).await?;
    }
    Ok(keys.len())
}

/// What a CA's sealed key is bound to.
pub fn key_binding(id: CaId) -> String {
    format!("ca_certificates.sealed_key.{id}")
}

/// The CA whose key has this identifier.
///
/// # Errors
/// When the database fails.
pub async fn find_by_ski(conn: &mut PgConnection, proof: Sweep, ski: &[u8]) -> sqlx::Result<Option<Ca>> {
    store::sweep::find_by_ski(conn, proof, ski).await
}

/// Notes that a device came by this CA.
///
/// # Errors
/// When the database fails.
pub async fn mark_used(conn: &mut PgConnection, ca: &Ca, now: OffsetDateTime) -> sqlx::Result<()> {
    store::update_last_used(conn, ca.id, now).await
}

/// The org's CAs, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, org: &Org) -> sqlx::Result<Vec<Ca>> {
    store::list(conn, org).await
}

/// The org's CA with this serial number.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &mut PgConnection, org: &Org, serial: &str) -> sqlx::Result<Option<Ca>> {
    store::find(conn, org, serial).await
}

/// What may be changed of a CA.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Whether it issues devices' next certificates over their links.
    pub renews: Option<bool>,
    /// Whether it introduces no more devices once it has expired.
    pub check_expiration: Option<bool>,
}

/// Changes a CA.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn update(platform: &Platform, org: &Org, ca: &Ca, changes: Changes) -> Result<Ca, ChangeError> {
    org.require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    if let Some(renews) = changes.renews {
        let is_held = store::update_renews(&mut tx, org, ca.id, renews).await?;
        if !is_held && renews {
            return Err(ChangeError::NotHeld);
        }
    }
    if let Some(check) = changes.check_expiration {
        store::update_check_expiration(&mut tx, org, ca.id, check).await?;
    }
    let act = Act {
        org_id: org.id().0,
        actor: org.actor(),
        action: "ca_certificate.changed",
        subject: Subject {
            kind: "ca_certificate",
            id: Some(ca.id.0),
            name: &ca.serial,
        },
        detail: json!({ "renews": changes.renews, "check_expiration": changes.check_expiration }),
    };
    audit::record(&mut tx, platform, act).await?;
    let changed = store::find(&mut tx, org, &ca.serial)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    tx.commit().await?;
    Ok(changed)
}

/// Why a CA was not changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The role is too low.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// It cannot sign: its key is elsewhere.
    #[error("needs a CA whose key the server holds, made by `muster-server up` or `ca init`")]
    NotHeld,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Removes a CA. Devices that came by it keep their pinned certificates.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn remove(platform: &Platform, org: &Org, ca: &Ca) -> Result<(), ChangeError> {
    org.require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    store::delete(&mut tx, org, ca.id).await?;
    let act = Act {
        org_id: org.id().0,
        actor: org.actor(),
        action: "ca_certificate.removed",
        subject: Subject {
            kind: "ca_certificate",
            id: Some(ca.id.0),
            name: &ca.serial,
        },
        detail: json!({}),
    };
    audit::record(&mut tx, platform, act).await?;
    Ok(tx.commit().await?)
}
