//! A lean reader of one file over HTTPS, the same for either server: one connection, TLS 1.3 with one cipher, bytes counted
//! and thrown away.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

/// The longest head of an answer.
const HEAD_MAX: usize = 16 * 1024;
/// What is read at once.
const READ: usize = 256 * 1024;
/// A server that is silent for this long has failed.
const SILENCE: Duration = Duration::from_secs(30);

/// Reads files from one server.
#[derive(Debug, Clone)]
pub struct Reader {
    addr: SocketAddr,
    config: Arc<ClientConfig>,
}

/// What one read came to.
#[derive(Debug, Clone, Copy)]
pub struct Got {
    /// Bytes of the body.
    pub bytes: u64,
    /// From the request's first byte to the body's last.
    pub took: Duration,
}

impl Got {
    /// Megabytes (10^6 bytes) a second.
    pub fn mb_per_s(self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64()
    }
}

impl Reader {
    /// A reader of the server at this address, whose certificate this CA signed.
    pub fn new(addr: SocketAddr, ca: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).context("the server's CA")?)?;
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = vec![TLS13_AES_256_GCM_SHA384];
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            addr,
            config: Arc::new(config),
        })
    }

    /// Reads a file, from `from` on.
    pub fn read(&self, path: &str, from: u64) -> anyhow::Result<Got> {
        let tcp = TcpStream::connect(self.addr)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(SILENCE))?;
        let name = ServerName::try_from("localhost")?;
        let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(&self.config), name)?, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let range = match from {
            0 => String::new(),
            from => format!("range: bytes={from}-\r\n"),
        };
        let began = Instant::now();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\n{range}connection: close\r\n\r\n"
        )?;
        let mut buffer = vec![0; READ];
        let (length, mut got) = head(&mut stream, &mut buffer, if from == 0 { "200" } else { "206" })?;
        while got < length {
            match stream.read(&mut buffer)? {
                0 => bail!("the body ended after {got} of {length} bytes"),
                read => got += read as u64,
            }
        }
        ensure!(got == length, "the body has {got} bytes, not {length}");
        Ok(Got {
            bytes: got,
            took: began.elapsed(),
        })
    }
}

/// Reads the head; the length of the body, and how much of it has come already.
fn head(stream: &mut impl std::io::Read, buffer: &mut [u8], status: &str) -> anyhow::Result<(u64, u64)> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..HEAD_MAX])?;
        ensure!(read > 0, "the head does not end");
        filled += read;
        let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        ensure!(head.split(' ').nth(1) == Some(status), "the answer is {head:?}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.context("the answer has no length")?.trim().parse()?;
        return Ok((length, (filled - end - 4) as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_gives_length_and_what_came_of_the_body() {
        let answer = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nabc";
        let mut buffer = vec![0; READ];
        assert_eq!(head(&mut answer.as_slice(), &mut buffer, "206").unwrap(), (5, 3));
        assert!(head(&mut answer.as_slice(), &mut buffer, "200").is_err());
    }
}
