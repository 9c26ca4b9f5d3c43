//! Use cases of signing keys.

use std::collections::HashMap;

use muster_fwup::{KeyError, PublicKey};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{KeyId, SCHEME, SigningKey};
use super::store;
use crate::accounts::{Forbidden, Org, OrgId, Role};
use crate::audit::{self, Act, Actor, Subject};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, db};

/// Why a key was not added or deleted.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The role is too low.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The name is empty, too long, or holds a slash or a control character.
    #[error("must have 1 to 100 characters, without slashes")]
    Name,
    /// It is no key.
    #[error("is {0}")]
    Key(#[from] KeyError),
    /// Another scheme.
    #[error("must be {SCHEME}")]
    Scheme,
    /// The org has a key of this name.
    #[error("has already been taken")]
    NameTaken,
    /// The org has this key.
    #[error("has already been added")]
    KeyTaken,
    /// Firmware or an archive was signed with it.
    #[error("or archives are signed with this key; delete them first")]
    InUse,
    /// There is none of this name.
    #[error("there is no key of this name")]
    Unknown,
    /// The database failed.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for SigningKeyError {
    fn from(error: sqlx::Error) -> Self {
        match db::violated(&error) {
            Some("signing_keys_name_key") => Self::NameTaken,
            Some("signing_keys_public_key_key") => Self::KeyTaken,
            Some("signing_keys_name_check") => Self::Name,
            Some("firmwares_signing_key_id_fkey" | "archives_signing_key_id_fkey") => Self::InUse,
            _ => Self::Database(error),
        }
    }
}

/// The org's keys, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, org: &Org) -> sqlx::Result<Vec<SigningKey>> {
    store::list(conn, org).await
}

/// The org's key of this name.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &mut PgConnection, org: &Org, name: &str) -> sqlx::Result<Option<SigningKey>> {
    store::find(conn, org, name).await
}

/// The public keys of any org, for its devices.
///
/// # Errors
/// When the database fails.
pub async fn public_keys(conn: &mut PgConnection, proof: Sweep, org: OrgId) -> sqlx::Result<Vec<PublicKey>> {
    store::sweep::list_of_org(conn, proof, org).await
}

/// Trusts a key, given as base64 of its 32 bytes.
///
/// # Errors
/// [`SigningKeyError`] says what is refused.
pub async fn create(
    platform: &Platform,
    org: &Org,
    name: &str,
    key: &str,
    scheme: Option<&str>,
) -> Result<SigningKey, SigningKeyError> {
    org.require(Role::Manage)?;
    if scheme.is_some_and(|scheme| scheme != SCHEME) {
        return Err(SigningKeyError::Scheme);
    }
    let key = SigningKey {
        id: platform.new_id(),
        name: name.to_owned(),
        key: key.trim().parse()?,
        created_at: platform.clock.now(),
    };
    let mut tx = platform.db.begin().await?;
    store::insert(&mut tx, org, &key, user(org)).await?;
    record(&mut tx, platform, org, "signing_key.created", key.id, &key.name).await?;
    tx.commit().await?;
    Ok(key)
}

/// Trusts a key no longer. Refused while there is firmware or an archive signed with it.
///
/// # Errors
/// [`SigningKeyError`] says what is refused.
pub async fn delete(platform: &Platform, org: &Org, name: &str) -> Result<(), SigningKeyError> {
    org.require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    let id = store::delete(&mut tx, org, name)
        .await?
        .ok_or(SigningKeyError::Unknown)?;
    record(&mut tx, platform, org, "signing_key.deleted", id, name).await?;
    tx.commit().await?;
    Ok(())
}

fn user(org: &Org) -> Option<Uuid> {
    match org.actor() {
        Actor::User(id, _) => Some(*id),
        Actor::System(_) => None,
    }
}

async fn record(
    conn: &mut PgConnection,
    platform: &Platform,
    org: &Org,
    action: &'static str,
    id: KeyId,
    name: &str,
) -> sqlx::Result<()> {
    let act = Act {
        org_id: org.id().0,
        actor: org.actor(),
        action,
        subject: Subject {
            kind: "signing_key",
            id: Some(id.0),
            name,
        },
        detail: json!({}),
    };
    audit::record(conn, platform, act).await
}

/// The keys of these orgs in base64, for devices that ask for them.
///
/// # Errors
/// When the database fails.
pub async fn of_orgs(
    conn: &mut PgConnection,
    proof: Sweep,
    orgs: &[OrgId],
) -> sqlx::Result<HashMap<OrgId, Vec<String>>> {
    store::sweep::of_orgs(conn, proof, orgs).await
}
