//! What a package is, and what an archive must say to become one.

use std::cmp::Reverse;

use muster_fwup::Metadata;
use semver::Version;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::keys::KeyId;
use crate::platform::blobs::BlobName;

/// The largest archive that is taken.
pub const MAX_ARCHIVE_BYTES: u64 = 200 * 1024 * 1024;
/// How long a platform's or architecture's name may be.
const MAX_NAME: usize = 100;

/// A package of a product, with an id of its kind.
#[derive(Debug, Clone)]
pub struct Package<K> {
    /// Its id, in this product.
    pub id: K,
    /// fwup's UUID of its `meta.conf`.
    pub uuid: Uuid,
    /// Its version, by SemVer.
    pub version: String,
    /// The board that it is for.
    pub platform: String,
    /// The processor that it is for.
    pub architecture: String,
    /// Who made it.
    pub author: Option<String>,
    /// What it says of itself.
    pub description: Option<String>,
    /// Anything else that it says.
    pub misc: Option<String>,
    /// Which commit it was made from.
    pub vcs_identifier: Option<String>,
    /// The archive's size.
    pub size_bytes: u64,
    /// The archive's SHA-256.
    pub sha256: [u8; 32],
    /// The name of the key that signed it.
    pub signed_by: String,
    /// Who uploaded it.
    pub uploaded_by: Option<String>,
    /// When.
    pub created_at: OffsetDateTime,
    /// When it is deleted, unless a release uses it.
    pub expires_at: Option<OffsetDateTime>,
    /// Where its bytes lie.
    pub blob: BlobName,
}

impl<K> Package<K> {
    /// The archive's SHA-256 in hex.
    pub fn checksum(&self) -> String {
        self.sha256
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }
}

/// A package as its table has it.
#[derive(Debug)]
pub struct Row<K> {
    pub id: K,
    pub uuid: Uuid,
    pub version: String,
    pub platform: String,
    pub architecture: String,
    pub author: Option<String>,
    pub description: Option<String>,
    pub misc: Option<String>,
    pub vcs_identifier: Option<String>,
    pub size_bytes: i64,
    pub sha256: Vec<u8>,
    pub blob: String,
    pub signed_by: String,
    pub uploaded_by: Option<String>,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
}

impl<K> From<Row<K>> for Package<K> {
    fn from(row: Row<K>) -> Self {
        Self {
            id: row.id,
            uuid: row.uuid,
            version: row.version,
            platform: row.platform,
            architecture: row.architecture,
            author: row.author,
            description: row.description,
            misc: row.misc,
            vcs_identifier: row.vcs_identifier,
            size_bytes: row.size_bytes.unsigned_abs(),
            sha256: row.sha256.try_into().unwrap_or_default(),
            signed_by: row.signed_by,
            uploaded_by: row.uploaded_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            blob: BlobName::stored(row.blob),
        }
    }
}

/// The newest version first; the newest upload first among equals.
pub fn sort_newest_first<K>(packages: &mut [Package<K>]) {
    packages.sort_by_cached_key(|one| Reverse((Version::parse(&one.version).ok(), one.created_at, one.uuid)));
}

/// A package to insert.
#[derive(Debug)]
pub struct New<K> {
    /// Its id.
    pub id: K,
    /// What its archive says.
    pub facts: Facts,
    /// The key that signed it.
    pub key: KeyId,
    /// The archive's size.
    pub size_bytes: u64,
    /// The archive's SHA-256.
    pub sha256: [u8; 32],
    /// Where its bytes lie.
    pub blob: BlobName,
    /// Who uploaded it.
    pub uploaded_by: Option<Uuid>,
    /// When it is deleted, unless a release uses it.
    pub expires_at: Option<OffsetDateTime>,
}

/// The bytes that a signed link is for.
#[derive(Debug)]
pub struct Stored {
    /// The package's fwup UUID.
    pub uuid: Uuid,
    /// How many.
    pub size_bytes: u64,
    /// Their SHA-256.
    pub sha256: Vec<u8>,
    /// Where they lie.
    pub blob: BlobName,
}

