//! A wire between devices and the server that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Forwards TCP to the server. Ends with the value.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    /// Cuts left.
    cuts: AtomicUsize,
    /// A connection is cut after it brought this many bytes to its device.
    after: AtomicU64,
    made: AtomicUsize,
}

impl Proxy {
    /// A wire to `server` on a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn to(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("a port for the proxy")?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State {
            cuts: AtomicUsize::new(0),
            after: AtomicU64::new(u64::MAX),
            made: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((device, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        forward(device, server, &state).await;
                    }
                });
            }
        });
        Ok(Self { addr, state, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next `count` connections that bring more than `after` bytes are cut there.
    pub fn cut(&self, count: usize, after: u64) {
        self.state.after.store(after, Ordering::SeqCst);
        self.state.cuts.store(count, Ordering::SeqCst);
    }

    /// How many connections were cut.
    pub fn cuts_made(&self) -> usize {
        self.state.made.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(device: TcpStream, server: TcpStream, state: &State) {
    let (mut from_device, mut to_device) = device.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let _ = tokio::io::copy(&mut from_device, &mut to_server).await;
    };
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        let mut brought = 0;
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            brought += count as u64;
            if to_device.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            if brought > state.after.load(Ordering::SeqCst) && take(&state.cuts) {
                state.made.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    };
    // Whichever side ends first ends both, as a pulled cable does.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

fn take(cuts: &AtomicUsize) -> bool {
    cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok()
}
