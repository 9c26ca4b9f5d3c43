//! Frames in, session's effects out. The only file that knows actix-web-actors, which is deprecated upstream.

use std::sync::Arc;

use actix::{Actor, ActorContext as _, AsyncContext as _, Handler, Recipient, Running, StreamHandler, WrapFuture as _};
use actix::{ActorFutureExt as _, SpawnHandle};
use actix_http::ws::{CloseCode, CloseReason, Codec, Item, ProtocolError};
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{Message as WsMessage, WebsocketContext, WsResponseBuilder};
use tokio::sync::oneshot;

use super::Links;
use super::registry::{Handle, Heard, Order};
use super::session::{Closing, Effect, Input, Session, Welcome};
use super::writer::Entry;
use crate::devices::Peer;
use crate::devices::model::LinkId;
use crate::devices::service::JoinRecord;
use muster_link::limits::MESSAGE_MAX;
use muster_link::{Encoding, Message};

/// Orders that may wait for a socket; one more closes the link.
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
    let link: LinkId = links.platform.new_id();
    let socket = Socket {
        links: links.clone(),
        peer,
        link,
        address,
        session: Session::new(encoding),
        heard: None,
        parts: Vec::new(),
        parts_are_text: true,
        end: None,
    };
    let codec = Codec::new().max_size(MESSAGE_MAX);
    WsResponseBuilder::new(socket, request, payload)
        .codec(codec)
        .frame_size(MESSAGE_MAX)
        .start()
}

#[derive(Debug)]
struct Socket {
    links: Links,
    peer: Peer,
    link: LinkId,
    address: String,
    session: Session,
    heard: Option<Arc<Heard>>,
    parts: Vec<u8>,
    parts_are_text: bool,
    end: Option<&'static str>,
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
        let handle = SocketHandle(context.address().recipient());
        self.heard = Some(
            self.links
                .registry
                .enter(self.peer.device(), self.link, Box::new(handle)),
        );
    }

    fn stopping(&mut self, _: &mut Context) -> Running {
        let reason = self.end.unwrap_or("closed");
        self.links.registry.leave(self.peer.device(), self.link);
        self.links
            .platform
            .metrics
            .links_closed
            .with_label_values(&[reason])
            .inc();
        let (writer, entry) = (
            self.links.writer.clone(),
            Entry::End(self.peer.clone(), self.link, reason),
        );
        actix::spawn(async move { writer.write_end(entry).await });
        Running::Stop
    }
}

impl StreamHandler<Result<WsMessage, ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<WsMessage, ProtocolError>, context: &mut Context) {
        if let Some(heard) = &self.heard {
            heard.now();
        }
        match message {
            Ok(WsMessage::Text(text)) => self.input(Input::Text(&text), context),
            Ok(WsMessage::Binary(bytes)) => self.input(Input::Binary(&bytes), context),
            Ok(WsMessage::Continuation(item)) => self.part(item, context),
            Ok(WsMessage::Ping(data)) => context.pong(&data),
            Ok(WsMessage::Pong(_) | WsMessage::Nop) => {}
            Ok(WsMessage::Close(_)) => {
                self.end.get_or_insert("closed");
                context.close(None);
                context.stop();
            }
            Err(ProtocolError::Io(_)) => {
                self.end.get_or_insert("lost");
                context.stop();
            }
            Err(ProtocolError::Overflow) => self.close(Closing::TooLarge, context),
            Err(_) => self.close(Closing::Malformed, context),
        }
    }

    fn finished(&mut self, context: &mut Context) {
        self.end.get_or_insert("lost");
        context.stop();
    }
}

impl Handler<Ordered> for Socket {
    type Result = ();

    fn handle(&mut self, Ordered(order): Ordered, context: &mut Context) {
        match order {
            Order::Tell(message) => self.input(Input::Tell(message), context),
            Order::Close(closing) => self.close(closing, context),
        }
    }
}

impl Socket {
    fn input(&mut self, input: Input<'_>, context: &mut Context) {
        for effect in self.session.handle(input) {
            match effect {
                Effect::Send(Message::Text(text)) => context.text(text),
                Effect::Send(Message::Binary(bytes)) => context.binary(bytes),
                Effect::Join(join) => drop(self.join(*join, context)),
                Effect::Report(report) => {
                    if !self.links.writer.write(Entry::Report(self.peer.clone(), report)) {
                        self.close(Closing::Overloaded, context);
                    }
                }
                Effect::Close(closing) => self.close(closing, context),
            }
        }
    }

    fn join(&mut self, join: muster_link::Join, context: &mut Context) -> SpawnHandle {
        let (answer, answered) = oneshot::channel::<Welcome>();
        let record = JoinRecord {
            peer: self.peer.clone(),
            link: self.link,
            address: self.address.clone(),
            join,
        };
        self.links.writer.write(Entry::Join(Box::new(record), answer));
        context.spawn(answered.into_actor(self).map(|answer, socket, context| {
            let input = answer.map_or(Input::NotJoined, Input::Joined);
            socket.input(input, context);
        }))
    }

    /// A message in parts counts against the same limit as a whole one.
    fn part(&mut self, item: Item, context: &mut Context) {
        let (bytes, is_last) = match item {
            Item::FirstText(bytes) => {
                (self.parts, self.parts_are_text) = (Vec::new(), true);
                (bytes, false)
            }
            Item::FirstBinary(bytes) => {
                (self.parts, self.parts_are_text) = (Vec::new(), false);
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        if self.parts.len() + bytes.len() > self.session.message_max() {
            return self.close(Closing::TooLarge, context);
        }
        self.parts.extend_from_slice(&bytes);
        if is_last {
            let whole = std::mem::take(&mut self.parts);
            if !self.parts_are_text {
                return self.input(Input::Binary(&whole), context);
            }
            match std::str::from_utf8(&whole) {
                Ok(text) => self.input(Input::Text(text), context),
                Err(_) => self.close(Closing::Malformed, context),
            }
        }
    }

    fn close(&mut self, closing: Closing, context: &mut Context) {
        self.end.get_or_insert(closing.reason());
        context.close(Some(CloseReason {
            code: CloseCode::from(closing.code()),
            description: None,
        }));
        context.stop();
    }
}
