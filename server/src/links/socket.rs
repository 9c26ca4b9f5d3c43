//! Frames in, a link's acts out. The only file that knows actix-web-actors, which is deprecated upstream.
//!
//! A socket is polled by the connection under it, as long as what it sends is taken; so what waits to be sent is bounded by
//! what may come in at once. A peer that does not read is ended from outside (`registry::watch`).

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Handler, Recipient, Running, StreamHandler,
    WrapFuture as _,
};
use actix_http::ws::{CloseCode, CloseReason, Codec, ProtocolError};
use actix_web::error::PayloadError;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{Message as WsMessage, WebsocketContext, WsResponseBuilder};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;

use super::Links;
use super::intake::{Intake, Passed};
use super::link::{Act, Link};
use super::registry::{Handle, Order};
use super::session::{Closing, Input};
use super::wire::Wire;
use crate::devices::Peer;
use muster_link::limits::MESSAGE_MAX;
use muster_link::{Encoding, Message};

/// Orders that may wait for a socket; one more cuts the link.
const ORDERS_MAX: usize = 32;

/// Answers the upgrade and starts the link.
pub(super) fn start(
    links: &Links,
    peer: Peer,
    address: String,
    encoding: Encoding,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let wire = request.conn_data::<Arc<Wire>>().cloned().unwrap_or_default();
    let gate = Gate(Rc::new(RefCell::new(Gated {
        intake: Intake::new(links.unfinished.clone(), Instant::now()),
        ended: None,
        pause: None,
    })));
    let socket = Socket {
        link: Link::new(links, peer, address, encoding, Arc::clone(&wire)),
        wire,
        gate: Gate(Rc::clone(&gate.0)),
    };
    WsResponseBuilder::new(socket, request, Admitted { payload, gate })
        .codec(Codec::new())
        .frame_size(MESSAGE_MAX)
        .start()
}

/// What stands between the connection's bytes and the socket; both know it.
#[derive(Debug)]
struct Gate(Rc<RefCell<Gated>>);

#[derive(Debug)]
struct Gated {
    intake: Intake,
    ended: Option<Ended>,
    pause: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Ended {
    Lost,
    Refused(Closing),
}

/// The connection's bytes, as far as they may pass.
struct Admitted {
    payload: web::Payload,
    gate: Gate,
}

impl Stream for Admitted {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let Self { payload, gate } = self.get_mut();
        let mut gate = gate.0.borrow_mut();
        loop {
            if let Some(pause) = &mut gate.pause {
                ready!(pause.as_mut().poll(task));
                gate.pause = None;
            }
            match gate.intake.pass(Instant::now()) {
                Ok(Passed::Frames(frames)) => return Poll::Ready(Some(Ok(frames))),
                Ok(Passed::Wait(time)) => gate.pause = Some(Box::pin(tokio::time::sleep(time))),
                Ok(Passed::Nothing) => match ready!(Pin::new(&mut *payload).poll_next(task)) {
                    Some(Ok(bytes)) => gate.intake.push(&bytes),
                    end => {
                        gate.ended = Some(Ended::Lost);
                        return Poll::Ready(end);
                    }
                },
                Err(closing) => {
                    gate.ended = Some(Ended::Refused(closing));
                    return Poll::Ready(Some(Err(PayloadError::Overflow)));
                }
            }
        }
    }
}

#[derive(Debug)]
struct Socket {
    link: Link,
    wire: Arc<Wire>,
    gate: Gate,
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
        self.wire.heard();
        match message {
            Ok(WsMessage::Text(text)) => self.input(Input::Text(&text), context),
            Ok(WsMessage::Binary(bytes)) => self.input(Input::Binary(&bytes), context),
            Ok(WsMessage::Continuation(item)) => {
                let acts = self.link.part(item);
                self.perform(acts, context);
            }
            Ok(WsMessage::Ping(data)) => context.pong(&data),
            Ok(WsMessage::Pong(_) | WsMessage::Nop) => {}
            Ok(WsMessage::Close(_)) => {
                self.link.ends("closed");
                context.close(None);
                context.stop();
            }
            Err(error) => self.failed(&error, context),
        }
    }

    fn finished(&mut self, context: &mut Context) {
        self.link.ends("lost");
        context.stop();
    }
}

impl Handler<Ordered> for Socket {
    type Result = ();

    fn handle(&mut self, Ordered(order): Ordered, context: &mut Context) {
        match order {
            Order::Tell(push) => self.input(Input::Tell(push), context),
            Order::Allow(extensions) => self.input(Input::Allow(extensions), context),
            Order::Close(closing) => self.close(closing, context),
        }
    }
}

impl Socket {
    fn input(&mut self, input: Input<'_>, context: &mut Context) {
        let acts = self.link.handle(input);
        self.perform(acts, context);
    }

    fn perform(&mut self, acts: Vec<Act>, context: &mut Context) {
        for act in acts {
            match act {
                Act::Send(Message::Text(text)) => context.text(text),
                Act::Send(Message::Binary(bytes)) => context.binary(bytes),
                Act::Widen(message_max) => self.gate.0.borrow_mut().intake.widen(message_max),
                Act::Await(answered) => {
                    let answered = answered.into_actor(self).map(|answer, socket, context| {
                        let input = answer.map_or(Input::NotJoined, |welcome| Input::Joined(Box::new(welcome)));
                        socket.input(input, context);
                    });
                    context.spawn(answered);
                }
                Act::Close(closing) => self.close(closing, context),
            }
        }
    }

    /// The codec gives out bad UTF-8 and reserved bits as failures of the connection, which the gate knows better.
    fn failed(&mut self, error: &ProtocolError, context: &mut Context) {
        let ended = self.gate.0.borrow_mut().ended.take();
        match (ended, error) {
            (Some(Ended::Refused(closing)), _) => self.close(closing, context),
            (Some(Ended::Lost), _) => {
                self.link.ends("lost");
                context.stop();
            }
            (None, ProtocolError::Overflow) => self.close(Closing::TooLarge, context),
            (None, _) => self.close(Closing::Malformed, context),
        }
    }

    fn close(&mut self, closing: Closing, context: &mut Context) {
        self.link.ends(closing.reason());
        context.close(Some(CloseReason {
            code: CloseCode::from(closing.code()),
            description: None,
        }));
        context.stop();
    }
}
