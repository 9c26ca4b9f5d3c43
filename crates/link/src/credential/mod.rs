//! Shared secrets (device-link §1.5): how a device without a certificate signs its upgrade, and how a server checks it.
//!
//! The signature is made of the secret's text by PBKDF2 over a salt that holds the other headers, and HMAC-SHA256 over a
//! term that names the device and the time. The header chooses digest, rounds and length of the derived key; since whoever
//! knocks may choose them, they are bounded ([`CREDENTIAL_ROUNDS_MAX`], [`CREDENTIAL_KEY_MAX`]), and everything that can be
//! refused without the derivation is refused before it.

mod term;

use std::num::NonZeroU32;

use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::limits::{
    CREDENTIAL_HEADER_MAX, CREDENTIAL_KEY_MAX, CREDENTIAL_KEY_MIN, CREDENTIAL_ROUNDS_MAX, CREDENTIAL_SKEW,
};

/// The header that names the algorithm.
pub const ALG_HEADER: &str = "x-nh-alg";
/// The header with the key, which names the secret.
pub const KEY_HEADER: &str = "x-nh-key";
/// The header with the signing time, in whole seconds since 1970.
pub const TIME_HEADER: &str = "x-nh-time";
/// The header with the signature.
pub const SIGNATURE_HEADER: &str = "x-nh-signature";
/// Keys of products begin so; their devices are created when they first come.
pub const PRODUCT_KEY: &str = "nhp_";
/// Keys of devices begin so.
pub const DEVICE_KEY: &str = "nhd_";
/// What our agent, and NervesHubLink, signs with.
pub const ALG: &str = "NH1-HMAC-sha256-1000-32";

const ALG_PREFIX: &str = "NH1-HMAC-";
/// `HS256` in base64: the outer code is always HMAC-SHA256, whatever the header's digest.
const PROTECTED: &str = "SFMyNTY";

/// Why a signature proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CredentialError {
    /// A header is missing, too long, or not what it should be.
    #[error("the headers of the shared secret cannot be read")]
    Headers,
    /// The algorithm is unknown, or asks for more work than is done for a stranger.
    #[error("the algorithm of the shared secret is not taken")]
    Algorithm,
    /// The token is not a signed identifier and time.
    #[error("the signature is not a token")]
    Token,
    /// It was made more than 90 seconds ago, or ahead.
    #[error("the signature is not of now")]
    Expired,
    /// Another secret made it, or it was changed.
    #[error("the signature is wrong")]
    Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

/// A digest, rounds and the length of the derived key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Derivation {
    digest: Digest,
    rounds: NonZeroU32,
    length: usize,
}

impl Derivation {
    /// Reads `NH1-HMAC-{digest}-{rounds}-{length}`.
    fn read(alg: &str) -> Result<Self, CredentialError> {
        let refused = CredentialError::Algorithm;
        let parts: Vec<&str> = alg.strip_prefix(ALG_PREFIX).ok_or(refused)?.split('-').collect();
        let [digest, rounds, length] = parts[..] else {
            return Err(refused);
        };
        let digest = match digest.to_ascii_lowercase().as_str() {
            "sha256" => Digest::Sha256,
            "sha384" => Digest::Sha384,
            "sha512" => Digest::Sha512,
            _ => return Err(refused),
        };
        let rounds: u32 = decimal(rounds).ok_or(refused)?;
        let length: usize = decimal(length).ok_or(refused)?;
        let rounds = NonZeroU32::new(rounds).filter(|rounds| rounds.get() <= CREDENTIAL_ROUNDS_MAX);
        if !(CREDENTIAL_KEY_MIN..=CREDENTIAL_KEY_MAX).contains(&length) {
            return Err(refused);
        }
        Ok(Self {
            digest,
            rounds: rounds.ok_or(refused)?,
            length,
        })
    }

    fn key(self, salt: &str, secret: &str) -> hmac::Key {
        let algorithm = match self.digest {
            Digest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Digest::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            Digest::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut derived = [0; CREDENTIAL_KEY_MAX];
        let derived = &mut derived[..self.length];
        pbkdf2::derive(algorithm, self.rounds, salt.as_bytes(), secret.as_bytes(), derived);
        hmac::Key::new(hmac::HMAC_SHA256, derived)
    }
}

/// A number in decimal digits and nothing else.
fn decimal<N: std::str::FromStr>(text: &str) -> Option<N> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal.then(|| text.parse().ok()).flatten()
}