/// What an archive says about itself, as far as a package must say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub uuid: Uuid,
    pub version: String,
    pub platform: String,
    pub architecture: String,
    pub author: Option<String>,
    pub description: Option<String>,
    pub misc: Option<String>,
    pub vcs_identifier: Option<String>,
}

/// What an archive does not say, or says wrongly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// It is another product's.
    #[error("The archive is for the product \"{found}\", not for \"{wanted}\".")]
    Product {
        /// Its `meta-product`.
        found: String,
        /// The product that it was uploaded to.
        wanted: String,
    },
    /// A line is missing.
    #[error("The archive has no {0}.")]
    Missing(&'static str),
    /// A line is too long or holds what no text holds.
    #[error("The archive's {0} is too long or holds a control character.")]
    Malformed(&'static str),
    /// The version does not sort.
    #[error("The archive's meta-version \"{0}\" is not a semantic version such as 1.2.3.")]
    Version(String),
}

/// Checks what an archive says against the product that it is uploaded to.
///
/// # Errors
/// [`FactsError`] says what is wrong.
pub fn facts(metadata: Metadata, product: &str) -> Result<Facts, FactsError> {
    let found = metadata.product.ok_or(FactsError::Missing("meta-product"))?;
    if found != product {
        let found = found.chars().take(MAX_NAME).collect();
        let wanted = product.to_owned();
        return Err(FactsError::Product { found, wanted });
    }
    let version = name(metadata.version, "meta-version")?;
    if Version::parse(&version).is_err() {
        return Err(FactsError::Version(version));
    }
    Ok(Facts {
        uuid: metadata.uuid,
        version,
        platform: name(metadata.platform, "meta-platform")?,
        architecture: name(metadata.architecture, "meta-architecture")?,
        author: text(metadata.author, "meta-author")?,
        description: text(metadata.description, "meta-description")?,
        misc: text(metadata.misc, "meta-misc")?,
        vcs_identifier: text(metadata.vcs_identifier, "meta-vcs-identifier")?,
    })
}

fn name(value: Option<String>, line: &'static str) -> Result<String, FactsError> {
    let value = value.ok_or(FactsError::Missing(line))?;
    if value.chars().count() > MAX_NAME || value.contains(char::is_control) {
        return Err(FactsError::Malformed(line));
    }
    Ok(value)
}

fn text(value: Option<String>, line: &'static str) -> Result<Option<String>, FactsError> {
    if value.as_ref().is_some_and(|value| value.contains('\0')) {
        return Err(FactsError::Malformed(line));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata {
            product: Some("kiosk".to_owned()),
            version: Some("1.0.0-rc.1".to_owned()),
            platform: Some("generic".to_owned()),
            architecture: Some("x86_64".to_owned()),
            ..Metadata::default()
        }
    }

    fn refused(change: impl FnOnce(&mut Metadata)) -> String {
        let mut changed = metadata();
        change(&mut changed);
        facts(changed, "kiosk").unwrap_err().to_string()
    }

    #[test]
    fn an_archive_says_its_product_version_platform_and_architecture() {
        assert_eq!(facts(metadata(), "kiosk").unwrap().version, "1.0.0-rc.1");
        assert_eq!(
            refused(|meta| meta.product = Some("toaster".to_owned())),
            "The archive is for the product \"toaster\", not for \"kiosk\"."
        );
        assert_eq!(refused(|meta| meta.product = None), "The archive has no meta-product.");
        assert_eq!(refused(|meta| meta.version = None), "The archive has no meta-version.");
        assert_eq!(
            refused(|meta| meta.platform = None),
            "The archive has no meta-platform."
        );
        assert_eq!(
            refused(|meta| meta.architecture = None),
            "The archive has no meta-architecture."
        );
        assert!(refused(|meta| meta.version = Some("1.0".to_owned())).contains("\"1.0\""));
        assert!(refused(|meta| meta.platform = Some("a\nb".to_owned())).contains("meta-platform"));
        assert!(refused(|meta| meta.author = Some("a\0b".to_owned())).contains("meta-author"));
    }
}
