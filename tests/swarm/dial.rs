//! From nothing to an open websocket: TCP, TLS with the device's certificate, upgrade.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::args::{Run, Tls};
use super::certs::Credential;
use super::sessions::Sessions;
use super::ws::{self, Message};

/// The longest answer to an upgrade.
const HEAD_MAX: usize = 16 * 1024;
/// What is read at once, into one buffer that all links of a thread share.
const READ: usize = 16 * 1024;

/// How every device of the process reaches the server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    name: ServerName<'static>,
    sources: Vec<Ipv4Addr>,
}

impl Server {
    /// As the flags say.
    pub fn new(run: &Run) -> anyhow::Result<Self> {
        let sources = match &run.source[..] {
            [] if run.server.ip() == Ipv4Addr::LOCALHOST => {
                (2..=5).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect()
            }
            given => given.to_vec(),
        };
        Ok(Self {
            address: run.server,
            name: ServerName::try_from(run.server_name.clone()).context("--server-name")?,
            sources,
        })
    }

    async fn tcp(&self, index: usize) -> anyhow::Result<TcpStream> {
        let socket = if self.address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if !self.sources.is_empty() {
            // Without it the kernel looks for a port at the bind, which gets slow as ports run out.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            socket.bind((self.sources[index % self.sources.len()], 0).into())?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// TLS as one device speaks it.
pub fn tls(run: &Run, trust: &Trust, sessions: &Sessions, credential: Credential) -> anyhow::Result<Arc<ClientConfig>> {
    let version = match run.tls {
        Tls::V12 => &rustls::version::TLS12,
        Tls::V13 => &rustls::version::TLS13,
    };
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&trust.provider))
        .with_protocol_versions(&[version])?
        .with_root_certificates(Arc::clone(&trust.roots))
        .with_client_auth_cert(credential.chain, credential.key)?;
    config.resumption = if run.resume {
        sessions.of_a_device()
    } else {
        Resumption::disabled()
    };
    Ok(Arc::new(config))
}

/// What the TLS of all devices has in common.
#[derive(Debug)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl Trust {
    /// The CA that the server is checked against.
    pub fn new(run: &Run) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        let context = || format!("--server-ca {}", run.server_ca.display());
        for certificate in CertificateDer::pem_file_iter(&run.server_ca).with_context(context)? {
            roots.add(certificate.with_context(context)?)?;
        }
        Ok(Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            roots: Arc::new(roots),
        })
    }
}

/// An open websocket.
#[derive(Debug)]
pub struct Wire {
    stream: TlsStream<TcpStream>,
    pending: Vec<u8>,
}

/// Dials; `index` chooses the source address.
pub async fn dial(server: &Server, tls: Arc<ClientConfig>, index: usize) -> anyhow::Result<Wire> {
    let stream = server.tcp(index).await.context("tcp")?;
    let stream = TlsConnector::from(tls)
        .connect(server.name.clone(), stream)
        .await
        .context("tls")?;
    let mut wire = Wire {
        stream,
        pending: Vec::new(),
    };
    wire.upgrade(server).await.context("upgrade")?;
    Ok(wire)
}

impl Wire {
    async fn upgrade(&mut self, server: &Server) -> anyhow::Result<()> {
        let request = format!(
            "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: {}:{}\r\nuser-agent: mint/1.9.3\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: {}\r\n\
             sec-websocket-extensions: permessage-deflate\r\n\r\n",
            server.name.to_str(),
            server.address.port(),
            STANDARD.encode(rand::random::<[u8; 16]>()),
        );
        self.write(request.as_bytes()).await?;
        loop {
            if let Some(end) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") {
                return self.accept(end + 4);
            }
            if self.pending.len() > HEAD_MAX {
                bail!("endless");
            }
            self.fill().await?;
        }
    }

    fn accept(&mut self, end: usize) -> anyhow::Result<()> {
        let head = String::from_utf8_lossy(&self.pending[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != "101" {
            bail!("{status}");
        }
        if !head.contains("\r\nsec-websocket-accept:") {
            bail!("101 without sec-websocket-accept");
        }
        // The offer is the real client's; a server that took it would have to be understood.
        if head.contains("\r\nsec-websocket-extensions:") {
            bail!("compression, which this client does not speak");
        }
        self.pending.drain(..end);
        Ok(())
    }

    /// Sends these bytes again and again and reads what comes, until the server ends it.
    pub async fn flood(self, bytes: &[u8]) -> anyhow::Result<()> {
        let (mut read, mut write) = tokio::io::split(self.stream);
        let reading = async {
            let mut buffer = vec![0; READ];
            while read.read(&mut buffer).await? > 0 {}
            bail!("closed")
        };
        let writing = async {
            loop {
                write.write_all(bytes).await?;
            }
        };
        tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
        }
    }

    /// Sends these bytes, and reads nothing. An error says that the server ended it.
    pub async fn send_deaf(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.write(bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Sends a text.
    pub async fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.write(&ws::text(text, rand::random())).await
    }

    /// Answers a ping.
    pub async fn pong(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        self.write(&ws::pong(payload, rand::random())).await
    }

    /// The next message. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> anyhow::Result<Message> {
        loop {
            if let Some(message) = ws::take(&mut self.pending)? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        let read = std::future::poll_fn(|context| self.poll_fill(context)).await?;
        if read == 0 {
            bail!("closed");
        }
        Ok(())
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        thread_local! {
            static SCRATCH: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; READ]);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            std::task::ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            self.pending.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }
}
