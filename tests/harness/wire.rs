//! A device by hand: raw websocket frames over TLS, for what no well-behaved agent sends.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::certificates::Issued;

/// A link of a device by hand.
#[derive(Debug)]
pub struct Wire(WebSocketStream<TlsStream<TcpStream>>);

/// TLS to the device listener, with a certificate or without.
///
/// # Errors
/// When the handshake fails.
pub async fn dial(server: SocketAddr, ca: &str, cert: Option<&Issued>) -> anyhow::Result<TlsStream<TcpStream>> {
    dial_with(TcpStream::connect(server).await?, server.ip(), ca, cert).await
}

/// The same over a connection that is open.
///
/// # Errors
/// When the handshake fails.
pub async fn dial_with(
    tcp: TcpStream,
    server: IpAddr,
    ca: &str,
    cert: Option<&Issued>,
) -> anyhow::Result<TlsStream<TcpStream>> {
    dial_as(tcp, server, ca, cert, rustls::DEFAULT_VERSIONS).await
}

/// The same in one of these versions of TLS.
///
/// # Errors
/// When the handshake fails.
pub async fn dial_as(
    tcp: TcpStream,
    server: IpAddr,
    ca: &str,
    cert: Option<&Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let config = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
    let config = match cert {
        Some(cert) => config.with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(cert.cert.as_bytes())?],
            PrivateKeyDer::from_pem_slice(cert.key.as_bytes())?,
        )?,
        None => config.with_no_client_auth(),
    };
    let name = ServerName::try_from(server.to_string())?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?)
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
        let stream = dial(server, ca, Some(cert)).await?;
        let url = format!("wss://{server}/socket/websocket?vsn=2.0.0");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await?;
        Ok(Self(socket))
    }

    /// Opens a link and joins, as a device that has extensions: the server asks for them after its reply.
    ///
    /// # Errors
    /// When the server refuses either.
    pub async fn joined(server: SocketAddr, ca: &str, cert: &Issued) -> anyhow::Result<Self> {
        let mut wire = Self::open(server, ca, cert).await?;
        wire.send(r#"["1","1","device","phx_join",{"device_api_version":"2.3.0"}]"#)
            .await?;
        let reply = wire.next().await?.context("no reply")?;
        ensure!(reply[4]["status"] == "ok", "{reply}");
        let asked = wire.next().await?.context("it was not asked for its extensions")?;
        ensure!(asked[3] == "extensions:get", "{asked}");
        Ok(wire)
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
