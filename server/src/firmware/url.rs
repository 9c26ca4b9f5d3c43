//! Signed links: who holds one may fetch one archive until it ends, without any other proof.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::model::FirmwareId;
use super::store::Archive;
use crate::accounts::{OrgId, UserId};
use crate::platform::Platform;
use crate::platform::vault::VaultError;

/// The name of the secret that signs links.
const SECRET: &str = "firmware_url";
/// Archives whose size and place are remembered: a rollout asks for few, many times.
const REMEMBERED: usize = 64;

/// Makes and checks links. One a process, cheap to clone.
#[derive(Clone)]
pub struct FirmwareUrls(Arc<Inner>);

struct Inner {
    base: String,
    lifetime: Duration,
    key: hmac::Key,
    recent: Mutex<VecDeque<(Ticket, Arc<Archive>)>>,
}

impl std::fmt::Debug for FirmwareUrls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("FirmwareUrls").field(&self.0.base).finish()
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

/// The proof that a link was ours and has not ended: it opens one archive of one org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    org: OrgId,
    firmware: FirmwareId,
}

impl Ticket {
    pub(super) fn org(&self) -> OrgId {
        self.org
    }

    pub(super) fn firmware(&self) -> FirmwareId {
        self.firmware
    }
}

/// Why a link does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It was not made here, for this archive and this holder, or it was changed.
    #[error("This link is not valid for this firmware.")]
    Foreign,
    /// It has ended.
    #[error("This link has expired; ask for a new one.")]
    Expired,
}

impl FirmwareUrls {
    /// Links below `base`, an absolute URL without a slash at its end, signed by the server's own secret. Each is good
    /// for `lifetime`.
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

    /// The absolute URL by which this holder may fetch this archive from now on.
    pub fn sign(&self, org: OrgId, firmware: FirmwareId, holder: Holder, now: OffsetDateTime) -> String {
        format!("{}{}", self.0.base, self.path(org, firmware, holder, now))
    }

    /// The same without scheme and host, for who is connected already.
    pub fn path(&self, org: OrgId, firmware: FirmwareId, holder: Holder, now: OffsetDateTime) -> String {
        let expires = (now + self.0.lifetime).unix_timestamp();
        let (kind, id) = holder.parameter();
        let tag = hmac::sign(&self.0.key, message(org, firmware, holder, expires).as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(tag);
        format!("/firmware/{org}/{firmware}.fw?{kind}={id}&expires={expires}&signature={signature}")
    }

    /// Checks a link; takes the same time whatever is wrong with its signature.
    ///
    /// # Errors
    /// [`LinkError`] says why it does not open.
    pub fn check(
        &self,
        org: OrgId,
        firmware: FirmwareId,
        signed: &Signed,
        now: OffsetDateTime,
    ) -> Result<Ticket, LinkError> {
        let holder = match (signed.device, signed.user) {
            (Some(device), None) => Holder::Device(device),
            (None, Some(user)) => Holder::User(UserId(user)),
            _ => return Err(LinkError::Foreign),
        };
        let tag = URL_SAFE_NO_PAD
            .decode(&signed.signature)
            .map_err(|_| LinkError::Foreign)?;
        let expires: i64 = signed.expires.parse().map_err(|_| LinkError::Foreign)?;
        let message = message(org, firmware, holder, expires);
        hmac::verify(&self.0.key, message.as_bytes(), &tag).map_err(|_| LinkError::Foreign)?;
        if expires <= now.unix_timestamp() {
            return Err(LinkError::Expired);
        }
        Ok(Ticket { org, firmware })
    }

    /// The archive of a ticket that was asked for not long ago.
    pub(super) fn recent(&self, ticket: &Ticket) -> Option<Arc<Archive>> {
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let found = recent.iter().find(|(known, _)| known == ticket)?;
        Some(Arc::clone(&found.1))
    }

    /// Remembers an archive; the one that was remembered first is forgotten.
    pub(super) fn remember(&self, ticket: Ticket, archive: Archive) -> Arc<Archive> {
        let archive = Arc::new(archive);
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.truncate(REMEMBERED - 1);
        recent.push_front((ticket, Arc::clone(&archive)));
        archive
    }

    /// Forgets an archive that is gone.
    pub(super) fn forget(&self, ticket: &Ticket) {
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(known, _)| known != ticket);
    }
}

fn message(org: OrgId, firmware: FirmwareId, holder: Holder, expires: i64) -> String {
    let (kind, id) = holder.parameter();
    format!("{org} {firmware} {kind} {id} {expires}")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

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
        let urls = FirmwareUrls::new("https://fw.example/", &[1; 32], LIFETIME);
        let url = urls.sign(ORG, FIRMWARE, Holder::Device(DEVICE), NOW);
        assert!(url.starts_with("https://fw.example/firmware/00000000-0000-0000-0000-000000000001/"));
        let good = signed(&url);
        assert!(urls.check(ORG, FIRMWARE, &good, NOW).is_ok());
        let ended = urls.check(ORG, FIRMWARE, &good, NOW + LIFETIME);
        assert_eq!(ended, Err(LinkError::Expired));
    }

    #[test]
    fn every_changed_part_makes_a_link_foreign() {
        let urls = FirmwareUrls::new("", &[1; 32], LIFETIME);
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
        let other_secret = FirmwareUrls::new("", &[2; 32], LIFETIME);
        assert_eq!(other_secret.check(ORG, FIRMWARE, &good, NOW), foreign);
    }
}
