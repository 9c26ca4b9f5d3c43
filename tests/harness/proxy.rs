//! A wire between devices and the server that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A port that nobody listens on now: for a wire that must stand before its server does.
///
/// # Errors
/// When there is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

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
    /// While it is held, what connects waits.
    held: watch::Sender<bool>,
    /// A cut holds the wire.
    holds: AtomicBool,
    /// Nothing passes any more, and no end does.
    dark: AtomicBool,
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
            held: watch::Sender::new(false),
            holds: AtomicBool::new(false),
            dark: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((device, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let _ = state.held.subscribe().wait_for(|held| !held).await;
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

    /// The next connection that brings more than `after` bytes is cut there, and whatever connects then waits for
    /// [`Proxy::release`].
    pub fn cut_and_hold(&self, after: u64) {
        self.state.holds.store(true, Ordering::SeqCst);
        self.cut(1, after);
    }

    /// From now on nothing passes, in either direction, and neither side is told: as when a cable is pulled far away.
    pub fn go_dark(&self) {
        self.state.dark.store(true, Ordering::SeqCst);
    }

    /// Lets what waits through.
    pub fn release(&self) {
        self.state.holds.store(false, Ordering::SeqCst);
        self.state.held.send_replace(false);
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
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from_device.read(&mut buffer).await {
            state.passes().await;
            if to_server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
        state.passes().await;
    };
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        let mut brought = 0;
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            state.passes().await;
            brought += count as u64;
            if to_device.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            if brought > state.after.load(Ordering::SeqCst) && take(&state.cuts) {
                state.held.send_replace(state.holds.load(Ordering::SeqCst));
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

impl State {
    /// Comes back at once, or never when the wire is dark.
    async fn passes(&self) {
        if self.dark.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

fn take(cuts: &AtomicUsize) -> bool {
    cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok()
}
