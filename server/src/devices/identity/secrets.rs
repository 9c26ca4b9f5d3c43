//! Who signs by a shared secret (device-link §1.5): a product's secret, which makes the devices that come by it, or one
//! device's own.

use futures_util::stream::{self, StreamExt as _};
use muster_link::credential::{Claim, CredentialError};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{Credential, Peer, Refusal};
use crate::accounts::OrgId;
use crate::devices::model::{DeviceId, Identifier, SecretId};
use crate::devices::service::secrets;
use crate::devices::store::credentials::sweep;
use crate::platform::sweep::Sweep;
use crate::platform::vault::{Sealed, VaultError};
use crate::platform::{Platform, db};
use crate::products::ProductId;

/// Signatures that are checked at once: each may cost 5 ms of a core.
const CHECKS: usize = 2;

/// The secret that a signature names, and the device of the name that it signs.
#[derive(Debug)]
pub(in crate::devices) struct Asked {
    pub secret: SecretId,
    pub org: OrgId,
    pub product: ProductId,
    /// The one device whose secret it is.
    pub device: Option<DeviceId>,
    pub sealed: Sealed,
    pub last_used_at: Option<OffsetDateTime>,
    pub is_off: bool,
    pub is_product_deleted: bool,
    pub namesake: Option<Namesake>,
}

/// The org's device of a name.
#[derive(Debug, Clone, Copy)]
pub(in crate::devices) struct Namesake {
    pub device: DeviceId,
    pub product: ProductId,
    pub is_deleted: bool,
}

/// To whom a good signature belongs.
#[derive(Debug, PartialEq, Eq)]
enum Signer {
    Device(DeviceId),
    New,
}

impl Asked {
    /// What can be said before the signature is checked.
    fn check(&self) -> Result<(), Refusal> {
        if self.is_off {
            return Err(Refusal::SecretOff);
        }
        Ok(())
    }

    /// Whose a good signature is.
    fn signer(&self) -> Result<Signer, Refusal> {
        if self.is_product_deleted {
            return Err(Refusal::Deleted);
        }
        match (self.device, self.namesake) {
            (Some(own), Some(namesake)) if own != namesake.device => Err(Refusal::ForeignSecret),
            (Some(_), None) => Err(Refusal::ForeignSecret),
            (_, Some(namesake)) if namesake.is_deleted => Err(Refusal::Deleted),
            (_, Some(namesake)) if namesake.product != self.product => Err(Refusal::ForeignSecret),
            (_, Some(namesake)) => Ok(Signer::Device(namesake.device)),
            (None, None) => Ok(Signer::New),
        }
    }
}

/// Who signed these claims, in their order: one statement, and one more for each device that is made.
///
/// # Errors
/// When the database fails.
pub async fn by_secrets(
    platform: &Platform,
    proof: Sweep,
    claims: Vec<Claim>,
) -> Result<Vec<Result<Peer, Refusal>>, VaultError> {
    let mut conn = platform.db.acquire().await?;
    let (keys, names): (Vec<String>, Vec<String>) = claims
        .iter()
        .map(|claim| (claim.key().to_owned(), storable(claim.identifier())))
        .unzip();
    let asked = sweep::find_secrets(&mut conn, proof, &keys, &names).await?;
    let mut checks = Vec::with_capacity(claims.len());
    let now = now_ms(platform);
    for (claim, asked) in claims.iter().zip(&asked) {
        let secret = match asked.as_ref().map(|asked| (asked, asked.check())) {
            None => Err(Refusal::UnknownSecret),
            Some((_, Err(refusal))) => Err(refusal),
            Some((asked, Ok(()))) => {
                let binding = secrets::binding(asked.secret);
                Ok(platform.vault.open(&mut conn, &binding, &asked.sealed).await?)
            }
        };
        checks.push(check(claim.clone(), secret, now));
    }
    drop(conn);
    let checked: Vec<Result<(), Refusal>> = stream::iter(checks).buffered(CHECKS).collect().await;
    let mut answers = Vec::with_capacity(claims.len());
    for ((claim, asked), checked) in claims.iter().zip(asked).zip(checked) {
        answers.push(match (checked, asked) {
            (Ok(()), Some(asked)) => admit(platform, proof, claim.identifier(), &asked).await?,
            (Err(refusal), _) => Err(refusal),
            (Ok(()), None) => Err(Refusal::UnknownSecret),
        });
    }
    Ok(answers)
}

/// What can be looked up: Postgres takes no zero byte.
fn storable(identifier: &str) -> String {
    identifier.replace('\0', "\u{fffd}")
}

/// Now, as signatures say it.
pub fn now_ms(platform: &Platform) -> u64 {
    u64::try_from(platform.clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

/// Checks a signature off the runtime's threads.
async fn check(claim: Claim, secret: Result<Zeroizing<Vec<u8>>, Refusal>, now_ms: u64) -> Result<(), Refusal> {
    let secret = secret?;
    let checked = tokio::task::spawn_blocking(move || {
        let secret = std::str::from_utf8(&secret).map_err(|_| CredentialError::Signature)?;
        claim.verify(secret, now_ms)
    });
    match checked.await {
        Ok(verified) => verified.map_err(Refusal::from),
        Err(_) => Err(Refusal::Unavailable),
    }
}

impl From<CredentialError> for Refusal {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Headers | CredentialError::Algorithm | CredentialError::Token => Self::MalformedSignature,
            CredentialError::Expired => Self::NotOfNow,
            CredentialError::Signature => Self::WrongSignature,
        }
    }
}

/// The device of a good signature; one that is not there is made, where the secret is its product's.
async fn admit(
    platform: &Platform,
    proof: Sweep,
    identifier: &str,
    asked: &Asked,
) -> sqlx::Result<Result<Peer, Refusal>> {
    let Ok(identifier) = identifier.parse::<Identifier>() else {
        return Ok(Err(Refusal::NoIdentifier));
    };
    let device = match asked.signer() {
        Ok(Signer::Device(device)) => device,
        Ok(Signer::New) => match create(platform, proof, &identifier, asked).await? {
            Some(device) => device,
            // Another connection of the device made it at the same moment: it comes again and is known.
            None => return Ok(Err(Refusal::Unavailable)),
        },
        Err(refusal) => {
            let (mut conn, now) = (platform.db.acquire().await?, platform.clock.now());
            sweep::insert_refusal(&mut conn, proof, asked.org, identifier.as_str(), refusal.reason(), now).await?;
            return Ok(Err(refusal));
        }
    };
    let credential = Credential::Secret(asked.secret);
    let peer = Peer::new(device, asked.org, asked.product, identifier.as_str(), credential);
    Ok(Ok(peer.last_used(asked.last_used_at, platform.clock.now())))
}

async fn create(
    platform: &Platform,
    proof: Sweep,
    identifier: &Identifier,
    asked: &Asked,
) -> sqlx::Result<Option<DeviceId>> {
    let new = sweep::NewDevice {
        id: platform.new_id(),
        org: asked.org,
        product: asked.product,
        identifier: identifier.as_str(),
        description: "",
        tags: &[],
        now: platform.clock.now(),
    };
    let mut conn = platform.db.acquire().await?;
    match sweep::insert_provisioned(&mut conn, proof, &new).await {
        Ok(()) => Ok(Some(new.id)),
        Err(error) if db::violated(&error) == Some("devices_identifier_key") => Ok(None),
        Err(error) => Err(error),
    }
}
