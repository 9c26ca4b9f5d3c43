//! Use cases of shared secrets: made, shown once, deactivated.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use muster_link::credential::{DEVICE_KEY, PRODUCT_KEY};
use serde_json::json;
use sqlx::PgConnection;
use zeroize::Zeroizing;

use crate::accounts::{Forbidden, Role};
use crate::audit::{self, Act, Subject};
use crate::devices::model::{Device, NewSecret, SecretId, SharedSecret};
use crate::devices::store::credentials::sweep;
use crate::devices::store::secrets;
use crate::platform::Platform;
use crate::platform::events::{self, News, kind};
use crate::platform::sweep::Sweep;
use crate::platform::vault::VaultError;
use crate::products::Product;

/// Most secrets of one product, or of one device, that are active at once.
pub const SECRETS_MAX: usize = 20;

/// Why a secret was not made or deactivated.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The role is too low.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There are [`SECRETS_MAX`] already.
    #[error("There are 20 active secrets; deactivate one first.")]
    TooMany,
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The secrets of the product itself, or of one of its devices, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn list(
    conn: &mut PgConnection,
    product: &Product,
    device: Option<&Device>,
) -> sqlx::Result<Vec<SharedSecret>> {
    secrets::list(conn, product, device.map(|device| device.id)).await
}

/// Makes a secret of the product, by which its devices come and are made, or of one device.
///
/// # Errors
/// [`SecretError`] says why not.
pub async fn create(platform: &Platform, product: &Product, device: Option<&Device>) -> Result<NewSecret, SecretError> {
    product.org().require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    let there = list(&mut tx, product, device).await?;
    if there.iter().filter(|secret| secret.deactivated_at.is_none()).count() >= SECRETS_MAX {
        return Err(SecretError::TooMany);
    }
    let text = || Zeroizing::new(STANDARD_NO_PAD.encode(*Zeroizing::new(platform.random.bytes::<32>())));
    let prefix = if device.is_some() { DEVICE_KEY } else { PRODUCT_KEY };
    let (id, key, secret): (SecretId, _, _) = (platform.new_id(), format!("{prefix}{}", *text()), text());
    let sealed = platform.vault.seal(&mut tx, &binding(id), secret.as_bytes()).await?;
    let now = platform.clock.now();
    let new = secrets::NewSecret {
        id,
        device: device.map(|device| device.id),
        key: &key,
        sealed: &sealed,
        now,
    };
    secrets::insert(&mut tx, product, &new).await?;
    record(&mut tx, platform, product, device, "shared_secret.created", &key).await?;
    tx.commit().await?;
    let shared = SharedSecret {
        id,
        key,
        created_at: now,
        deactivated_at: None,
        last_used_at: None,
    };
    Ok(NewSecret { shared, secret })
}

/// Deactivates a secret: the links of devices that came by it end. Whether it was active.
///
/// # Errors
/// [`SecretError`] says why not.
pub async fn deactivate(
    platform: &Platform,
    product: &Product,
    device: Option<&Device>,
    id: SecretId,
) -> Result<bool, SecretError> {
    product.org().require(Role::Manage)?;
    let now = platform.clock.now();
    let mut tx = platform.db.begin().await?;
    let Some(key) = secrets::deactivate(&mut tx, product, device.map(|device| device.id), id, now).await? else {
        return Ok(false);
    };
    record(&mut tx, platform, product, device, "shared_secret.deactivated", &key).await?;
    let news = News {
        kind: kind::SECRET_OFF,
        org_id: product.org().id().0,
        product_id: Some(product.id().0),
        subject_id: id.0,
    };
    events::publish(&mut tx, now, &[news]).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(true)
}

async fn record(
    conn: &mut PgConnection,
    platform: &Platform,
    product: &Product,
    device: Option<&Device>,
    action: &'static str,
    key: &str,
) -> sqlx::Result<()> {
    let subject = match device {
        Some(device) => Subject {
            kind: "device",
            id: Some(device.id.0),
            name: &device.identifier,
        },
        None => Subject {
            kind: "product",
            id: Some(product.id().0),
            name: product.name(),
        },
    };
    let act = Act {
        org_id: product.org().id().0,
        actor: product.org().actor(),
        action,
        subject,
        detail: json!({ "key": key }),
    };
    audit::record(conn, platform, act).await
}

/// What a sealed secret is bound to.
pub(in crate::devices) fn binding(id: SecretId) -> String {
    format!("shared_secrets.sealed.{id}")
}

/// Seals every secret anew by the vault's newest data key, in the transaction of a rotation; says how many.
///
/// # Errors
/// When one does not open, or the database fails.
pub async fn reseal(conn: &mut PgConnection, platform: &Platform, proof: Sweep) -> Result<usize, VaultError> {
    let all = sweep::lock_sealed(conn, proof).await?;
    for (id, old) in &all {
        let new = platform.vault.reseal(conn, &binding(*id), old).await?;
        sweep::update_sealed(conn, proof, *id, &new).await?;
    }
    Ok(all.len())
}
