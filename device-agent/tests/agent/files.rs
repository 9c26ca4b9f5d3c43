//! A file server over TLS: one file, Range, and the mishaps that a test asks for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::certs::Certs;

/// What goes wrong.
#[derive(Debug, Default)]
pub(crate) struct Mishaps {
    /// The first connection ends after so many bytes.
    pub(crate) cut_after: Option<usize>,
    /// The URL `/old` is refused after the first connection.
    pub(crate) expire: bool,
    /// The first connection stalls after so many bytes, until it is let go.
    pub(crate) stall_after: Option<usize>,
    /// The first connection is refused for now.
    pub(crate) unwell: bool,
    /// The first connection gets one byte wrong.
    pub(crate) flip: Option<usize>,
}

pub(crate) struct Files {
    base: String,
    pub(crate) go_on: Arc<Notify>,
    served: Arc<AtomicUsize>,
    ranges: Arc<Mutex<Vec<(usize, usize)>>>,
}

impl Files {
    pub(crate) async fn start(certs: &Certs, file: Vec<u8>, mishaps: Mishaps) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(certs.server(false));
        let (file, mishaps) = (Arc::new(file), Arc::new(mishaps));
        let (go_on, served) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let ranges: Arc<Mutex<Vec<(usize, usize)>>> = Arc::default();
        let shared = (Arc::clone(&go_on), Arc::clone(&served), Arc::clone(&ranges));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (file, mishaps, acceptor) = (Arc::clone(&file), Arc::clone(&mishaps), acceptor.clone());
                let (go_on, served, ranges) = shared.clone();
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let first = served.fetch_add(1, Ordering::SeqCst) == 0;
                        // A device that is killed is no failure of the test.
                        let _ = serve(stream, &file, &mishaps, first, &go_on, &ranges).await;
                    }
                });
            }
        });
        Self {
            base,
            go_on,
            served,
            ranges,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The ranges that were asked for, from the first byte to before the last.
    pub(crate) fn ranges(&self) -> Vec<(usize, usize)> {
        self.ranges.lock().unwrap().clone()
    }

    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    file: &[u8],
    mishaps: &Mishaps,
    first: bool,
    go_on: &Notify,
    ranges: &Mutex<Vec<(usize, usize)>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while stream.read_line(&mut line).await? > 2 {
        head.push_str(&line);
        line.clear();
    }
    if mishaps.expire && !first && head.starts_with("GET /old ") {
        return stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            .await;
    }
    if mishaps.unwell && first {
        let head = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
        return stream.write_all(head).await;
    }
    let asked = head.lines().find_map(|line| {
        let (from, to) = line.strip_prefix("range: bytes=")?.split_once('-')?;
        Some((
            from.parse::<usize>().ok()?,
            to.parse::<usize>().map_or(file.len(), |last| last + 1),
        ))
    });
    let (from, to) = asked.unwrap_or((0, file.len()));
    ranges.lock().unwrap().push((from, to));
    let mut rest = file[from..to].to_vec();
    if let Some(flip) = mishaps.flip.filter(|_| first) {
        rest[flip] ^= 1;
    }
    let (length, total) = (rest.len(), file.len());
    let head = match asked {
        None => format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"),
        Some(_) => format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-length: {length}\r\ncontent-range: bytes {from}-{}/{total}\r\n\r\n",
            to - 1
        ),
    };
    stream.write_all(head.as_bytes()).await?;
    if let Some(after) = mishaps.cut_after.filter(|_| first) {
        stream.write_all(&rest[..after]).await?;
        return stream.shutdown().await;
    }
    let stall = mishaps.stall_after.filter(|_| first).unwrap_or(0);
    stream.write_all(&rest[..stall]).await?;
    stream.flush().await?;
    if stall > 0 {
        go_on.notified().await;
    }
    stream.write_all(&rest[stall..]).await?;
    stream.shutdown().await
}
