//! Frames in, a link's acts out, over a connection that is ours alone.
//!
//! While nothing waits it holds no buffer: bytes are read into one that all links of a thread share. While what was said is not
//! taken, nothing more is done; a peer that does not read is ended from outside (`registry::watch`).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use actix_codec::{Decoder as _, Encoder as _};
use actix_http::ws::{Codec, Frame, Message as WsMessage, ProtocolError};
use bytes::{Buf as _, BytesMut};
use futures_util::task::AtomicWaker;
use muster_link::limits::MESSAGE_MAX;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::links::gate::Gate;
use crate::links::intake::Intake;
use crate::links::link::{Act, Link};
use crate::links::registry::{Handle, ORDERS_MAX, Order};
use crate::links::session::Welcome;

/// So much is read at once.
const READ: usize = 16 * 1024;
/// A link that has so much to send takes nothing in before it is sent.
const UNSENT_MAX: usize = 32 * 1024;
/// How long the device may take to end its side, after ours has ended.
const END_TIMEOUT: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// What a link is told, until it takes it.
#[derive(Debug, Default)]
struct Orders {
    waiting: Mutex<VecDeque<Order>>,
    waker: AtomicWaker,
}

impl Handle for Weak<Orders> {
    fn order(&self, order: Order) -> bool {
        let Some(orders) = self.upgrade() else { return false };
        let mut waiting = orders.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= ORDERS_MAX {
            return false;
        }
        waiting.push_back(order);
        drop(waiting);
        orders.waker.wake();
        true
    }
}

impl Orders {
    fn poll(&self, task: &mut Task<'_>) -> Poll<Order> {
        self.waker.register(task.waker());
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The socket of a link.
pub(super) struct Socket<IO> {
    io: IO,
    /// None when it is over: then what waits is sent and the connection ends.
    link: Option<Link>,
    gate: Gate,
    orders: Arc<Orders>,
    answers: Vec<oneshot::Receiver<Welcome>>,
    codec: Codec,
    unsent: BytesMut,
    /// All that was written has left; TLS may hold some of it back.
    is_flushed: bool,
    patience: Option<Pin<Box<Sleep>>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    /// The socket of a link that opens now, after these bytes.
    pub(super) fn new(io: IO, link: Link, gate: Gate, first: &[u8]) -> Self {
        let orders = Arc::<Orders>::default();
        link.enter(Box::new(Arc::downgrade(&orders)));
        Self {
            io,
            link: Some(link),
            gate,
            orders,
            answers: Vec::new(),
            codec: Codec::new().max_size(MESSAGE_MAX),
            unsent: BytesMut::from(first),
            is_flushed: false,
            patience: None,
        }
    }

    /// What the next input leads to: an order, an answer, or what the device sends.
    fn poll_acts(&mut self, task: &mut Task<'_>) -> Poll<Vec<Act>> {
        let Self {
            io,
            link: Some(link),
            gate,
            orders,
            answers,
            codec,
            ..
        } = self
        else {
            return Poll::Pending;
        };
        if let Poll::Ready(order) = orders.poll(task) {
            return Poll::Ready(link.order(order));
        }
        for index in 0..answers.len() {
            if let Poll::Ready(answer) = Pin::new(&mut answers[index]).poll(task) {
                answers.remove(index);
                answers.shrink_to_fit();
                return Poll::Ready(link.answered(answer.ok()));
            }
        }
        let frame = ready!(gate.poll_frame(task, |intake, task| read(io, intake, task)));
        let message = frame.and_then(|mut frame| Ok(message(codec, &mut frame)?));
        Poll::Ready(match message {
            Ok(message) => link.hear(message),
            Err(ended) => link.ended(ended),
        })
    }

    /// Takes what comes in, as long as what goes out is not too much; ready when it is over.
    fn poll_link(&mut self, task: &mut Task<'_>) -> Poll<()> {
        while self.link.is_some() {
            if self.unsent.len() >= UNSENT_MAX {
                return Poll::Pending;
            }
            for act in ready!(self.poll_acts(task)) {
                self.perform(act);
            }
        }
        Poll::Ready(())
    }

    fn perform(&mut self, act: Act) {
        match act {
            Act::Send(message) => {
                if let Err(error) = self.codec.encode(message, &mut self.unsent) {
                    tracing::error!(%error, "a frame could not be written");
                }
            }
            Act::Widen(message_max) => self.gate.widen(message_max),
            Act::Await(answered) => self.answers.push(answered),
            Act::End => self.leave(),
        }
    }

    /// Sends what waits.
    fn poll_sent(&mut self, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            self.is_flushed = false;
            match ready!(Pin::new(&mut self.io).poll_write(task, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.unsent.advance(sent),
            }
        }
        if !self.is_flushed {
            self.unsent = BytesMut::new();
            ready!(Pin::new(&mut self.io).poll_flush(task))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the connection: our side first, then the device has a moment to end its own, so that it reads what was said last.
    fn poll_end(&mut self, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(END_TIMEOUT)));
        if patience.as_mut().poll(task).is_ready() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_sent(task))?;
        ready!(Pin::new(&mut self.io).poll_shutdown(task))?;
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.io).poll_read(task, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }
}

impl<IO> Socket<IO> {
    fn leave(&mut self) {
        if let Some(mut link) = self.link.take() {
            actix::spawn(link.leave());
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Socket<IO> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        loop {
            let is_over = self.poll_link(task).is_ready();
            if is_over {
                return self.poll_end(task).map(drop);
            }
            let is_full = self.unsent.len() >= UNSENT_MAX;
            if ready!(self.poll_sent(task)).is_err() {
                // Lost, or cut.
                return Poll::Ready(());
            }
            if !is_full {
                return Poll::Pending;
            }
        }
    }
}

impl<IO> Drop for Socket<IO> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Reads what is there; false when nothing will come any more.
fn read(io: &mut (impl AsyncRead + Unpin), intake: &mut Intake, task: &mut Task<'_>) -> Poll<bool> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        let is_read = ready!(Pin::new(io).poll_read(task, &mut buffer)).is_ok();
        intake.push(buffer.filled());
        Poll::Ready(is_read && !buffer.filled().is_empty())
    })
}

