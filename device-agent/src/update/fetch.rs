//! Fetching a whole file to the disk: what is there already is not fetched again (device-link §5.3).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use hyper::StatusCode;
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use super::apply::Chunk;
use super::attempt::Event;
use super::cache::{Cached, Missing, Parts};
use super::download::{Download, DownloadError, Source, Wires};
use crate::config::DownloadSettings;

/// So many chunks of at most 64 KiB lie between the network and the disk.
pub(super) const CHUNKS_MAX: usize = 16;
/// Room that must be left on the disk beside the file.
const SPARE_BYTES: u64 = 1024 * 1024;

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It did not come.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// It cannot be kept.
    #[error("Download failed: {0}")]
    Disk(#[from] io::Error),
    /// It does not fit the disk.
    #[error("Download failed: {needed} bytes are needed in {directory}, {free} are free")]
    NoRoom {
        /// The cache.
        directory: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// It is another file than was told.
    #[error("Download failed: the file's checksum is not the one that the server told")]
    Checksum,
    /// The task that writes it is gone.
    #[error("Unexpected error: {0}")]
    Lost(#[from] tokio::task::JoinError),
}

/// A file that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where it is kept.
    pub directory: PathBuf,
    /// Its name there: the same for the same bytes, another one for others.
    pub name: String,
    /// How many bytes it has, if that was told.
    pub size: Option<u64>,
    /// The most bytes it may have.
    pub max_bytes: u64,
    /// Its SHA-256 in hex, if that was told.
    pub checksum: Option<String>,
    /// Its parts' checksums, if it is to be fetched by parts.
    pub parts: Option<Parts>,
    /// How many parts are fetched at a time.
    pub parallel: usize,
    /// The downloader's numbers.
    pub settings: DownloadSettings,
    /// TLS without the device's certificate.
    pub tls: Arc<ClientConfig>,
}

/// How a fetch speaks to who wants it.
#[derive(Debug, Clone)]
pub struct Talk {
    /// Where it tells what happens.
    pub events: mpsc::Sender<Event>,
    /// The file's URL; a fresh one replaces it.
    pub urls: watch::Receiver<String>,
}

/// Fetches what is missing of the file; `progress` gets the percent that are there.
///
/// # Errors
/// When it does not come, is another file, or cannot be kept. A file that turned out to be wrong or gone is forgotten.
pub async fn fetch(
    wanted: Wanted,
    talk: Talk,
    progress: impl Fn(u8) + Clone + Send + 'static,
) -> Result<Cached, FetchError> {
    let opening = wanted.clone();
    let mut cached = spawn_blocking(move || open(&opening)).await??;
    loop {
        let missing = cached.missing(wanted.parallel)?;
        if missing.is_empty() {
            break;
        }
        let (sink, chunks) = mpsc::channel(CHUNKS_MAX);
        let told = progress.clone();
        let keeping = spawn_blocking(move || {
            let kept = cached.keep(chunks, told);
            (cached, kept)
        });
        let downloaded = download(&wanted, &talk, missing, sink).await;
        let (back, kept) = keeping.await?;
        cached = back;
        if let Err(cause) = settle(downloaded, kept) {
            if is_stale(&cause) {
                cached.remove()?;
            }
            return Err(cause);
        }
        // Only a part may have arrived wrong; a whole download that ended well is whole.
        if wanted.parts.is_none() {
            break;
        }
    }
    let checksum = wanted.checksum;
    spawn_blocking(move || check(cached, checksum.as_deref())).await?
}

fn open(wanted: &Wanted) -> Result<Cached, FetchError> {
    let cached = Cached::open(&wanted.directory, &wanted.name, wanted.size, wanted.parts.clone())?;
    let needed = wanted.size.unwrap_or(0).saturating_sub(cached.have()?);
    let space = nix::sys::statvfs::statvfs(&wanted.directory).map_err(io::Error::from)?;
    let free = space.blocks_available().saturating_mul(space.fragment_size());
    if needed.saturating_add(SPARE_BYTES) > free {
        return Err(FetchError::NoRoom {
            directory: wanted.directory.clone(),
            needed,
            free,
        });
    }
    Ok(cached)
}

/// Fetches the pieces, at most `parallel` at a time.
async fn download(
    wanted: &Wanted,
    talk: &Talk,
    missing: Vec<Missing>,
    sink: mpsc::Sender<Chunk>,
) -> Result<(), DownloadError> {
    let piece = |(from, to): Missing| {
        let source = Source {
            from,
            to,
            size: wanted.size,
            max_bytes: wanted.max_bytes,
            settings: wanted.settings.clone(),
            tls: Arc::clone(&wanted.tls),
        };
        let wires = Wires {
            events: talk.events.clone(),
            urls: talk.urls.clone(),
            sink: sink.clone(),
        };
        Download::new(source, wires).run()
    };
    let pieces: Vec<_> = missing.into_iter().map(piece).collect();
    drop(sink);
    futures_util::stream::iter(pieces)
        .map(Ok)
        .try_for_each_concurrent(wanted.parallel.max(1), |piece| piece)
        .await
}

/// The side that failed first knows why.
fn settle(downloaded: Result<(), DownloadError>, kept: io::Result<()>) -> Result<(), FetchError> {
    match (downloaded, kept) {
        (_, Err(cause)) => Err(cause.into()),
        (Err(cause), Ok(())) => Err(cause.into()),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// Whether what is there belongs to a file that is not there any more (device-link §5.3).
fn is_stale(cause: &FetchError) -> bool {
    match cause {
        FetchError::Download(DownloadError::Status(status)) => {
            matches!(
                *status,
                StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::RANGE_NOT_SATISFIABLE
            )
        }
        FetchError::Download(DownloadError::BadAnswer(_)) => true,
        FetchError::Disk(cause) => cause.kind() == io::ErrorKind::InvalidData,
        FetchError::Download(_) | FetchError::NoRoom { .. } | FetchError::Checksum | FetchError::Lost(_) => false,
    }
}

fn check(cached: Cached, checksum: Option<&str>) -> Result<Cached, FetchError> {
    let Some(checksum) = checksum.filter(|_| !cached.proven()) else {
        return Ok(cached);
    };
    if cached.checksum()?.eq_ignore_ascii_case(checksum) {
        return Ok(cached);
    }
    cached.remove()?;
    Err(FetchError::Checksum)
}
