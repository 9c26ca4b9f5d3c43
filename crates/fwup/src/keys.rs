//! Ed25519 keys in fwup's text and raw forms (format §1.5).

use std::{fmt, str::FromStr};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// Base64 that does not insist on padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a key was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not base64 or has the wrong length.
    #[error("not a key: expected {expected} bytes, or their base64")]
    Length {
        /// Bytes that such a key has.
        expected: usize,
    },
    /// The bytes are no point of the curve, or the two halves of a private key do not belong together.
    #[error("not a valid Ed25519 key")]
    Invalid,
    /// The system gave no random bytes.
    #[error("the system's random source failed")]
    Random,
}

/// A public key that verifies signatures.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Takes 32 raw bytes.
    ///
    /// # Errors
    /// [`KeyError`] when there are not 32 of them or they are no point of the curve.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Length { expected: 32 })?;
        VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Invalid)?;
        Ok(Self(bytes))
    }

    /// Reads the contents of a key file: 32 raw bytes, or base64 that anything may follow.
    ///
    /// # Errors
    /// [`KeyError`] as for [`PublicKey::from_bytes`].
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_bytes(&decode::<32>(bytes)?)
    }

    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` is this key's over `message`. Signatures that others could have altered are refused.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&decode_text::<32>(text.as_bytes())?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A private key that makes signatures. It is wiped from memory when dropped.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Makes a new key from the system's random source.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the system has no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| KeyError::Random)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Takes fwup's 64 raw bytes: the seed, then the public key.
    ///
    /// # Errors
    /// [`KeyError`] when there are not 64 of them or the halves do not belong together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; 64] = bytes.try_into().map_err(|_| KeyError::Length { expected: 64 })?;
        SigningKey::from_keypair_bytes(&bytes)
            .map(Self)
            .map_err(|_| KeyError::Invalid)
    }

    /// Reads the contents of a key file: 64 raw bytes, or base64 that anything may follow.
    ///
    /// # Errors
    /// [`KeyError`] as for [`PrivateKey::from_bytes`].
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_bytes(&decode::<64>(bytes)?)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The text of a key file: 88 characters.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0.to_keypair_bytes())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&decode_text::<64>(text.as_bytes())?)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}

fn decode<const N: usize>(bytes: &[u8]) -> Result<[u8; N], KeyError> {
    match bytes.try_into() {
        Ok(raw) => Ok(raw),
        Err(_) => decode_text(bytes),
    }
}

/// Decodes the leading run of base64 characters.
fn decode_text<const N: usize>(text: &[u8]) -> Result<[u8; N], KeyError> {
    let text = text.trim_ascii();
    let end = text
        .iter()
        .position(|c| !c.is_ascii_alphanumeric() && *c != b'+' && *c != b'/')
        .unwrap_or(text.len());
    let bytes = LENIENT
        .decode(&text[..end])
        .map_err(|_| KeyError::Length { expected: N })?;
    bytes.try_into().map_err(|_| KeyError::Length { expected: N })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: &str = "NpjkAsCCtnGM7+CqyHNlpdMXpf/HF4bGxY6LSsgmHh0=";

    #[test]
    fn public_key_is_read_with_and_without_padding_and_printed_with() {
        let key: PublicKey = ALPHA.parse().unwrap();
        assert_eq!(ALPHA.trim_end_matches('=').parse::<PublicKey>().unwrap(), key);
        assert_eq!(format!("{ALPHA}\nrest").parse::<PublicKey>().unwrap(), key);
        assert_eq!(key.to_string(), ALPHA);
        assert_eq!(PublicKey::from_file_bytes(key.as_bytes()).unwrap(), key);
        assert!("NpjkAsCC".parse::<PublicKey>().is_err());
    }

    #[test]
    fn generated_key_round_trips_and_signs() {
        let key = PrivateKey::generate().unwrap();
        let text = key.to_base64();
        assert_eq!(text.len(), 88);
        let again: PrivateKey = text.parse().unwrap();
        let signature = again.sign(b"message");
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"massage", &signature));
        assert!(!format!("{key:?}").contains(&text[..20]));
    }

    #[test]
    fn halves_that_do_not_belong_together_are_refused() {
        let (a, b) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let mut bytes = STANDARD.decode(a.to_base64()).unwrap();
        bytes[32..].copy_from_slice(b.public().as_bytes());
        assert_eq!(PrivateKey::from_bytes(&bytes).unwrap_err(), KeyError::Invalid);
    }
}
