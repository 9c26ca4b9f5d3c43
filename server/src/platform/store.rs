//! Where the object store is: a folder, or a bucket of an S3-compatible service.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;

use super::blobs::{BlobError, Blobs};

/// The URL of an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket, and what every name in it begins with.
    Bucket {
        /// Its name.
        name: String,
        /// Without slashes at its ends; may be empty.
        prefix: String,
        /// Whether the endpoint may be without TLS.
        allow_http: bool,
    },
}

impl StoreUrl {
    /// Allows an endpoint without TLS.
    pub fn allow_http(&mut self) {
        if let Self::Bucket { allow_http, .. } = self {
            *allow_http = true;
        }
    }

    /// Opens the store. A folder is made if it is not there; a bucket must exist. What S3 needs besides (endpoint, region,
    /// keys) is read from the environment by its usual names.
    ///
    /// # Errors
    /// When the folder cannot be made or what S3 needs is incomplete. Nothing is asked over the network.
    pub fn open(&self) -> Result<Blobs, BlobError> {
        self.open_in(std::env::vars())
    }

    /// The same, with this environment.
    ///
    /// # Errors
    /// As [`StoreUrl::open`].
    pub fn open_in(&self, environment: impl Iterator<Item = (String, String)>) -> Result<Blobs, BlobError> {
        match self {
            Self::Folder(path) => Ok(Blobs::new(Arc::new(folder(path)?))),
            Self::Bucket {
                name,
                prefix,
                allow_http,
            } => {
                let mut builder = AmazonS3Builder::new().with_bucket_name(name);
                for (key, value) in environment {
                    if let Some(key) = s3_key(&key) {
                        builder = builder.with_config(key, value);
                    }
                }
                if *allow_http {
                    builder = builder.with_allow_http(true);
                }
                let bucket: Arc<dyn ObjectStore> = Arc::new(builder.build()?);
                if prefix.is_empty() {
                    return Ok(Blobs::new(bucket));
                }
                Ok(Blobs::new(Arc::new(PrefixStore::new(bucket, prefix.as_str()))))
            }
        }
    }
}

/// The setting that a variable such as `AWS_REGION` stands for.
fn s3_key(variable: &str) -> Option<AmazonS3ConfigKey> {
    variable
        .starts_with("AWS_")
        .then(|| variable.to_ascii_lowercase().parse().ok())?
}

/// What is written here is on disk before it counts.
fn folder(path: &Path) -> Result<LocalFileSystem, object_store::Error> {
    std::fs::create_dir_all(path).map_err(|source| object_store::Error::Generic {
        store: "LocalFileSystem",
        source: Box::new(source),
    })?;
    Ok(LocalFileSystem::new_with_prefix(path)?.with_fsync(true))
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fix = "Give file:///absolute/dir or s3://bucket/prefix.";
        if let Some(path) = text.strip_prefix("file://") {
            if !path.starts_with('/') {
                return Err(format!("is {text:?}, whose path is not absolute. {fix}"));
            }
            return Ok(Self::Folder(PathBuf::from(path)));
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            return Err(format!("is {text:?}, which is no URL of a store. {fix}"));
        };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty()
            || !name
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "-._".contains(char))
        {
            return Err(format!("is {text:?}, which names no bucket. {fix}"));
        }
        Ok(Self::Bucket {
            name: name.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            allow_http: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::StoreUrl;

    #[test]
    fn folders_are_absolute_and_buckets_have_names() {
        assert_eq!("file:///srv/x".parse(), Ok(StoreUrl::Folder("/srv/x".into())));
        let Ok(StoreUrl::Bucket { name, prefix, .. }) = "s3://muster/fleet/a/".parse() else {
            panic!("a bucket");
        };
        assert_eq!((name.as_str(), prefix.as_str()), ("muster", "fleet/a"));
        for bad in ["file://relative", "s3://", "s3:///x", "s3://a b", "/srv/x", "http://x"] {
            assert!(bad.parse::<StoreUrl>().is_err(), "{bad}");
        }
    }
}
