//! A device by hand: raw websocket frames over TLS, for what no well-behaved agent sends.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use muster_link::credential::Signed;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};

use crate::certificates::Issued;

/// What a link runs over: TLS, or plain TCP to the web listener.
trait Io: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Io for T {}

/// A link of a device by hand.
#[derive(Debug)]
pub struct Wire(WebSocketStream<Box<dyn Io>>);

/// TLS of a device, with a certificate (and the signers that stand behind it in the PEM) or without. One configuration
/// resumes its own sessions.
///
/// # Errors
/// When a certificate or key cannot be read.
pub fn tls(
    ca: &str,
    cert: Option<&Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let config = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
    let config = match cert {
        Some(cert) => config.with_client_auth_cert(
            CertificateDer::pem_slice_iter(cert.cert.as_bytes()).collect::<Result<_, _>>()?,
            PrivateKeyDer::from_pem_slice(cert.key.as_bytes())?,
        )?,
        None => config.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// TLS to the device listener.
///
/// # Errors
/// When the handshake fails.
pub async fn dial_by(config: Arc<ClientConfig>, server: SocketAddr) -> anyhow::Result<TlsStream<TcpStream>> {
    dial_over(TcpStream::connect(server).await?, server.ip(), config).await
}

/// TLS to the device listener, with a certificate or without.
///
/// # Errors
/// When the handshake fails.
pub async fn dial(server: SocketAddr, ca: &str, cert: Option<&Issued>) -> anyhow::Result<TlsStream<TcpStream>> {
    dial_by(tls(ca, cert, rustls::ALL_VERSIONS)?, server).await
}

/// TLS over a connection that is open.
///
/// # Errors
/// When the handshake fails.
pub async fn dial_over(
    tcp: TcpStream,
    server: IpAddr,
    config: Arc<ClientConfig>,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(server.to_string())?;
    Ok(TlsConnector::from(config).connect(name, tcp).await?)
}

/// Sends a request as text and gives the whole answer as text.
///
/// # Errors
/// When the connection fails.
pub async fn request(mut stream: TlsStream<TcpStream>, text: &str) -> anyhow::Result<String> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

impl Wire {
    /// Opens a link.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn open(server: SocketAddr, ca: &str, cert: &Issued) -> anyhow::Result<Self> {
        Self::over(dial(server, ca, Some(cert)).await?).await
    }

    /// Opens a link over a connection that shows a certificate.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn over(stream: TlsStream<TcpStream>) -> anyhow::Result<Self> {
        let io: Box<dyn Io> = Box::new(stream);
        let (socket, _) = tokio_tungstenite::client_async("wss://localhost/socket/websocket?vsn=2.0.0", io).await?;
        Ok(Self(socket))
    }

    /// Opens a link by a shared secret: over TLS to the device listener, or without `ca` to the web listener.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn open_signed(server: SocketAddr, ca: Option<&str>, signed: &Signed) -> anyhow::Result<Self> {
        let uri = Uri::from_static("wss://localhost/device-socket/websocket?vsn=2.0.0");
        let request = signed
            .headers()
            .into_iter()
            .fold(ClientRequestBuilder::new(uri), |request, (name, value)| {
                request.with_header(name, value)
            });
        let io: Box<dyn Io> = match ca {
            Some(ca) => Box::new(dial(server, ca, None).await?),
            None => Box::new(TcpStream::connect(server).await?),
        };
        let (socket, _) = tokio_tungstenite::client_async(request, io).await?;
        Ok(Self(socket))
    }

    /// Opens a link and joins, as a device that has extensions: the server asks for them after its reply.
    ///
    /// # Errors
    /// When the server refuses either.
    pub async fn joined(server: SocketAddr, ca: &str, cert: &Issued) -> anyhow::Result<Self> {
        Self::open(server, ca, cert).await?.join().await
    }

    /// Joins.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn join(mut self) -> anyhow::Result<Self> {
        self.send(r#"["1","1","device","phx_join",{"device_api_version":"2.3.0"}]"#)
            .await?;
        let reply = self.next().await?.context("no reply")?;
        ensure!(reply[4]["status"] == "ok", "{reply}");
        let asked = self.next().await?.context("it was not asked for its extensions")?;
        ensure!(asked[3] == "extensions:get", "{asked}");
        Ok(self)
    }

    /// Sends a text.
    ///
    /// # Errors
    /// When the link is gone.
    pub async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.0.send(Message::text(text)).await?)
    }

    /// Sends a raw message.
    ///
    /// # Errors
    /// When the link is gone.
    pub async fn send_raw(&mut self, message: Message) -> anyhow::Result<()> {
        Ok(self.0.send(message).await?)
    }

    /// The next text as JSON; none when the link ends. A ping is an error: it kills real devices.
    ///
    /// # Errors
    /// When a ping comes, or a text that is no JSON.
    pub async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Some(serde_json::from_str(&text)?)),
                Some(Ok(Message::Ping(_))) => anyhow::bail!("the server sent a ping"),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
                Some(Ok(_)) => {}
            }
        }
    }

    /// Asks for a heartbeat's answer.
    ///
    /// # Errors
    /// When another message or none comes.
    pub async fn heartbeat(&mut self) -> anyhow::Result<()> {
        self.send(r#"[null,"77","phoenix","heartbeat",{}]"#).await?;
        let reply = self.next().await?.context("the link ended")?;
        ensure!(reply[1] == "77" && reply[4]["status"] == "ok", "{reply}");
        Ok(())
    }

    /// Waits until the server ends the link, and gives the close code it said.
    ///
    /// # Errors
    /// When it sends a message instead.
    pub async fn closed(&mut self) -> anyhow::Result<Option<u16>> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Close(frame))) => return Ok(frame.map(|frame| frame.code.into())),
                Some(Ok(Message::Text(text))) => anyhow::bail!("expected the end, got {text}"),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }
}
