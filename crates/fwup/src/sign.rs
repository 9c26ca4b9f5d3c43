//! Signing an archive that exists (format §11.3).

use std::io::{Read, Write};

use crate::{
    archive::read_head,
    create::add_head,
    error::Error,
    keys::PrivateKey,
    zip::{NewEntry, ZipReader, ZipWriter},
};

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
        Self {
            compression: 9,
            source_date_epoch: None,
        }
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
    let mut old = ZipReader::new(input);
    let head = read_head(&mut old)?;
    let mut new = ZipWriter::new(out, options.compression);
    add_head(
        &mut new,
        &head.meta_conf,
        options.source_date_epoch.unwrap_or(head.mtime),
        Some(&key.sign(&head.meta_conf)),
    )?;
    while let Some(entry) = old.next_entry()? {
        if entry.name.ends_with('/') {
            continue;
        }
        let copy = NewEntry {
            name: &entry.name,
            size: entry.size,
            mtime: None,
            stored: false,
        };
        new.add(&copy, &mut |buf| old.read(buf))?;
    }
    new.finish().map(drop)
}
