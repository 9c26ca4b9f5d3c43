//! Connections: TCP, TLS where the URL says so, and one HTTP/1.1 request at a time.

pub mod interface;
pub mod url;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use hyper::Uri;
use hyper::header::{self, HeaderMap};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// TCP and TLS together may take this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection, encrypted or not.
#[derive(Debug)]
pub enum Stream {
    /// For `http` URLs.
    Plain(TcpStream),
    /// For `https` and `wss` URLs.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The device's own address on this connection.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.local_addr(),
            Self::Tls(stream) => stream.get_ref().0.local_addr(),
        }
    }
}

/// Connects to the host of a URL.
///
/// # Errors
/// When the host cannot be reached in time or does not prove who it is.
pub async fn connect(url: &Uri, tls: Arc<ClientConfig>) -> io::Result<Stream> {
    tokio::time::timeout(CONNECT_TIMEOUT, dial(url, tls))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the connection takes too long")))
}

async fn dial(url: &Uri, tls: Arc<ClientConfig>) -> io::Result<Stream> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, reason.to_owned());
    let host = url.host().ok_or_else(|| invalid("the URL names no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let encrypted = match url.scheme_str() {
        Some("https" | "wss") => true,
        Some("http") => false,
        _ => return Err(invalid("the URL is neither https nor http")),
    };
    let port = url.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let tcp = tcp(&host, port).await?;
    tcp.set_nodelay(true)?;
    if !encrypted {
        return Ok(Stream::Plain(tcp));
    }
    let name = ServerName::try_from(host).map_err(|_| invalid("the URL's host is no name"))?;
    let stream = TlsConnector::from(tls).connect(name, tcp).await?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// Tries every address of the host. A name that is not resolved says that there is no network.
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let unresolved = |cause: io::Error| {
        let reason = format!("`{host}` is not resolved: {cause}");
        io::Error::new(io::ErrorKind::NetworkUnreachable, reason)
    };
    let mut last = None;
    for address in tokio::net::lookup_host((host, port)).await.map_err(unresolved)? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = Some(cause),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NetworkUnreachable, "the host has no address")))
}

/// Whether it is the device that has no network, not the server that does not answer.
pub fn is_network_missing(cause: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(
        cause.kind(),
        AddrNotAvailable | HostUnreachable | NetworkDown | NetworkUnreachable
    )
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// `Retry-After` in either of its forms.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
    }
}