/// The message of a whole frame.
fn message(codec: &mut Codec, frame: &mut BytesMut) -> Result<WsMessage, ProtocolError> {
    let Some(frame) = codec.decode(frame)? else {
        return Ok(WsMessage::Nop);
    };
    Ok(match frame {
        Frame::Text(text) => WsMessage::Text(
            text.try_into()
                .map_err(|_| ProtocolError::Io(io::ErrorKind::InvalidData.into()))?,
        ),
        Frame::Binary(bytes) => WsMessage::Binary(bytes),
        Frame::Continuation(item) => WsMessage::Continuation(item),
        Frame::Ping(bytes) => WsMessage::Ping(bytes),
        Frame::Pong(bytes) => WsMessage::Pong(bytes),
        Frame::Close(reason) => WsMessage::Close(reason),
    })
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::links::session::Closing;

    #[tokio::test]
    async fn orders_wait_in_their_order_and_one_too_many_or_too_late_is_not_taken() {
        let orders = Arc::<Orders>::default();
        let handle = Arc::downgrade(&orders);
        let waiting = tokio::spawn(async move {
            let first = poll_fn(|task| orders.poll(task)).await;
            (first, orders)
        });
        tokio::task::yield_now().await;
        assert!(handle.order(Order::Close(Closing::Idle)));
        let (first, orders) = waiting.await.unwrap();
        assert!(matches!(first, Order::Close(Closing::Idle)));
        for _ in 0..ORDERS_MAX {
            assert!(handle.order(Order::Close(Closing::Drain)));
        }
        assert!(!handle.order(Order::Close(Closing::Drain)));
        drop(orders);
        assert!(!handle.order(Order::Close(Closing::Drain)));
    }

    #[tokio::test]
    async fn frames_are_read_as_they_come_and_none_is_taken_for_another() {
        let mut codec = Codec::new().max_size(MESSAGE_MAX);
        let mut read = |bytes: &[u8]| message(&mut codec, &mut BytesMut::from(bytes));
        let text = read(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).unwrap();
        assert!(matches!(text, WsMessage::Text(text) if text == "hi"));
        let ping = read(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
        assert!(matches!(ping, WsMessage::Ping(data) if data.is_empty()));
        for bad in [
            // No UTF-8, a reserved bit, no mask, a continuation of nothing.
            &[0x81, 0x81, 0, 0, 0, 0, 0xff][..],
            &[0xc1, 0x80, 0, 0, 0, 0],
            &[0x81, 0x00],
            &[0x80, 0x80, 0, 0, 0, 0],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