fn salt(alg: &str, key: &str, time: &str) -> String {
    format!("NH1:device-socket:shared-secret:connect\n\nx-nh-alg={alg}\nx-nh-key={key}\nx-nh-time={time}\n")
}

/// What a device claims: read from its headers, not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    key: String,
    salt: String,
    derivation: Derivation,
    message: String,
    tag: Vec<u8>,
    token: term::Token,
}

impl Claim {
    /// Reads the four headers.
    ///
    /// # Errors
    /// When one cannot be read, or asks for too much work.
    pub fn read(alg: &str, key: &str, time: &str, signature: &str) -> Result<Self, CredentialError> {
        let is_long = |text: &&str| text.is_empty() || text.len() > CREDENTIAL_HEADER_MAX;
        if [alg, key, time, signature].iter().any(is_long) || decimal::<u64>(time).is_none() {
            return Err(CredentialError::Headers);
        }
        let derivation = Derivation::read(alg)?;
        let (message, tag) = signature.rsplit_once('.').ok_or(CredentialError::Token)?;
        let (protected, payload) = message.split_once('.').ok_or(CredentialError::Token)?;
        if protected != PROTECTED {
            return Err(CredentialError::Token);
        }
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| CredentialError::Token);
        Ok(Self {
            key: key.to_owned(),
            salt: salt(alg, key, time),
            derivation,
            message: message.to_owned(),
            tag: decode(tag)?,
            token: term::read(&decode(payload)?).ok_or(CredentialError::Token)?,
        })
    }

    /// The key, which names the secret.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Who the device says it is. Nothing is proven before [`Claim::verify`].
    pub fn identifier(&self) -> &str {
        &self.token.identifier
    }

    /// Whether the signature is of now, give or take [`CREDENTIAL_SKEW`].
    ///
    /// # Errors
    /// [`CredentialError::Expired`] when it is not.
    pub fn check_time(&self, now_ms: u64) -> Result<(), CredentialError> {
        let skew = CREDENTIAL_SKEW.as_millis() as u64;
        if self.token.signed_at_ms.abs_diff(now_ms) > skew {
            return Err(CredentialError::Expired);
        }
        Ok(())
    }

    /// Checks the signature with the secret. Costs up to 5 ms of a core: not on a socket's thread.
    ///
    /// # Errors
    /// When another secret made it, or it is not of now.
    pub fn verify(&self, secret: &str, now_ms: u64) -> Result<(), CredentialError> {
        self.check_time(now_ms)?;
        let key = self.derivation.key(&self.salt, secret);
        hmac::verify(&key, self.message.as_bytes(), &self.tag).map_err(|_| CredentialError::Signature)
    }
}

/// A device's own headers, made when it dials: a signature is good for 90 seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Value of [`ALG_HEADER`].
    pub alg: String,
    /// Value of [`KEY_HEADER`].
    pub key: String,
    /// Value of [`TIME_HEADER`].
    pub time: String,
    /// Value of [`SIGNATURE_HEADER`].
    pub signature: String,
}

impl Signed {
    /// Signs for this device at this time, in whole seconds since 1970 and never rounded up.
    ///
    /// # Errors
    /// [`CredentialError::Algorithm`] when `alg` is none.
    pub fn new(alg: &str, key: &str, secret: &str, identifier: &str, time: u64) -> Result<Self, CredentialError> {
        let derivation = Derivation::read(alg)?;
        let time_text = time.to_string();
        let payload = URL_SAFE_NO_PAD.encode(term::write(identifier, time * 1000));
        let message = format!("{PROTECTED}.{payload}");
        let tag = hmac::sign(&derivation.key(&salt(alg, key, &time_text), secret), message.as_bytes());
        Ok(Self {
            alg: alg.to_owned(),
            key: key.to_owned(),
            time: time_text,
            signature: format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag)),
        })
    }

    /// The headers by name.
    pub fn headers(&self) -> [(&'static str, &str); 4] {
        [
            (ALG_HEADER, &self.alg),
            (KEY_HEADER, &self.key),
            (TIME_HEADER, &self.time),
            (SIGNATURE_HEADER, &self.signature),
        ]
    }
}

#[cfg(test)]
mod tests;
