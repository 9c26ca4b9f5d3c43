//! One attempt: the download and the applying thread, tied together by a bounded channel.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Offer;
use super::apply::{self, ApplyError, ChunkReader, Order};
use super::download::{Download, DownloadError, Source, Wires};
use crate::config::Settings;
use crate::platform::{Facts, Platform};

/// So many parts of at most 64 KiB lie between the network and the disk.
const CHUNKS_MAX: usize = 16;

/// What an attempt tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request for the file was opened.
    RequestOpened,
    /// The URL is not valid any more; another one must be given to [`Attempt::resume`].
    UrlExpired,
    /// So much is applied.
    Progress(u8),
    /// It is over.
    Ended(Result<(), String>),
}

/// A running attempt; dropped, it stops, and what was written of the other slot is worth nothing.
#[derive(Debug)]
pub struct Attempt {
    urls: mpsc::Sender<String>,
    task: JoinHandle<()>,
}

impl Attempt {
    /// Begins to download and apply.
    pub fn start(
        offer: &Offer,
        order: Order,
        settings: &Settings,
        tls: Arc<ClientConfig>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let source = Source {
            url: offer.url.clone(),
            size: offer.size,
            max_bytes: settings.firmware.max_firmware_bytes,
            settings: settings.download.clone(),
            tls,
        };
        let (urls, fresh) = mpsc::channel(1);
        let (sink, chunks) = mpsc::channel(CHUNKS_MAX);
        let download = Download::new(
            source,
            Wires {
                events: events.clone(),
                urls: fresh,
                sink,
            },
        );
        let reader = ChunkReader::new(chunks, offer.checksum.clone());
        Self {
            urls,
            task: tokio::spawn(run(download, order, reader, events)),
        }
    }

    /// Goes on from this URL.
    pub fn resume(&self, url: String) {
        // A full channel holds a URL as fresh as this one.
        let _ = self.urls.try_send(url);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(download: Download, order: Order, reader: ChunkReader, events: mpsc::Sender<Event>) {
    let progress = events.clone();
    let applying = tokio::task::spawn_blocking(move || {
        apply::apply(&order, reader, |percent| {
            // Where the agent does not keep up a percentage may be left out.
            let _ = progress.try_send(Event::Progress(percent));
        })
    });
    let (downloaded, applied) = tokio::join!(download.run(), applying);
    let applied = applied.map_err(|cause| cause.to_string());
    // An error says that the agent is ending.
    let _ = events.send(Event::Ended(outcome(downloaded, applied))).await;
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
