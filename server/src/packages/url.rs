//! Signed links: who holds one may fetch one archive until it ends, without any other proof.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::Kind;
use super::model::Stored;
use crate::accounts::{OrgId, UserId};
use crate::platform::Platform;
use crate::platform::vault::VaultError;

/// The name of the secret that signs links.
const SECRET: &str = "firmware_url";
/// Archives whose size and place are remembered: a rollout asks for few, many times.
const REMEMBERED: usize = 64;

/// Makes and checks links. One a process, cheap to clone.
#[derive(Clone)]
pub struct PackageUrls(Arc<Inner>);

struct Inner {
    base: String,
    lifetime: Duration,
    key: hmac::Key,
    recent: Mutex<VecDeque<(Place, Arc<Stored>)>>,
}

/// Whose package it is, and its id.
type Place = (OrgId, Uuid);

impl std::fmt::Debug for PackageUrls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("PackageUrls").field(&self.0.base).finish()
    }
}

/// Whom a link was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A device, by its id.
    Device(Uuid),
    /// A person.
    User(UserId),
}

impl Holder {
    fn parameter(self) -> (&'static str, Uuid) {
        match self {
            Self::Device(id) => ("device", id),
            Self::User(id) => ("user", id.0),
        }
    }
}

/// What a link's query says; nothing of it is believed before its signature is checked.
#[derive(Debug, Clone, Deserialize)]
pub struct Signed {
    device: Option<Uuid>,
    user: Option<Uuid>,
    expires: String,
    signature: String,
}

/// The proof that a link was ours and has not ended: it opens one package of one org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket<K> {
    org: OrgId,
    package: K,
}

impl<K: Kind> Ticket<K> {
    /// Its org.
    pub fn org(&self) -> OrgId {
        self.org
    }

    /// The package.
    pub fn package(&self) -> K {
        self.package
    }

    fn place(&self) -> Place {
        (self.org, self.package.uuid())
    }
}

/// Why a link does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It was not made here, for this archive and this holder, or it was changed.
    #[error("This link is not valid for this file.")]
    Foreign,
    /// It has ended.
    #[error("This link has expired; ask for a new one.")]
    Expired,
}

impl PackageUrls {
    /// Links below `base`, an absolute URL without a slash at its end, signed by the server's own secret. Each is good
    /// for `lifetime`, unless its kind says otherwise.
    ///
    /// # Errors
    /// When the vault does not open the secret, or the database fails.
    pub async fn open(platform: &Platform, base: &str, lifetime: Duration) -> Result<Self, VaultError> {
        let mut tx = platform.db.begin().await?;
        let secret = platform.vault.secret(&mut tx, SECRET).await?;
        tx.commit().await?;
        Ok(Self::new(base, &secret, lifetime))
    }

    /// Links below `base`, signed by this secret.
    pub fn new(base: &str, secret: &[u8; 32], lifetime: Duration) -> Self {
        Self(Arc::new(Inner {
            base: base.trim_end_matches('/').to_owned(),
            lifetime,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            recent: Mutex::default(),
        }))
    }

    /// The absolute URL by which this holder may fetch this package from now on.
    pub fn sign<K: Kind>(&self, org: OrgId, package: K, holder: Holder, now: OffsetDateTime) -> String {
        format!("{}{}", self.0.base, self.path(org, package, holder, now))
    }

