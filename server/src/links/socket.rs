//! Frames in, a link's acts out. The only file that knows actix-web-actors, which is deprecated upstream.
//!
//! A socket is polled by the connection under it, as long as what it sends is taken; so what waits to be sent is bounded by
//! what may come in at once. A peer that does not read is ended from outside (`registry::watch`).

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Task, Poll, ready};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Handler, Recipient, Running, StreamHandler,
    WrapFuture as _,
};
use actix_http::ws::{Codec, ProtocolError};
use actix_web::error::PayloadError;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{Message as WsMessage, WebsocketContext, WsResponseBuilder};
use bytes::Bytes;
use futures_util::Stream;
use muster_link::limits::MESSAGE_MAX;

use super::gate::{Ended, Gate};
use super::link::{Act, Link};
use super::registry::{Handle, ORDERS_MAX, Order};
use super::session::Closing;

/// Answers the upgrade and starts the link.
pub(super) fn start(
    link: Link,
    gate: Gate,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let doorway = Rc::new(RefCell::new(Doorway { gate, refused: None }));
    let socket = Socket {
        link,
        doorway: Rc::clone(&doorway),
    };
    WsResponseBuilder::new(socket, request, Frames { payload, doorway })
        .codec(Codec::new())
        .frame_size(MESSAGE_MAX)
        .start()
}

/// The gate, which both the stream of frames and the socket know, and why it lets nothing more pass: the codec between them
/// makes a failure of the connection of that.
#[derive(Debug)]
struct Doorway {
    gate: Gate,
    refused: Option<Closing>,
}

/// The connection's bytes, as far as they may pass.
struct Frames {
    payload: web::Payload,
    doorway: Rc<RefCell<Doorway>>,
}

impl Stream for Frames {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let Self { payload, doorway } = self.get_mut();
        let mut doorway = doorway.borrow_mut();
        let frame = ready!(doorway.gate.poll_frame(task, |intake, task| {
            let bytes = ready!(Pin::new(&mut *payload).poll_next(task));
            Poll::Ready(bytes.and_then(Result::ok).map(|bytes| intake.push(&bytes)).is_some())
        }));
        Poll::Ready(match frame {
            Ok(frame) => Some(Ok(frame.freeze())),
            Err(Ended::Lost) => None,
            Err(Ended::Refused(closing)) => {
                doorway.refused = Some(closing);
                Some(Err(PayloadError::Overflow))
            }
        })
    }
}

#[derive(Debug)]
struct Socket {
    link: Link,
    doorway: Rc<RefCell<Doorway>>,
}

type Context = WebsocketContext<Socket>;

#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
struct Ordered(Order);

#[derive(Debug)]
struct SocketHandle(Recipient<Ordered>);

impl Handle for SocketHandle {
    fn order(&self, order: Order) -> bool {
        self.0.try_send(Ordered(order)).is_ok()
    }
}

impl Actor for Socket {
    type Context = Context;

    fn started(&mut self, context: &mut Context) {
        context.set_mailbox_capacity(ORDERS_MAX);
        self.link.enter(Box::new(SocketHandle(context.address().recipient())));
    }

    fn stopping(&mut self, _: &mut Context) -> Running {
        actix::spawn(self.link.leave());
        Running::Stop
    }
}

impl StreamHandler<Result<WsMessage, ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<WsMessage, ProtocolError>, context: &mut Context) {
        let acts = match message {
            Ok(message) => self.link.hear(message),
            Err(error) => {
                let refused = self.doorway.borrow_mut().refused.take();
                self.link.ended(refused.map_or_else(|| error.into(), Ended::Refused))
            }
        };
        self.perform(acts, context);
    }

    fn finished(&mut self, context: &mut Context) {
        let acts = self.link.ended(Ended::Lost);
        self.perform(acts, context);
    }
}

impl Handler<Ordered> for Socket {
    type Result = ();

    fn handle(&mut self, Ordered(order): Ordered, context: &mut Context) {
        let acts = self.link.order(order);
        self.perform(acts, context);
    }
}

impl Socket {
    fn perform(&mut self, acts: Vec<Act>, context: &mut Context) {
        for act in acts {
            match act {
                Act::Send(message) => context.write_raw(message),
                Act::Widen(message_max) => self.doorway.borrow_mut().gate.widen(message_max),
                Act::Await(answered) => {
                    let answered = answered.into_actor(self).map(|answer, socket, context| {
                        let acts = socket.link.answered(answer.ok());
                        socket.perform(acts, context);
                    });
                    context.spawn(answered);
                }
                Act::End => context.stop(),
            }
        }
    }
}
