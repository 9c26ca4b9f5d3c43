//! An upload: bytes that become a package once the last of them was checked.
//!
//! In one pass the bytes go to the object store and, through a bounded queue, to a thread that reads them as an archive.
//! The store shows the blob only after the row was written, and the row is committed only after the store has the blob.

use bytes::{Bytes, BytesMut};
use muster_fwup::PublicKey;
use serde_json::json;
use sqlx::PgConnection;
use time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use super::Kind;
use super::inspect::{Inspected, inspect};
use super::model::{self, Facts, FactsError, MAX_ARCHIVE_BYTES, New, Package};
use super::service;
use crate::accounts::{Forbidden, Role};
use crate::audit::{self, Act, Actor, Subject};
use crate::keys::{self, SigningKey};
use crate::platform::blobs::{BlobError, BlobName, Writer};
use crate::platform::events::{self, News};
use crate::platform::{Platform, db};
use crate::products::{self, Product};

/// Uploads that are taken at once; more wait. Each holds a thread and a few megabytes.
const AT_ONCE: usize = 8;
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
/// What is handed on at once.
const PIECE_BYTES: usize = 128 * 1024;
/// Pieces that wait for the reading thread.
const QUEUE: usize = 8;

/// Why an upload did not become a package. Each is a sentence for the person who uploaded.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The role is too low.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The org trusts no key yet.
    #[error("This org has no signing key. Add the public key that your archives are signed with, then upload again.")]
    NoKeys,
    /// There is no signature.
    #[error("The archive is not signed. Sign it with a key that this org trusts.")]
    Unsigned,
    /// The signature is by a key that the org does not trust.
    #[error("The archive's signature was made by none of this org's signing keys, or its meta.conf was changed.")]
    Signature,
    /// The archive is damaged, incomplete, or tries what no archive may.
    #[error("The archive is refused: {0}.")]
    Archive(muster_fwup::Error),
    /// It says the wrong things about itself.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The product has it.
    #[error("has already been taken")]
    UuidTaken,
    /// The product has other firmware of this version.
    #[error("has already been taken: this product takes each version once for a platform and architecture")]
    VersionTaken,
    /// The key was deleted meanwhile.
    #[error("The key that signed the archive was deleted during the upload.")]
    KeyGone,
    /// The product was deleted meanwhile.
    #[error("The product was deleted during the upload.")]
    ProductGone,
    /// More bytes than are taken.
    #[error("The archive is larger than {} MiB, which is the most that is taken.", .0 / (1024 * 1024))]
    TooLarge(u64),
    /// The request holds no archive.
    #[error("The request has no file part named \"{0}\".")]
    NoFile(&'static str),
    /// The request is not a form.
    #[error("The upload cannot be read: {0}.")]
    Form(String),
    /// The time to live is no number.
    #[error("ttl must be a number of seconds, at most ten years.")]
    Ttl,
    /// The connection ended first.
    #[error("The upload ended in the middle of the archive; upload it again.")]
    Interrupted,
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// The reading thread failed.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
    /// The database failed.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for UploadError {
    fn from(error: sqlx::Error) -> Self {
        match db::violated(&error) {
            Some("firmwares_uuid_key" | "archives_uuid_key") => Self::UuidTaken,
            Some("firmwares_signing_key_id_fkey" | "archives_signing_key_id_fkey") => Self::KeyGone,
            _ => Self::Database(error),
        }
    }
}

impl From<muster_fwup::Error> for UploadError {
    fn from(error: muster_fwup::Error) -> Self {
        match error {
            muster_fwup::Error::Unsigned => Self::Unsigned,
            muster_fwup::Error::BadSignature | muster_fwup::Error::MalformedSignature => Self::Signature,
            other => Self::Archive(other),
        }
    }
}

