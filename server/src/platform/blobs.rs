//! The object store, behind named operations: nobody else sees its paths.

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload};

/// How much is written to the store at once: S3's smallest part.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// How much is read from the store at once: see the measurements of download speed.
pub const READ_BYTES: u64 = 512 * 1024;

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[error("the object store failed: {0}")]
pub struct BlobError(#[from] object_store::Error);

/// The name of a blob, as a row stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobName(String);

impl BlobName {
    /// The name of an archive of firmware.
    pub fn firmware(org: uuid::Uuid, firmware: uuid::Uuid) -> Self {
        Self(format!("firmware/{org}/{firmware}.fw"))
    }

    /// A name that was stored.
    pub fn stored(name: String) -> Self {
        Self(name)
    }

    /// The name to store.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn path(&self) -> Path {
        Path::from(self.0.as_str())
    }
}

impl Blobs {
    /// Blobs in this store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// A store that forgets, for commands that touch no firmware.
    pub fn forgetful() -> Self {
        Self::new(Arc::new(InMemory::new()))
    }

    /// Begins to write a blob. It exists only once [`Writer::finish`] has returned.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn write(&self, name: &BlobName) -> Result<Writer, BlobError> {
        let upload = self.store.put_multipart(&name.path()).await?;
        Ok(Writer {
            upload,
            buffer: Vec::new(),
        })
    }

    /// The bytes of `range` of a blob; the range must lie inside it.
    ///
    /// # Errors
    /// When the store fails or has no such blob.
    pub async fn read(&self, name: &BlobName, range: std::ops::Range<u64>) -> Result<Bytes, BlobError> {
        Ok(self.store.get_range(&name.path(), range).await?)
    }

    /// Deletes a blob; one that is not there is no error.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, name: &BlobName) -> Result<(), BlobError> {
        match self.store.delete(&name.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Names of all blobs; for tests and for the sweep of orphans.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> Result<Vec<BlobName>, BlobError> {
        use futures_util::TryStreamExt as _;
        let names = self.store.list(None).map_ok(|meta| BlobName(meta.location.to_string()));
        Ok(names.try_collect().await?)
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), BlobError> {
        match self.store.head(&Path::from("ping")).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A blob that is being written, in parts of bounded size.
#[derive(Debug)]
pub struct Writer {
    upload: Box<dyn MultipartUpload>,
    buffer: Vec<u8>,
}

impl Writer {
    /// Appends bytes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART_BYTES {
            let part = std::mem::replace(&mut self.buffer, Vec::with_capacity(PART_BYTES));
            self.upload.put_part(PutPayload::from(part)).await?;
        }
        Ok(())
    }

    /// Makes the blob exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finish(mut self) -> Result<(), BlobError> {
        let part = std::mem::take(&mut self.buffer);
        self.upload.put_part(PutPayload::from(part)).await?;
        self.upload.complete().await?;
        Ok(())
    }

    /// Gives up; nothing is left behind.
    pub async fn abort(mut self) {
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(%error, "an unfinished blob could not be removed");
        }
    }
}
