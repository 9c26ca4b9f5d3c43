//! The connection under a link, as others see it: when it was last heard, whether its peer takes what is sent, and a way to
//! cut it. A link whose peer does not read is not polled any more, so nothing that it is told reaches it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::Closing;

/// Entries of one link that may wait for the writer; one more closes the link. NervesHubLink 2.5 tells each percent of an
/// update as fast as it comes: about a hundred messages in a moment, where the firmware is small.
pub const WAITING_MAX: u32 = 256;

/// The state of one connection, shared between its socket and whoever watches over it.
#[derive(Debug)]
pub struct Wire {
    origin: Instant,
    heard: AtomicU64,
    /// Since when nothing could be sent, in milliseconds and one more; zero when all was sent.
    stuck: AtomicU64,
    waiting: AtomicU32,
    joined: AtomicBool,
    refused: AtomicBool,
    cut: OnceLock<Closing>,
    waker: AtomicWaker,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            heard: AtomicU64::new(0),
            stuck: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            joined: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            cut: OnceLock::new(),
            waker: AtomicWaker::new(),
        }
    }
}

impl Wire {
    fn millis(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }

    fn since(&self, millis: u64) -> Duration {
        Duration::from_millis(self.millis().saturating_sub(millis))
    }

    /// A message came.
    pub fn heard(&self) {
        self.heard.store(self.millis(), Ordering::Relaxed);
    }

    /// How long no message has come.
    pub fn silence(&self) -> Duration {
        self.since(self.heard.load(Ordering::Relaxed))
    }

    /// The device joined.
    pub fn joined(&self) {
        self.joined.store(true, Ordering::Relaxed);
    }

    /// Whether the device joined by it.
    pub fn is_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    /// The device is refused: nothing more is read, as if it had ended, so that the connection ends with the answer. HTTP
    /// would wait for the device to end it first, for as long as any connection may take to end.
    pub fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// How long its peer has taken nothing of what waits for it; zero when nothing waits.
    pub fn stuck(&self) -> Duration {
        match self.stuck.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.since(since - 1),
        }
    }

    fn is_sent<T>(&self, sent: &Poll<io::Result<T>>) {
        if sent.is_ready() {
            self.stuck.store(0, Ordering::Relaxed);
        } else if self.stuck.load(Ordering::Relaxed) == 0 {
            self.stuck.store(self.millis() + 1, Ordering::Relaxed);
        }
    }

    /// Ends the connection without a word, also when its socket cannot be reached. The first reason counts.
    pub fn cut(&self, closing: Closing) {
        let _ = self.cut.set(closing);
        self.waker.wake();
    }

    /// Why it was cut, if it was.
    pub fn was_cut(&self) -> Option<Closing> {
        self.cut.get().copied()
    }

    /// A place among what waits for the writer; none when there are [`WAITING_MAX`].
    pub fn wait(self: &Arc<Self>) -> Option<Waiting> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Waiting(Arc::clone(self));
        (before < WAITING_MAX).then_some(place)
    }
}

/// One entry of a link that waits for the writer; given back when it is dropped.
#[derive(Debug)]
pub struct Waiting(Arc<Wire>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that is watched.
#[derive(Debug)]
pub struct Watched<IO> {
    io: IO,
    wire: Arc<Wire>,
}

impl<IO> Watched<IO> {
    /// Watches over a new connection.
    pub fn new(io: IO) -> Self {
        Self {
            io,
            wire: Arc::default(),
        }
    }

    /// The connection.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// Its state.
    pub fn wire(&self) -> Arc<Wire> {
        Arc::clone(&self.wire)
    }

    fn check(&self) -> io::Result<()> {
        match self.wire.was_cut() {
            Some(closing) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, closing.reason())),
            None => Ok(()),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.wire.waker.register(context.waker());
        self.check()?;
        if self.wire.refused.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.waker.register(context.waker());
        self.check()?;
        let sent = Pin::new(&mut self.io).poll_write(context, bytes);
        self.wire.is_sent(&sent);
        sent
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        let sent = Pin::new(&mut self.io).poll_flush(context);
        self.wire.is_sent(&sent);
        ready!(sent)?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.waker.register(context.waker());
        self.check()?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_seen_and_cut_from_outside() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut watched = Watched::new(near);
        let wire = watched.wire();
        watched.write_all(b"0123456789").await.unwrap();
        assert_eq!(wire.stuck.load(Ordering::Relaxed), 0);
        let writing = tokio::spawn(async move { watched.write_all(&[0; 64]).await });
        tokio::task::yield_now().await;
        assert_ne!(wire.stuck.load(Ordering::Relaxed), 0);
        far.read_exact(&mut [0; 74]).await.unwrap();
        writing.await.unwrap().unwrap();
        assert_eq!(wire.stuck(), Duration::ZERO);

        let (near, _far) = tokio::io::duplex(16);
        let mut watched = Watched::new(near);
        let wire = watched.wire();
        let writing = tokio::spawn(async move { watched.write_all(&[0; 64]).await });
        tokio::task::yield_now().await;
        wire.cut(Closing::SlowReader);
        wire.cut(Closing::Idle);
        let error = writing.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(wire.was_cut(), Some(Closing::SlowReader));
    }

    #[test]
    fn a_link_has_so_many_places_before_the_writer() {
        let wire = Arc::new(Wire::default());
        let mut places: Vec<_> = (0..WAITING_MAX).map(|_| wire.wait().unwrap()).collect();
        assert!(wire.wait().is_none());
        places.pop();
        assert!(wire.wait().is_some());
        drop(places);
        assert_eq!(wire.waiting.load(Ordering::Relaxed), 0);
    }
}
