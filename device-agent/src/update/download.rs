//! Fetching a file or a range of it: one pass over the bytes, whatever number of connections and URLs that takes.

mod response;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use self::response::{Answer, File};
use super::apply::Chunk;
use super::attempt::Event;
use crate::config::DownloadSettings;
use crate::{USER_AGENT, clock, net};

const REDIRECTS_MAX: u32 = 5;
/// Bounds what one connection holds; with the channel's depth it bounds what lies between the network and the disk.
const BUFFER_BYTES: usize = 64 * 1024;
/// A server that was asked for a fresh URL and sends none in this time will not send one.
const FRESH_URL_TIMEOUT: Duration = Duration::from_mins(5);
/// A server that asks for more patience than this between requests is asked again after this.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);
/// No request is given less than this.
const REQUEST_TIMEOUT_MIN: Duration = Duration::from_mins(5);

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The URL is none.
    #[error("Download failed: the URL is not valid")]
    BadUrl,
    /// The server refuses.
    #[error("Download failed: the server answered {0}")]
    Status(hyper::StatusCode),
    /// The server's answer cannot be used.
    #[error("Download failed: {0}")]
    BadAnswer(String),
    /// Too many lost connections.
    #[error("Download failed: max_disconnects reached, the last one: {0}")]
    MaxDisconnects(String),
    /// The whole takes too long.
    #[error("Download failed: it takes too long")]
    TooLong,
    /// No other URL came.
    #[error("Download failed: the URL has expired and the server sent no other")]
    NoFreshUrl,
    /// Nobody wants the bytes any more.
    #[error("Download stopped")]
    Unwanted,
}

/// Why one request ended before the file did.
#[derive(Debug)]
enum Stop {
    Failed(DownloadError),
    Lost(String, Option<Duration>),
    Expired,
}

impl Stop {
    fn lost(cause: impl std::fmt::Display) -> Self {
        Self::Lost(cause.to_string(), None)
    }
}

impl From<DownloadError> for Stop {
    fn from(cause: DownloadError) -> Self {
        Self::Failed(cause)
    }
}

/// What a download needs to know.
#[derive(Debug, Clone)]
pub struct Source {
    /// The first byte that is wanted.
    pub from: u64,
    /// The byte before which to stop; the file's end if none.
    pub to: Option<u64>,
    /// The size that the server told.
    pub size: Option<u64>,
    /// The largest size that is accepted.
    pub max_bytes: u64,
    /// The numbers of the configuration.
    pub settings: DownloadSettings,
    /// TLS without the device's certificate.
    pub tls: Arc<ClientConfig>,
}

/// What a download is tied to.
#[derive(Debug, Clone)]
pub struct Wires {
    /// Where it tells what happens.
    pub events: mpsc::Sender<Event>,
    /// The file's URL; a fresh one replaces it.
    pub urls: watch::Receiver<String>,
    /// The bytes go here.
    pub sink: mpsc::Sender<Chunk>,
}

/// A download under way.
#[derive(Debug)]
pub struct Download {
    source: Source,
    wires: Wires,
    file: File,
    retries: u32,
}

impl Download {
    /// A download that has not begun.
    pub fn new(source: Source, wires: Wires) -> Self {
        Self {
            file: File::new(source.size, source.max_bytes, source.from, source.to),
            source,
            wires,
            retries: 0,
        }
    }

    /// Fetches everything.
    ///
    /// # Errors
    /// When the server refuses, the network is too bad, or nobody takes the bytes.
    pub async fn run(mut self) -> Result<(), DownloadError> {
        let deadline = Instant::now() + self.source.settings.max_timeout;
        let sink = self.wires.sink.clone();
        tokio::select! {
            result = timeout_at(deadline, self.fetch()) => result.unwrap_or(Err(DownloadError::TooLong)),
            () = sink.closed() => Err(DownloadError::Unwanted),
        }
    }

    /// One request after the other until everything wanted is there.
    async fn fetch(&mut self) -> Result<(), DownloadError> {
        loop {
            let url = self.wires.urls.borrow_and_update().clone();
            let stop = match self.request(&url).await {
                Ok(()) => return self.pass(Chunk::End).await,
                Err(stop) => stop,
            };
            self.retries += 1;
            let spent = self.retries > self.source.settings.max_disconnects;
            match stop {
                Stop::Failed(cause) => return Err(cause),
                Stop::Lost(reason, _) if spent => return Err(DownloadError::MaxDisconnects(reason)),
                Stop::Expired if spent => {
                    return Err(DownloadError::MaxDisconnects(
                        "the URL expires again and again".to_owned(),
                    ));
                }
                Stop::Lost(reason, asked) => {
                    let pause = self.source.settings.time_between_retries;
                    let pause = asked.map_or(pause, |asked| asked.min(RETRY_AFTER_MAX).max(pause));
                    tracing::info!(
                        reason,
                        retry = self.retries,
                        at_byte = self.file.at(),
                        pause_ms = clock::millis(pause),
                        "download interrupted"
                    );
                    tokio::time::sleep(pause).await;
                }
                Stop::Expired => self.fresh_url().await?,
            }
        }
    }

