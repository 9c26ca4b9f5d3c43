//! Fetching the file: one pass over its bytes, whatever number of connections and URLs that takes.

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
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use self::response::{Answer, File};
use super::apply::Chunk;
use super::attempt::Event;
use crate::config::DownloadSettings;
use crate::{USER_AGENT, net};

const REDIRECTS_MAX: u32 = 5;
/// Bounds what one connection holds; with the channel's depth it bounds what lies between the network and the disk.
const BUFFER_BYTES: usize = 64 * 1024;
/// A server that was asked for a fresh URL and sends none in this time will not send one.
const FRESH_URL_TIMEOUT: Duration = Duration::from_mins(5);
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
    Lost(String),
    Expired,
}

impl From<DownloadError> for Stop {
    fn from(cause: DownloadError) -> Self {
        Self::Failed(cause)
    }
}

/// What a download needs to know.
#[derive(Debug)]
pub struct Source {
    /// The first URL.
    pub url: String,
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
#[derive(Debug)]
pub struct Wires {
    /// Where it tells what happens.
    pub events: mpsc::Sender<Event>,
    /// Fresh URLs come from here.
    pub urls: mpsc::Receiver<String>,
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
            file: File::new(source.size, source.max_bytes),
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

    /// One request after the other until the file is complete.
    async fn fetch(&mut self) -> Result<(), DownloadError> {
        loop {
            let stop = match self.request().await {
                Ok(()) => return self.pass(Chunk::End).await,
                Err(stop) => stop,
            };
            self.retries += 1;
            let spent = self.retries > self.source.settings.max_disconnects;
            match stop {
                Stop::Failed(cause) => return Err(cause),
                Stop::Lost(reason) if spent => return Err(DownloadError::MaxDisconnects(reason)),
                Stop::Expired if spent => {
                    return Err(DownloadError::MaxDisconnects(
                        "the URL expires again and again".to_owned(),
                    ));
                }
                Stop::Lost(reason) => {
                    tracing::info!(
                        reason,
                        retry = self.retries,
                        done_bytes = self.file.done(),
                        "download interrupted"
                    );
                    tokio::time::sleep(self.source.settings.time_between_retries).await;
                }
                Stop::Expired => self.fresh_url().await?,
            }
        }
    }

    async fn fresh_url(&mut self) -> Result<(), DownloadError> {
        while self.wires.urls.try_recv().is_ok() {}
        tracing::info!(done_bytes = self.file.done(), "download URL expired");
        self.tell(Event::UrlExpired).await?;
        match timeout(FRESH_URL_TIMEOUT, self.wires.urls.recv()).await {
            Ok(Some(url)) => {
                self.source.url = url;
                Ok(())
            }
            Ok(None) | Err(_) => Err(DownloadError::NoFreshUrl),
        }
    }

    async fn pass(&self, chunk: Chunk) -> Result<(), DownloadError> {
        self.wires.sink.send(chunk).await.map_err(|_| DownloadError::Unwanted)
    }

    async fn tell(&self, event: Event) -> Result<(), DownloadError> {
        self.wires.events.send(event).await.map_err(|_| DownloadError::Unwanted)
    }

    async fn request(&mut self) -> Result<(), Stop> {
        let mut url: Uri = self.source.url.parse().map_err(|_| DownloadError::BadUrl)?;
        for _ in 0..=REDIRECTS_MAX {
            self.tell(Event::RequestOpened).await?;
            let opened = timeout(self.source.settings.idle_timeout, self.open(&url)).await;
            let response = opened.map_err(|_| Stop::Lost("no answer in time".to_owned()))??;
            match self.file.answer(response.status(), response.headers())? {
                Answer::Elsewhere(location) => {
                    url = net::url::resolve(&url, &location).ok_or(DownloadError::BadUrl)?;
                }
                Answer::Expired => return Err(Stop::Expired),
                Answer::Body { skip } => {
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

    /// The worst speed's time for the whole file (device-link §5.4).
    fn request_timeout(&self) -> Duration {
        let bits = self.file.total().unwrap_or_default().saturating_mul(8);
        Duration::from_secs(bits / self.source.settings.worst_case_download_speed).max(REQUEST_TIMEOUT_MIN)
    }

    async fn open(&self, url: &Uri) -> Result<Response<Incoming>, Stop> {
        let lost = |cause: &dyn std::fmt::Display| Stop::Lost(cause.to_string());
        let stream = net::connect(url, Arc::clone(&self.source.tls))
            .await
            .map_err(|cause| lost(&cause))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| lost(&cause))?;
        tokio::spawn(connection);
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header("x-retry-number", self.retries);
        if self.file.done() > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.file.done()));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|_| DownloadError::BadUrl)?;
        sender.send_request(request).await.map_err(|cause| lost(&cause))
    }

    async fn body(&mut self, mut body: Incoming, mut skip: u64) -> Result<(), Stop> {
        while !self.file.complete() {
            let frame = timeout(self.source.settings.idle_timeout, body.frame())
                .await
                .map_err(|_| Stop::Lost("no data for too long".to_owned()))?;
            let Some(frame) = frame else {
                return Err(Stop::Lost("the connection ended early".to_owned()));
            };
            let Ok(mut data) = frame.map_err(|cause| Stop::Lost(cause.to_string()))?.into_data() else {
                continue;
            };
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(data.len());
            skip -= known as u64;
            let new = data.split_off(known);
            if new.is_empty() {
                continue;
            }
            self.file.received(new.len() as u64)?;
            self.pass(Chunk::Data(new)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
