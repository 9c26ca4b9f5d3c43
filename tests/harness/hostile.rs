//! Connections that no device makes: bad TLS, bad upgrades, bad frames, and those that begin and never go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::certificates::Issued;

/// How long the server may take to end such a connection.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// No TLS at all.
    Bytes,
    /// The beginning of a handshake, and then nothing.
    SlowHandshake,
    /// TLS, and then no HTTP.
    Request,
    /// The beginning of a request, and then nothing.
    SlowRequest,
    /// An upgrade that lacks its key.
    Upgrade,
    /// An upgrade without a certificate.
    Stranger,
    /// A websocket of a known device, and then a frame that is none.
    Frame,
    /// … and then a frame that is too large.
    LargeFrame,
}

const ALL: [Wrong; 8] = [
    Wrong::Bytes,
    Wrong::SlowHandshake,
    Wrong::Request,
    Wrong::SlowRequest,
    Wrong::Upgrade,
    Wrong::Stranger,
    Wrong::Frame,
    Wrong::LargeFrame,
];

/// Makes `count` such connections, of every kind in turn and `parallel` at the same time, and waits until the server has
/// ended each; how many it did not end in time.
///
/// # Errors
/// When the server's CA or the device's certificate cannot be read.
pub async fn storm(
    server: SocketAddr,
    ca: &str,
    device: &Issued,
    count: usize,
    parallel: usize,
) -> anyhow::Result<usize> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let stranger = ClientConfig::builder()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let known = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(device.cert.as_bytes())?],
            PrivateKeyDer::from_pem_slice(device.key.as_bytes())?,
        )?;
    let tls = (Arc::new(stranger), Arc::new(known));
    let (gate, left) = (Arc::new(Semaphore::new(parallel)), Arc::new(AtomicUsize::new(0)));
    let mut all = JoinSet::new();
    for number in 0..count {
        let (gate, left, tls) = (Arc::clone(&gate), Arc::clone(&left), tls.clone());
        let wrong = ALL[number % ALL.len()];
        all.spawn(async move {
            let _place = gate.acquire().await;
            if timeout(PATIENCE, connect(server, wrong, &tls)).await.is_err() {
                left.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while all.join_next().await.is_some() {}
    Ok(left.load(Ordering::Relaxed))
}

type Configs = (Arc<ClientConfig>, Arc<ClientConfig>);

/// One connection, until the server ends it. That it fails is how it should go.
async fn connect(server: SocketAddr, wrong: Wrong, (stranger, known): &Configs) -> anyhow::Result<()> {
    let mut tcp = TcpStream::connect(server).await?;
    match wrong {
        Wrong::Bytes => {
            tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
            return drain(&mut tcp).await;
        }
        Wrong::SlowHandshake => {
            // The head of a record that would be a ClientHello of 512 bytes.
            tcp.write_all(&[0x16, 3, 1, 2, 0, 1]).await?;
            return drain(&mut tcp).await;
        }
        _ => {}
    }
    let is_known = matches!(wrong, Wrong::Frame | Wrong::LargeFrame);
    let config = Arc::clone(if is_known { known } else { stranger });
    let name = ServerName::try_from(server.ip().to_string())?;
    let mut tls = TlsConnector::from(config).connect(name, tcp).await?;
    let upgrade = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
                   connection: upgrade\r\nsec-websocket-version: 13\r\n";
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let text = match wrong {
        Wrong::Request => "\0\x01\x02 nothing of HTTP\r\n\r\n".to_owned(),
        Wrong::SlowRequest => "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: l".to_owned(),
        Wrong::Upgrade => format!("{upgrade}\r\n"),
        _ => format!("{upgrade}{key}"),
    };
    tls.write_all(text.as_bytes()).await?;
    if is_known {
        let mut answer = [0; 1024];
        let read = tls.read(&mut answer).await?;
        anyhow::ensure!(answer[..read].starts_with(b"HTTP/1.1 101"), "not upgraded");
        let frame: &[u8] = if wrong == Wrong::Frame {
            // A continuation of nothing.
            &[0x80, 0x81, 0, 0, 0, 0, b'x']
        } else {
            &[0x81, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]
        };
        tls.write_all(frame).await?;
    }
    drain(&mut tls).await
}

async fn drain(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> anyhow::Result<()> {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await.context("ended")? > 0 {}
    Ok(())
}
