//! URLs from which one device may fetch one firmware for a day, without a client certificate: HMAC-SHA256 over org,
//! firmware, device and expiry.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::platform::Platform;
use crate::platform::vault::VaultError;

/// How long a URL is good.
pub const LIFETIME: Duration = Duration::hours(24);
/// The name of the secret that signs URLs.
const SECRET: &str = "firmware_url";

/// Signs URLs and checks them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FirmwareUrls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    base: String,
    key: hmac::Key,
}

/// What a signed URL says after its path.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Grant {
    /// For which device, or which person.
    pub device: Uuid,
    /// Until when, in Unix seconds.
    pub expires: i64,
    /// The signature.
    pub signature: String,
}

/// Why a URL opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It was not signed by this server, or was changed.
    #[error("This URL was not signed by this server.")]
    Foreign,
    /// It is too old.
    #[error("This URL has expired; join again to get a new one.")]
    Expired,
}

impl FirmwareUrls {
    /// URLs below `base`, signed by the server's secret.
    ///
    /// # Errors
    /// When the vault fails.
    pub async fn open(conn: &mut PgConnection, platform: &Platform, base: &str) -> Result<Self, VaultError> {
        let secret = platform.vault.secret(conn, SECRET).await?;
        Ok(Self::new(base, &*secret))
    }

    fn new(base: &str, secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self(Arc::new(Inner {
            base: base.trim_end_matches('/').to_owned(),
            key,
        }))
    }

    /// The URL from which `device` may fetch `firmware` of `org` for [`LIFETIME`].
    pub fn sign(&self, org: Uuid, firmware: Uuid, device: Uuid, now: OffsetDateTime) -> String {
        let expires = (now + LIFETIME).unix_timestamp();
        let tag = hmac::sign(&self.0.key, message(org, firmware, device, expires).as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(tag);
        let base = &self.0.base;
        format!("{base}/firmware/{org}/{firmware}.fw?device={device}&expires={expires}&signature={signature}")
    }

    /// Whether the URL with this path and grant is good now.
    ///
    /// # Errors
    /// [`GrantError`] says why not.
    pub fn check(&self, org: Uuid, firmware: Uuid, grant: &Grant, now: OffsetDateTime) -> Result<(), GrantError> {
        let tag = URL_SAFE_NO_PAD
            .decode(&grant.signature)
            .map_err(|_| GrantError::Foreign)?;
        let message = message(org, firmware, grant.device, grant.expires);
        hmac::verify(&self.0.key, message.as_bytes(), &tag).map_err(|_| GrantError::Foreign)?;
        if grant.expires < now.unix_timestamp() {
            return Err(GrantError::Expired);
        }
        Ok(())
    }
}

fn message(org: Uuid, firmware: Uuid, device: Uuid, expires: i64) -> String {
    format!("muster firmware url 1\n{org}\n{firmware}\n{device}\n{expires}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORG: Uuid = Uuid::from_u128(1);
    const FIRMWARE: Uuid = Uuid::from_u128(2);
    const DEVICE: Uuid = Uuid::from_u128(3);
    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn signed() -> (FirmwareUrls, Grant) {
        let urls = FirmwareUrls::new("https://hub.example/", b"secret");
        let url = urls.sign(ORG, FIRMWARE, DEVICE, NOW);
        let (path, query) = url.split_once('?').unwrap();
        assert_eq!(path, format!("https://hub.example/firmware/{ORG}/{FIRMWARE}.fw"));
        let value = |key: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(key))
                .unwrap()
                .to_owned()
        };
        let expires = value("expires=").parse().unwrap();
        (
            urls,
            Grant {
                device: DEVICE,
                expires,
                signature: value("signature="),
            },
        )
    }

    #[test]
    fn signed_url_opens_its_firmware_for_a_day() {
        let (urls, grant) = signed();
        assert_eq!(urls.check(ORG, FIRMWARE, &grant, NOW + LIFETIME), Ok(()));
        let later = NOW + LIFETIME + Duration::SECOND;
        assert_eq!(urls.check(ORG, FIRMWARE, &grant, later), Err(GrantError::Expired));
    }

    #[test]
    fn changed_url_opens_nothing() {
        let (urls, grant) = signed();
        let foreign = Err(GrantError::Foreign);
        assert_eq!(urls.check(DEVICE, FIRMWARE, &grant, NOW), foreign);
        assert_eq!(urls.check(ORG, ORG, &grant, NOW), foreign);
        assert_eq!(
            urls.check(
                ORG,
                FIRMWARE,
                &Grant {
                    device: ORG,
                    ..grant.clone()
                },
                NOW
            ),
            foreign
        );
        assert_eq!(
            urls.check(
                ORG,
                FIRMWARE,
                &Grant {
                    expires: grant.expires + 1,
                    ..grant.clone()
                },
                NOW
            ),
            foreign
        );
        assert_eq!(
            urls.check(
                ORG,
                FIRMWARE,
                &Grant {
                    signature: "%".into(),
                    ..grant.clone()
                },
                NOW
            ),
            foreign
        );
        assert_eq!(
            FirmwareUrls::new("", b"other").check(ORG, FIRMWARE, &grant, NOW),
            foreign
        );
    }
}
