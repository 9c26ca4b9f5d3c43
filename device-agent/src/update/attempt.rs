//! One attempt: the download and the applying thread, tied together by a bounded channel.

use std::sync::Arc;

use muster_link::Stage;
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Offer;
use super::apply::{self, ApplyError, ChunkReader, Order};
use super::cache::Parts;
use super::download::{Download, DownloadError, Source, Wires};
use super::fetch::{self, CHUNKS_MAX, FetchError, Talk, Wanted};
use crate::config::{Settings, Strategy};
use crate::platform::{Facts, Platform};

/// What an attempt tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request for the file was opened.
    RequestOpened,
    /// The URL is not valid any more; another one must be given to [`Attempt::resume`].
    UrlExpired,
    /// So many percent are there, or applied.
    Progress(Stage, u8),
    /// It is over.
    Ended(Result<(), String>),
}

/// A running attempt; dropped, it stops, and what was written of the other slot is worth nothing.
#[derive(Debug)]
pub struct Attempt {
    urls: watch::Sender<String>,
    task: JoinHandle<()>,
}

impl Attempt {
    /// Begins to download and apply, by the strategy of the configuration.
    pub fn start(
        offer: &Offer,
        order: Order,
        settings: &Settings,
        tls: Arc<ClientConfig>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (urls, fresh) = watch::channel(offer.url.clone());
        let talk = Talk { events, urls: fresh };
        let task = match settings.download.strategy {
            Strategy::Streaming => {
                let source = Source {
                    from: 0,
                    to: None,
                    size: offer.size,
                    max_bytes: settings.firmware.max_firmware_bytes,
                    settings: settings.download.clone(),
                    tls,
                };
                tokio::spawn(stream(source, offer.checksum.clone(), order, talk))
            }
            Strategy::Caching | Strategy::Parts => tokio::spawn(keep(wanted(offer, settings, tls), order, talk)),
        };
        Self { urls, task }
    }

    /// Goes on from this URL.
    pub fn resume(&self, url: String) {
        self.urls.send_replace(url);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is to be kept on disk. The same firmware comes as different files, whole and as deltas, so the name is that of
/// the bytes where the server tells it.
fn wanted(offer: &Offer, settings: &Settings, tls: Arc<ClientConfig>) -> Wanted {
    let size = offer.size.map_or_else(String::new, |size| format!("-{size}"));
    let by_parts = settings.download.strategy == Strategy::Parts;
    Wanted {
        directory: settings.download.cache_dir.clone(),
        name: offer
            .checksum
            .clone()
            .unwrap_or_else(|| format!("{}{size}", offer.uuid)),
        size: offer.size,
        max_bytes: settings.firmware.max_firmware_bytes,
        checksum: offer.checksum.clone(),
        parts: Parts::read(offer.size, &offer.part_checksums).filter(|_| by_parts),
        parallel: settings.download.parallel,
        settings: settings.download.clone(),
        tls,
    }
}

/// Where the agent does not keep up a percentage may be left out.
fn teller(events: &mpsc::Sender<Event>, stage: Stage) -> impl Fn(u8) + Clone + Send + 'static {
    let events = events.clone();
    move |percent| drop(events.try_send(Event::Progress(stage, percent)))
}

/// Applies the bytes as they come; nothing is kept.
async fn stream(source: Source, checksum: Option<String>, order: Order, talk: Talk) {
    let (sink, chunks) = mpsc::channel(CHUNKS_MAX);
    let (events, progress) = (talk.events.clone(), teller(&talk.events, Stage::Updating));
    let wires = Wires {
        events: talk.events,
        urls: talk.urls,
        sink,
    };
    let reader = ChunkReader::new(chunks, checksum);
    let applying = spawn_blocking(move || apply::apply(&order, reader, progress));
    let (downloaded, applied) = tokio::join!(Download::new(source, wires).run(), applying);
    let applied = applied.map_err(|cause| cause.to_string());
    // An error says that the agent is ending.
    let _ = events.send(Event::Ended(outcome(downloaded, applied))).await;
}

/// Fetches the file, then applies it; what was fetched outlives this attempt, unless it turned out to be bad.
async fn keep(wanted: Wanted, order: Order, talk: Talk) {
    let events = talk.events.clone();
    let result = fetch_and_apply(wanted, order, talk).await;
    // An error says that the agent is ending.
    let _ = events.send(Event::Ended(result)).await;
}

async fn fetch_and_apply(wanted: Wanted, order: Order, talk: Talk) -> Result<(), String> {
    let said = |cause: FetchError| cause.to_string();
    let progress = teller(&talk.events, Stage::Updating);
    let downloading = teller(&talk.events, Stage::Downloading);
    let cached = fetch::fetch(wanted, talk, downloading).await.map_err(said)?;
    let applying = spawn_blocking(move || {
        let reader = cached.reader().map_err(FetchError::Disk).map_err(said)?;
        let applied = apply::apply(&order, reader, progress).map_err(|cause| cause.to_string());
        if let Err(cause) = cached.remove() {
            tracing::warn!(error = %cause, "cached firmware not removed");
        }
        applied
    });
    applying
        .await
        .unwrap_or_else(|cause| Err(format!("Unexpected error: {cause}")))
}

/// The side that failed first knows why; the other one only knows that it was left alone.
fn outcome(
    downloaded: Result<(), DownloadError>,
    applied: Result<Result<(), ApplyError>, String>,
) -> Result<(), String> {
    match (downloaded, applied) {
        (_, Ok(Ok(()))) => Ok(()),
        (_, Err(cause)) => Err(format!("Unexpected error: {cause}")),
        (Ok(()) | Err(DownloadError::Unwanted), Ok(Err(cause))) => Err(cause.to_string()),
        (Err(cause), Ok(Err(_))) => Err(cause.to_string()),
    }
}

/// What must be applied so that this offer is fulfilled on this device.
pub fn order(offer: &Offer, settings: &Settings, platform: &dyn Platform, facts: &Facts) -> Order {
    let known = |name: &str| facts.get(name).map(str::to_owned);
    Order {
        disk: platform.disk().to_owned(),
        task: settings.firmware.task.clone(),
        keys: settings.firmware.public_keys.clone(),
        uuid: offer.uuid.clone(),
        reboot_param: settings.firmware.reboot_param.clone(),
        product: known("nerves_fw_product"),
        platform: known("nerves_fw_platform"),
        architecture: known("nerves_fw_architecture"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_that_failed_first_is_blamed() {
        let refused = || Ok(Err(ApplyError::NoKeys));
        let no_keys = Err(ApplyError::NoKeys.to_string());
        assert_eq!(outcome(Err(DownloadError::Unwanted), refused()), no_keys);
        assert_eq!(outcome(Ok(()), refused()), no_keys);
        let late = outcome(Err(DownloadError::TooLong), refused());
        assert_eq!(late, Err(DownloadError::TooLong.to_string()));
        assert_eq!(outcome(Err(DownloadError::Unwanted), Ok(Ok(()))), Ok(()));
    }
}
