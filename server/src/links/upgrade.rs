//! Frames in, a link's acts out, over actix-http's `.upgrade()`: the socket of the device listener in a server that is built
//! with the feature `upgrade-socket`. Admission and answers are those of the routes; only who is let in ends up here.
//!
//! The task of the connection is the task of the link. While nothing waits it holds no buffer: bytes are read into one that all
//! links of a thread share. While what was said is not taken, nothing more is done; a peer that does not read is ended from
//! outside (`registry::watch`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use actix_codec::{Encoder as _, Framed};
use actix_http::ws::{self, Codec, Frame, Message as WsMessage, ProtocolError};
use actix_http::{HttpMessage as _, Request, RequestHead, h1};
use actix_service::{ServiceFactory, apply_fn_factory};
use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::dev::{Service as _, ServiceResponse};
use bytes::{Buf as _, BytesMut};
use futures_util::task::AtomicWaker;
use muster_link::limits::MESSAGE_MAX;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::gate::Gate;
use super::intake::Intake;
use super::link::{Act, Link};
use super::registry::{Handle, ORDERS_MAX, Order};
use super::session::Welcome;

/// So much is read at once.
const READ: usize = 16 * 1024;
/// A link that has so much to send takes nothing in before it is sent.
const UNSENT_MAX: usize = 32 * 1024;
/// How long the device may take to end its side, after ours has ended.
const END_TIMEOUT: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Where the routes leave a link that they let in, among the extensions of a request that may become one.
#[derive(Clone, Default)]
pub(super) struct Seat(Rc<Cell<Option<(Link, Gate)>>>);

impl Seat {
    /// Leaves it, and gives the answer that the device is to read.
    pub(super) fn take(&self, link: Link, gate: Gate, request: &RequestHead) -> HttpResponse {
        self.0.set(Some((link, gate)));
        ws::handshake_response(request).finish().map_into_boxed_body().into()
    }
}

/// What serves the upgrades of connections, over the routes.
pub fn over<F, B, IO>(
    routes: F,
) -> impl ServiceFactory<
    (Request, Framed<IO, h1::Codec>),
    Config = (),
    Response = (),
    Error = actix_web::Error,
    InitError = F::InitError,
>
where
    F: ServiceFactory<Request, Config = (), Response = ServiceResponse<B>, Error = actix_web::Error>,
    F::Service: 'static,
    <F::Service as actix_service::Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    apply_fn_factory(
        routes,
        |(request, framed): (Request, Framed<IO, h1::Codec>), routes: &F::Service| {
            let seat = Seat::default();
            request.extensions_mut().insert(seat.clone());
            let answer = routes.call(request);
            async move {
                // What the answer needs is not kept for the life of the link.
                let answered = Box::pin(async move {
                    let answer = match answer.await {
                        Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
                        Err(error) => error.error_response(),
                    };
                    answer_by(framed, answer, &seat).await
                });
                // A connection that is lost before is no failure of ours.
                if let Ok(Some(socket)) = answered.await {
                    socket.await;
                }
                Ok(())
            }
        },
    )
}

/// Writes an answer whole, unless it is the beginning of a link: that is sent with what the link says first.
async fn answer_by<IO: AsyncRead + AsyncWrite + Unpin>(
    framed: Framed<IO, h1::Codec>,
    answer: HttpResponse,
    seat: &Seat,
) -> io::Result<Option<Box<Socket<IO>>>> {
    let (answer, body) = answer.into_parts();
    let (mut parts, size) = (framed.into_parts(), body.size());
    let out = &mut parts.write_buf;
    parts.codec.encode(h1::Message::Item((answer.into(), size)), out)?;
    if let Some((link, mut gate)) = seat.0.take() {
        gate.push(&parts.read_buf);
        return Ok(Some(Box::new(Socket::new(
            parts.io,
            link,
            gate,
            BytesMut::from(&out[..]),
        ))));
    }
    let mut body = pin!(body);
    while let Some(chunk) = poll_fn(|task| body.as_mut().poll_next(task)).await {
        let chunk = chunk.map_err(|error| io::Error::other(error.to_string()))?;
        parts.codec.encode(h1::Message::Chunk(Some(chunk)), out)?;
        parts.io.write_all_buf(out).await?;
    }
    parts.codec.encode(h1::Message::Chunk(None), out)?;
    parts.io.write_all_buf(out).await?;
    parts.io.shutdown().await?;
    Ok(None)
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
struct Socket<IO> {
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
    fn new(io: IO, link: Link, gate: Gate, unsent: BytesMut) -> Self {
        let orders = Arc::<Orders>::default();
        link.enter(Box::new(Arc::downgrade(&orders)));
        Self {
            io,
            link: Some(link),
            gate,
            orders,
            answers: Vec::new(),
            codec: Codec::new().max_size(MESSAGE_MAX),
            unsent,
            is_flushed: false,
            patience: None,
        }
    }

    /// What the next input leads to: an order, an answer, or what the device sends.
    fn poll_acts(&mut self, link: &mut Link, task: &mut Task<'_>) -> Poll<Vec<Act>> {
        if let Poll::Ready(order) = self.orders.poll(task) {
            return Poll::Ready(link.order(order));
        }
        for index in 0..self.answers.len() {
            if let Poll::Ready(answer) = Pin::new(&mut self.answers[index]).poll(task) {
                self.answers.remove(index);
                self.answers.shrink_to_fit();
                return Poll::Ready(link.answered(answer.ok()));
            }
        }
        let Self { gate, io, codec, .. } = self;
        let frame = ready!(gate.poll_frame(task, |intake, task| read(io, intake, task)));
        let message = frame.and_then(|mut frame| Ok(message(codec, &mut frame)?));
        Poll::Ready(match message {
            Ok(message) => link.hear(message),
            Err(ended) => link.ended(ended),
        })
    }

    /// Takes what comes in, as long as what goes out is not too much; ready when it is over.
    fn poll_link(&mut self, task: &mut Task<'_>) -> Poll<()> {
        while let Some(mut link) = self.link.take() {
            let acts = if self.unsent.len() < UNSENT_MAX {
                self.poll_acts(&mut link, task)
            } else {
                Poll::Pending
            };
            self.link = Some(link);
            for act in ready!(acts) {
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
    use actix_codec::Decoder as _;
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