impl UploadError {
    /// The reason, as the figures count it.
    fn reason(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "forbidden",
            Self::NoKeys | Self::KeyGone => "no_key",
            Self::Unsigned => "unsigned",
            Self::Signature => "signature",
            Self::Archive(_) => "archive",
            Self::Facts(FactsError::Product { .. }) => "product",
            Self::Facts(_) => "metadata",
            Self::UuidTaken | Self::VersionTaken => "taken",
            Self::ProductGone => "product_gone",
            Self::TooLarge(_) => "too_large",
            Self::NoFile(_) | Self::Form(_) | Self::Ttl => "form",
            Self::Interrupted => "interrupted",
            Self::Store(_) => "store",
            Self::Internal(_) | Self::Database(_) => "internal",
        }
    }
}

/// Counts how an upload ended; called once for each, by whoever receives it.
pub(super) fn count<K>(platform: &Platform, outcome: Result<&Package<K>, &UploadError>) {
    let label = match outcome {
        Ok(_) => "stored",
        Err(error) => error.reason(),
    };
    platform.metrics.uploads.with_label_values(&[label]).inc();
}

/// An upload under way. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Upload<K> {
    platform: Platform,
    product: Product,
    keys: Vec<SigningKey>,
    id: K,
    blob: BlobName,
    writer: Writer,
    pending: BytesMut,
    size: u64,
    max: u64,
    queue: mpsc::Sender<Bytes>,
    verdict: JoinHandle<Result<Inspected, muster_fwup::Error>>,
    _turn: SemaphorePermit<'static>,
}

/// Begins an upload to a product.
///
/// # Errors
/// When the role is too low, the org has no key, or the store fails.
pub async fn begin<K: Kind>(platform: &Platform, product: &Product) -> Result<Upload<K>, UploadError> {
    begin_up_to(platform, product, MAX_ARCHIVE_BYTES).await
}

/// Begins an upload of at most `max` bytes.
pub(crate) async fn begin_up_to<K: Kind>(
    platform: &Platform,
    product: &Product,
    max: u64,
) -> Result<Upload<K>, UploadError> {
    product.org().require(Role::Manage)?;
    let turn = TURNS
        .acquire()
        .await
        .map_err(|error| UploadError::Internal(error.into()))?;
    let mut conn = platform.db.acquire().await?;
    let keys = keys::service::list(&mut conn, product.org()).await?;
    drop(conn);
    if keys.is_empty() {
        return Err(UploadError::NoKeys);
    }
    let id: K = platform.new_id();
    let blob = BlobName::package(K::FOLDER, product.org().id().0, id.uuid());
    let writer = platform.blobs.write(&blob).await?;
    let (queue, pieces) = mpsc::channel(QUEUE);
    let trusted: Vec<PublicKey> = keys.iter().map(|key| key.key.clone()).collect();
    let verdict = tokio::task::spawn_blocking(move || inspect(pieces, &trusted));
    Ok(Upload {
        platform: platform.clone(),
        product: product.clone(),
        keys,
        id,
        blob,
        writer,
        pending: BytesMut::with_capacity(PIECE_BYTES),
        size: 0,
        max,
        queue,
        verdict,
        _turn: turn,
    })
}

impl<K: Kind> Upload<K> {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// As soon as something is wrong with them. What is left to do is [`Upload::abort`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.size += bytes.len() as u64;
        if self.size > self.max {
            return Err(UploadError::TooLarge(self.max));
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), UploadError> {
        let piece = self.pending.split().freeze();
        self.pending.reserve(PIECE_BYTES);
        if self.queue.send(piece.clone()).await.is_err() {
            // The thread ended early: it has found what is wrong.
            (&mut self.verdict).await.map_err(anyhow::Error::from)??;
            return Err(UploadError::Interrupted);
        }
        Ok(self.writer.write(piece).await?)
    }

    /// Gives up: nothing is left in the store.
    pub async fn abort(self) {
        self.writer.abort().await;
    }

