//! Making an archive from a config (format §2.7).

mod config;
mod eval;
mod input;
mod sparse;
#[cfg(test)]
mod tests;

use std::{io::Write, path::Path};

use crate::{
    apply::check_tasks,
    archive::{META_CONF_ENTRY, SIGNATURE_ENTRY, config_of, metadata},
    caps,
    env::Env,
    error::Error,
    keys::PrivateKey,
    metaconf::{self, Problem},
    metadata::{Metadata, firmware_uuid},
    version,
    zip::{NewEntry, ZipWriter},
};
use config::Config;

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
        Self {
            compression: 9,
            source_date_epoch: None,
            signing_key: None,
        }
    }
}

/// 1980-01-01, the earliest time that an archive can state.
const EARLIEST: i64 = 315_532_800;

/// Makes an archive from a config file. Paths in it are relative to its folder; variables come from `env` only.
///
/// # Errors
/// [`Error::Config`] and [`Error::ConfigResource`] name the place in the config; [`Error::Output`] is the writer's.
pub fn create(config: &Path, env: &Env, options: &CreateOptions<'_>, out: impl Write) -> Result<Metadata, Error> {
    let name = config.display().to_string();
    let failed = |reason: String| Error::Config {
        file: name.clone(),
        line: 0,
        reason,
    };
    let len = std::fs::metadata(config)
        .map_err(|error| failed(error.to_string()))?
        .len();
    if len > caps::CONFIG_MAX as u64 {
        return Err(failed("it is too large".into()));
    }
    let text = std::fs::read(config).map_err(|error| failed(error.to_string()))?;
    make(
        &name,
        &text,
        config.parent().unwrap_or(Path::new("")),
        env,
        options,
        out,
    )
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
    make("config", text.as_bytes(), base, env, options, out)
}

fn make(
    name: &str,
    text: &[u8],
    base: &Path,
    env: &Env,
    options: &CreateOptions<'_>,
    out: impl Write,
) -> Result<Metadata, Error> {
    let mut config = Config::new(env, base);
    let problem = |problem: Problem| Error::Config {
        file: problem.file.unwrap_or_else(|| name.to_owned()),
        line: problem.line,
        reason: problem.reason,
    };
    let root = metaconf::parse(text, &mut config).map_err(problem)?;
    if let Some(required) = root.text("require-fwup-version") {
        version::check(&metaconf::text(required))?;
    }
    check_tasks(&root)?;
    let meta_conf = metaconf::print(&root);
    if !(caps::META_CONF_MIN..caps::META_CONF_MAX).contains(&meta_conf.len()) {
        let reason = format!(
            "meta.conf would have {} bytes, {} is the most",
            meta_conf.len(),
            caps::META_CONF_MAX - 1
        );
        return Err(Error::Config {
            file: name.to_owned(),
            line: 0,
            reason,
        });
    }
    let mtime = options.source_date_epoch.unwrap_or(EARLIEST);
    write_archive(&config, &meta_conf, mtime, options, out)?;
    describe(&meta_conf, mtime)
}

/// The metadata as a reader of the archive will see it.
fn describe(meta_conf: &[u8], mtime: i64) -> Result<Metadata, Error> {
    let uuid = firmware_uuid(meta_conf);
    let root = config_of(meta_conf, uuid, &Env::new())?;
    metadata(&root, uuid, mtime)
}

fn write_archive(
    config: &Config,
    meta_conf: &[u8],
    mtime: i64,
    options: &CreateOptions<'_>,
    out: impl Write,
) -> Result<(), Error> {
    let mut zip = ZipWriter::new(out, options.compression);
    let signature = options.signing_key.map(|key| key.sign(meta_conf));
    add_head(&mut zip, meta_conf, mtime, signature.as_ref())?;
    for input in &config.inputs {
        let entry = NewEntry {
            name: &input.entry,
            size: Some(input.len),
            mtime: None,
            stored: false,
        };
        zip.add(&entry, &mut input.copy())?;
    }
    zip.finish().map(drop)
}

/// Writes the signature, if there is one, and `meta.conf`.
pub(crate) fn add_head<W: Write>(
    zip: &mut ZipWriter<W>,
    meta_conf: &[u8],
    mtime: i64,
    signature: Option<&[u8; caps::SIGNATURE_LEN]>,
) -> Result<(), Error> {
    let mut add = |name: &str, mut bytes: &[u8], mtime: Option<i64>, stored: bool| {
        let entry = NewEntry {
            name,
            size: Some(bytes.len() as u64),
            mtime,
            stored,
        };
        zip.add(&entry, &mut |buf| {
            std::io::Read::read(&mut bytes, buf).map_err(Error::Output)
        })
    };
    if let Some(signature) = signature {
        add(SIGNATURE_ENTRY, signature, None, true)?;
    }
    add(META_CONF_ENTRY, meta_conf, Some(mtime), false)
}
