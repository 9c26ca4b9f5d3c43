//! The object store, behind named operations: nobody else sees its paths.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
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

impl BlobError {
    /// Whether there is no such blob.
    pub fn is_not_found(&self) -> bool {
        matches!(self.0, object_store::Error::NotFound { .. })
    }
}

/// The name of a blob, as a row stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobName(String);

impl BlobName {
    /// The name of a package's bytes, in the folder of its kind.
    pub fn package(folder: &str, org: uuid::Uuid, package: uuid::Uuid) -> Self {
        Self(format!("{folder}/{org}/{package}.fw"))
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
            upload: Some(upload),
            pending: Vec::new(),
            pending_len: 0,
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

    /// Names of all blobs.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> Result<Vec<BlobName>, BlobError> {
        self.written_before(None, i64::MAX).await
    }

    /// Names of a folder's blobs that were written before this second of the Unix time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_written_before(&self, folder: &str, seconds: i64) -> Result<Vec<BlobName>, BlobError> {
        self.written_before(Some(&Path::from(folder)), seconds).await
    }

    async fn written_before(&self, folder: Option<&Path>, seconds: i64) -> Result<Vec<BlobName>, BlobError> {
        let blobs = self.store.list(folder).try_filter_map(|meta| async move {
            let old = meta.last_modified.timestamp() < seconds;
            Ok(old.then(|| BlobName(meta.location.to_string())))
        });
        Ok(blobs.try_collect().await?)
    }

    /// Whether the store answers: a bucket that is not there does not.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), BlobError> {
        self.store.list_with_delimiter(Some(&Path::from("ping"))).await?;
        Ok(())
    }
}

/// A blob that is being written, in parts of bounded size. Dropped before its end, it leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    upload: Option<Box<dyn MultipartUpload>>,
    pending: Vec<Bytes>,
    pending_len: usize,
}

impl Writer {
    /// Appends bytes.
    ///
    /// # Errors
    /// When the store fails; the blob will not exist.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.pending_len += bytes.len();
        self.pending.push(bytes);
        if self.pending_len >= PART_BYTES {
            self.put_part().await?;
        }
        Ok(())
    }

    /// Makes the blob exist.
    ///
    /// # Errors
    /// When the store fails; the blob does not exist.
    pub async fn finish(mut self) -> Result<(), BlobError> {
        self.put_part().await?;
        let upload = self.upload.as_mut().ok_or(object_store::Error::NotImplemented {
            operation: "to finish twice".to_owned(),
            implementer: "Writer".to_owned(),
        })?;
        upload.complete().await?;
        self.upload = None;
        Ok(())
    }

    /// Gives up; nothing is left behind.
    pub async fn abort(mut self) {
        if let Some(upload) = self.upload.take() {
            abandon(upload).await;
        }
    }

    async fn put_part(&mut self) -> Result<(), BlobError> {
        self.pending_len = 0;
        let part = self.pending.drain(..).collect::<PutPayload>();
        if let Some(upload) = &mut self.upload {
            upload.put_part(part).await?;
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(abandon(upload));
        }
    }
}

async fn abandon(mut upload: Box<dyn MultipartUpload>) {
    if let Err(error) = upload.abort().await {
        tracing::warn!(%error, "an unfinished blob could not be removed");
    }
}