    /// Makes the bytes a package, if all of them were good; it is deleted after `ttl`, unless a release uses it.
    ///
    /// # Errors
    /// [`UploadError`] says what was not good. Nothing is left behind.
    pub async fn finish(mut self, ttl: Option<Duration>) -> Result<Package<K>, UploadError> {
        match self.checked(ttl).await {
            // On a task of its own: a client that hangs up now does not end it between the store and the database.
            Ok(new) => tokio::spawn(self.keep(new)).await.map_err(anyhow::Error::from)?,
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn checked(&mut self, ttl: Option<Duration>) -> Result<New<K>, UploadError> {
        if !self.pending.is_empty() {
            self.flush().await?;
        }
        self.queue = mpsc::channel(1).0;
        let inspected = (&mut self.verdict).await.map_err(anyhow::Error::from)??;
        let key = self.keys.iter().find(|key| key.key == inspected.key);
        let key = key.ok_or(UploadError::Signature)?.id;
        let facts: Facts = model::facts(inspected.metadata, self.product.name())?;
        Ok(New {
            id: self.id,
            facts,
            key,
            size_bytes: inspected.size_bytes,
            sha256: inspected.sha256,
            blob: self.blob.clone(),
            uploaded_by: match self.product.org().actor() {
                Actor::User(id, _) => Some(*id),
                Actor::System(_) => None,
            },
            expires_at: ttl.map(|ttl| self.platform.clock.now() + ttl),
        })
    }

    /// Writes the row, then lets the store show the blob, then commits.
    async fn keep(self, new: New<K>) -> Result<Package<K>, UploadError> {
        let Self {
            platform,
            product,
            writer,
            ..
        } = self;
        let mut tx = platform.db.begin().await?;
        let package = match insert(&mut tx, &platform, &product, &new).await {
            Ok(package) => package,
            Err(error) => {
                writer.abort().await;
                return Err(error);
            }
        };
        writer.finish().await?;
        if let Err(error) = tx.commit().await {
            forget(&platform, &product, &package).await;
            return Err(error.into());
        }
        platform.events.ring();
        tracing::info!(
            org.id = %product.org().id(),
            product.id = %product.id(),
            package.kind = K::WORD,
            package.id = %package.id,
            size_bytes = package.size_bytes,
            "a package was uploaded"
        );
        Ok(package)
    }
}

async fn insert<K: Kind>(
    conn: &mut PgConnection,
    platform: &Platform,
    product: &Product,
    new: &New<K>,
) -> Result<Package<K>, UploadError> {
    let now = platform.clock.now();
    let product = &products::lock(conn, product).await?.ok_or(UploadError::ProductGone)?;
    if service::find::<K>(conn, product, new.facts.uuid).await?.is_some() {
        return Err(UploadError::UuidTaken);
    }
    K::check(conn, product, &new.facts).await?;
    K::insert(conn, product, new, now).await?;
    let act = Act {
        org_id: product.org().id().0,
        actor: product.org().actor(),
        action: K::UPLOADED,
        subject: Subject {
            kind: K::WORD,
            id: Some(new.id.uuid()),
            name: &new.facts.version,
        },
        detail: json!({ "product": product.name(), "uuid": new.facts.uuid }),
    };
    audit::record(conn, platform, act).await?;
    events::publish(conn, now, &[news(product, new.id)]).await?;
    let kept = service::find(conn, product, new.facts.uuid).await?;
    kept.ok_or_else(|| UploadError::Database(sqlx::Error::RowNotFound))
}

pub(super) fn news<K: Kind>(product: &Product, id: K) -> News {
    News {
        kind: K::NEWS,
        org_id: product.org().id().0,
        product_id: Some(product.id().0),
        subject_id: id.uuid(),
    }
}

/// After a commit that failed: it may have happened all the same, so the blob goes only when the row is surely not there.
async fn forget<K: Kind>(platform: &Platform, product: &Product, package: &Package<K>) {
    let found = async {
        let mut conn = platform.db.acquire().await?;
        service::find::<K>(&mut conn, product, package.uuid).await
    };
    if !matches!(found.await, Ok(None)) {
        return;
    }
    if let Err(error) = platform.blobs.delete(&package.blob).await {
        tracing::warn!(%error, "the blob of a failed upload was not deleted; the sweep will");
    }
}