    /// Asks for another URL and waits for it, unless one came meanwhile.
    async fn fresh_url(&mut self) -> Result<(), DownloadError> {
        if self.wires.urls.has_changed().unwrap_or(false) {
            return Ok(());
        }
        tracing::info!(at_byte = self.file.at(), "download URL expired");
        self.tell(Event::UrlExpired).await?;
        match timeout(FRESH_URL_TIMEOUT, self.wires.urls.changed()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(DownloadError::NoFreshUrl),
        }
    }

    async fn pass(&self, chunk: Chunk) -> Result<(), DownloadError> {
        self.wires.sink.send(chunk).await.map_err(|_| DownloadError::Unwanted)
    }

    async fn tell(&self, event: Event) -> Result<(), DownloadError> {
        self.wires.events.send(event).await.map_err(|_| DownloadError::Unwanted)
    }

    async fn request(&mut self, url: &str) -> Result<(), Stop> {
        let mut url: Uri = url.parse().map_err(|_| DownloadError::BadUrl)?;
        for _ in 0..=REDIRECTS_MAX {
            self.tell(Event::RequestOpened).await?;
            let opened = timeout(self.source.settings.idle_timeout, self.open(&url)).await;
            let response = opened.map_err(|_| Stop::lost("no answer in time"))??;
            match self.file.answer(response.status(), response.headers(), clock::wall())? {
                Answer::Elsewhere(location) => {
                    url = net::url::resolve(&url, &location).ok_or(DownloadError::BadUrl)?;
                }
                Answer::Expired => return Err(Stop::Expired),
                Answer::Later(status, asked) => {
                    return Err(Stop::Lost(format!("the server answered {status}"), asked));
                }
                Answer::Body { skip } => {
                    if let Some(total) = self.file.total() {
                        self.pass(Chunk::Length(total)).await?;
                    }
                    let limit = self.request_timeout();
                    return match timeout(limit, self.body(response.into_body(), skip)).await {
                        Ok(result) => result,
                        Err(_) => Err(DownloadError::TooLong.into()),
                    };
                }
            }
        }
        Err(DownloadError::BadAnswer("the server redirects in circles".to_owned()).into())
    }

    /// The worst speed's time for what is still wanted (device-link §5.4).
    fn request_timeout(&self) -> Duration {
        let bits = self.file.remaining().saturating_mul(8);
        Duration::from_secs(bits / self.source.settings.worst_case_download_speed).max(REQUEST_TIMEOUT_MIN)
    }

    async fn open(&self, url: &Uri) -> Result<Response<Incoming>, Stop> {
        let stream = net::connect(url, Arc::clone(&self.source.tls))
            .await
            .map_err(Stop::lost)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Stop::lost)?;
        tokio::spawn(connection);
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header("x-retry-number", self.retries);
        if let Some(range) = self.file.range() {
            request = request.header(header::RANGE, range);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|_| DownloadError::BadUrl)?;
        sender.send_request(request).await.map_err(Stop::lost)
    }

    async fn body(&mut self, mut body: Incoming, mut skip: u64) -> Result<(), Stop> {
        while !self.file.complete() {
            let frame = timeout(self.source.settings.idle_timeout, body.frame())
                .await
                .map_err(|_| Stop::lost("no data for too long"))?;
            let Some(frame) = frame else {
                return Err(Stop::lost("the connection ended early"));
            };
            let Ok(mut data) = frame.map_err(Stop::lost)?.into_data() else {
                continue;
            };
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(data.len());
            skip -= known as u64;
            let mut new = data.split_off(known);
            // A server that does not know ranges sends on beyond what is wanted.
            new.truncate(usize::try_from(self.file.remaining()).unwrap_or(usize::MAX));
            if new.is_empty() {
                continue;
            }
            let at = self.file.at();
            self.file.received(new.len() as u64);
            self.pass(Chunk::Data { at, bytes: new }).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