    /// The same without scheme and host, for who is connected already.
    pub fn path<K: Kind>(&self, org: OrgId, package: K, holder: Holder, now: OffsetDateTime) -> String {
        let lifetime = K::LINK_LIFETIME.unwrap_or(self.0.lifetime);
        let expires = (now + lifetime).unix_timestamp();
        let (kind, id) = holder.parameter();
        let tag = hmac::sign(&self.0.key, message(org, package, holder, expires).as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(tag);
        let folder = K::FOLDER;
        format!("/{folder}/{org}/{package}.fw?{kind}={id}&expires={expires}&signature={signature}")
    }

    /// Checks a link; takes the same time whatever is wrong with its signature.
    ///
    /// # Errors
    /// [`LinkError`] says why it does not open.
    pub fn check<K: Kind>(
        &self,
        org: OrgId,
        package: K,
        signed: &Signed,
        now: OffsetDateTime,
    ) -> Result<Ticket<K>, LinkError> {
        let holder = match (signed.device, signed.user) {
            (Some(device), None) => Holder::Device(device),
            (None, Some(user)) => Holder::User(UserId(user)),
            _ => return Err(LinkError::Foreign),
        };
        let tag = URL_SAFE_NO_PAD
            .decode(&signed.signature)
            .map_err(|_| LinkError::Foreign)?;
        let expires: i64 = signed.expires.parse().map_err(|_| LinkError::Foreign)?;
        let message = message(org, package, holder, expires);
        hmac::verify(&self.0.key, message.as_bytes(), &tag).map_err(|_| LinkError::Foreign)?;
        if expires <= now.unix_timestamp() {
            return Err(LinkError::Expired);
        }
        Ok(Ticket { org, package })
    }

    /// The bytes of a ticket that were asked for not long ago.
    pub(super) fn recent<K: Kind>(&self, ticket: &Ticket<K>) -> Option<Arc<Stored>> {
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let found = recent.iter().find(|(known, _)| *known == ticket.place())?;
        Some(Arc::clone(&found.1))
    }

    /// Remembers where bytes lie; what was remembered first is forgotten.
    pub(super) fn remember<K: Kind>(&self, ticket: &Ticket<K>, stored: Stored) -> Arc<Stored> {
        let stored = Arc::new(stored);
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.truncate(REMEMBERED - 1);
        recent.push_front((ticket.place(), Arc::clone(&stored)));
        stored
    }

    /// Forgets a package that is gone.
    pub(super) fn forget<K: Kind>(&self, ticket: &Ticket<K>) {
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(known, _)| *known != ticket.place());
    }
}

fn message<K: Kind>(org: OrgId, package: K, holder: Holder, expires: i64) -> String {
    let (kind, id) = holder.parameter();
    format!("{}{org} {package} {kind} {id} {expires}", K::SIGNED_AS)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::firmware::FirmwareId;

    const NOW: OffsetDateTime = datetime!(2026-08-20 10:00 UTC);
    const ORG: OrgId = OrgId(Uuid::from_u128(1));
    const FIRMWARE: FirmwareId = FirmwareId(Uuid::from_u128(2));
    const DEVICE: Uuid = Uuid::from_u128(3);
    const LIFETIME: Duration = Duration::hours(24);

    fn signed(url: &str) -> Signed {
        let query = url.split_once('?').unwrap().1;
        let value = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
            pair.map(str::to_owned)
        };
        Signed {
            device: value("device").map(|id| id.parse().unwrap()),
            user: value("user").map(|id| id.parse().unwrap()),
            expires: value("expires").unwrap(),
            signature: value("signature").unwrap(),
        }
    }

    #[test]
    fn a_link_opens_its_archive_until_it_ends() {
        let urls = PackageUrls::new("https://fw.example/", &[1; 32], LIFETIME);
        let url = urls.sign(ORG, FIRMWARE, Holder::Device(DEVICE), NOW);
        assert!(url.starts_with("https://fw.example/firmware/00000000-0000-0000-0000-000000000001/"));
        let good = signed(&url);
        assert!(urls.check(ORG, FIRMWARE, &good, NOW).is_ok());
        let ended = urls.check(ORG, FIRMWARE, &good, NOW + LIFETIME);
        assert_eq!(ended, Err(LinkError::Expired));
    }

    #[test]
    fn every_changed_part_makes_a_link_foreign() {
        let urls = PackageUrls::new("", &[1; 32], LIFETIME);
        let good = signed(&urls.sign(ORG, FIRMWARE, Holder::Device(DEVICE), NOW));
        let check = |org, firmware, signed: &Signed| urls.check(org, firmware, signed, NOW);
        assert!(check(ORG, FIRMWARE, &good).is_ok());
        let foreign = Err(LinkError::Foreign);
        assert_eq!(check(OrgId(DEVICE), FIRMWARE, &good), foreign);
        assert_eq!(check(ORG, FirmwareId(DEVICE), &good), foreign);
        let changes: [fn(&mut Signed); 6] = [
            |signed| signed.expires.push('0'),
            |signed| signed.device = Some(Uuid::nil()),
            |signed| (signed.user, signed.device) = (signed.device, None),
            |signed| signed.user = signed.device,
            |signed| signed.signature = URL_SAFE_NO_PAD.encode([0; 32]),
            |signed| signed.signature = "!".to_owned(),
        ];
        for change in changes {
            let mut changed = good.clone();
            change(&mut changed);
            assert_eq!(check(ORG, FIRMWARE, &changed), foreign, "{changed:?}");
        }
        let other_secret = PackageUrls::new("", &[2; 32], LIFETIME);
        assert_eq!(other_secret.check(ORG, FIRMWARE, &good, NOW), foreign);
    }
}
