//! A shared secret, by product or by device, and the headers that it signs (device-link §1.5).

use std::fmt;
use std::path::PathBuf;

use muster_link::credential::{self, CredentialError, Signed};

use super::{IdentityError, unreadable};

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Where the secret comes from.
#[derive(Debug, Clone)]
pub struct SecretSettings {
    /// `nhp_…` of a product, which creates devices, or `nhd_…` of one device.
    pub key: String,
    /// The secret, or the file that holds it.
    pub secret: SecretPlace,
}

/// Where the secret is.
#[derive(Debug, Clone)]
pub enum SecretPlace {
    /// In the configuration.
    Here(Hidden),
    /// In a file, alone; white space around it is ignored.
    File(PathBuf),
}

/// A key and its secret.
#[derive(Debug, Clone)]
pub struct SharedSecret {
    key: String,
    secret: Hidden,
}

impl SharedSecret {
    /// Reads the secret.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn read(settings: &SecretSettings) -> Result<Self, IdentityError> {
        let secret = match &settings.secret {
            SecretPlace::Here(secret) => secret.clone(),
            SecretPlace::File(path) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|cause| unreadable("a shared secret", path, &cause.to_string()))?;
                let text = text.trim();
                if text.is_empty() {
                    return Err(unreadable("a shared secret", path, "the file is empty"));
                }
                Hidden(text.to_owned())
            }
        };
        Ok(Self {
            key: settings.key.clone(),
            secret,
        })
    }

    /// The headers of one upgrade, signed at `time`, in seconds since 1970.
    ///
    /// # Errors
    /// When the key or the identifier cannot be signed for.
    pub fn sign(&self, identifier: &str, time: u64) -> Result<Signed, CredentialError> {
        Signed::new(credential::ALG, &self.key, &self.secret.0, identifier, time)
    }
}
