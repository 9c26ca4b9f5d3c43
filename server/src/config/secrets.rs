//! Secrets in the configuration: read once, never shown.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::platform::vault::MasterKey;

/// Text that is not shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret of this text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for whoever must have it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is the secret, without telling by the time it takes how much of it is right.
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(secret)")
    }
}

/// The master key: itself in hex or base64, or the file that holds it so, or as its 32 bytes.
///
/// # Errors
/// A sentence that says what is wrong; it never holds the key.
pub fn read_master_key(text: &str) -> Result<MasterKey, String> {
    if let Some(key) = key_of_text(text) {
        return Ok(key);
    }
    let path = Path::new(text);
    if !path.is_absolute() && !path.exists() {
        return Err(
            "is neither a 32-byte key in hex or base64 nor a file. Make one with: openssl rand -base64 32 > master.key"
                .to_owned(),
        );
    }
    let mut bytes = std::fs::read(path)
        .map_err(|error| format!("names the file {}, which cannot be read: {error}.", path.display()))?;
    let key = <[u8; 32]>::try_from(bytes.as_slice())
        .map(Zeroizing::new)
        .ok()
        .or_else(|| std::str::from_utf8(&bytes).ok().and_then(key_of_text));
    bytes.zeroize();
    key.ok_or_else(|| {
        format!(
            "names the file {}, which holds no 32-byte key in hex or base64. Make one with: openssl rand -base64 32",
            path.display()
        )
    })
}

fn key_of_text(text: &str) -> Option<MasterKey> {
    let text = text.trim();
    if text.len() == 64 {
        return key_of_hex(text);
    }
    let bytes = Zeroizing::new(STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?);
    <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new)
}

fn key_of_hex(text: &str) -> Option<MasterKey> {
    let mut key = Zeroizing::new([0; 32]);
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(key)
}
