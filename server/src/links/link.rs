//! One link apart from its socket: the session and what surrounds it. Messages, answers and orders go in, acts come out;
//! whoever moves the frames performs them.

use std::sync::Arc;
use std::time::Instant;

use actix_http::ws::{CloseCode, CloseReason, Item, Message as WsMessage};
use muster_link::{Encoding, Message};
use tokio::sync::oneshot;

use super::Links;
use super::extensions::usable;
use super::gate::Ended;
use super::intake::Share;
use super::registry::{Handle, Order};
use super::renewals;
use super::session::{Closing, Effect, Input, Report, Session, Welcome};
use super::valve::Valve;
use super::wire::Wire;
use super::writer::Entry;
use crate::devices::Peer;
use crate::devices::model::LinkId;
use crate::devices::service::{JoinRecord, LinkEnd, LinkStart};

/// What the socket is to do.
#[derive(Debug)]
pub enum Act {
    /// Send this.
    Send(WsMessage),
    /// Hand the answer to [`Link::answered`] when it has come.
    Await(oneshot::Receiver<Welcome>),
    /// The device joined: it may send as much as a joined one.
    Widen(usize),
    /// Send what waits and end.
    End,
}

/// A device that was let in.
#[derive(Debug)]
pub struct Admitted {
    /// Who it is.
    pub peer: Peer,
    /// Where it comes from.
    pub address: String,
    /// The serialisation that it speaks.
    pub encoding: Encoding,
    /// The connection under it.
    pub wire: Arc<Wire>,
}

/// A link that is open.
#[derive(Debug)]
pub struct Link {
    links: Links,
    peer: Peer,
    id: LinkId,
    address: String,
    session: Session,
    wire: Arc<Wire>,
    parts: Vec<u8>,
    parts_are_text: bool,
    share: Option<Box<Share>>,
    valve: Valve,
    end: Option<&'static str>,
}

impl Link {
    /// A link whose upgrade was taken.
    pub fn new(links: &Links, admitted: Admitted) -> Self {
        let Admitted {
            peer,
            address,
            encoding,
            wire,
        } = admitted;
        Self {
            links: links.clone(),
            peer,
            id: links.platform.new_id(),
            address,
            session: Session::new(encoding),
            wire,
            parts: Vec::new(),
            parts_are_text: true,
            share: None,
            valve: Valve::new(Instant::now()),
            end: None,
        }
    }

    /// Makes it the device's one link, reached by this handle.
    pub fn enter(&self, handle: Box<dyn Handle>) {
        let (device, wire) = (self.peer.device(), Arc::clone(&self.wire));
        self.links.registry.enter(&self.peer, self.id, handle, wire);
        self.links.writer.write(Entry::Open(LinkStart {
            device,
            link: self.id,
            address: self.address.clone(),
            at: self.links.platform.clock.now(),
        }));
    }

    /// What a message leads to.
    pub fn hear(&mut self, message: WsMessage) -> Vec<Act> {
        self.wire.heard();
        match message {
            WsMessage::Text(text) => self.handle(Input::Text(&text)),
            WsMessage::Binary(bytes) => self.handle(Input::Binary(&bytes)),
            WsMessage::Continuation(item) => self.part(item),
            WsMessage::Ping(data) => vec![Act::Send(WsMessage::Pong(data))],
            WsMessage::Pong(_) | WsMessage::Nop => Vec::new(),
            WsMessage::Close(_) => {
                self.ends("closed");
                vec![Act::Send(WsMessage::Close(None)), Act::End]
            }
        }
    }

    /// What the answer to a join leads to; one that was dropped is a refusal.
    pub fn answered(&mut self, welcome: Option<Welcome>) -> Vec<Act> {
        self.handle(welcome.map_or(Input::NotJoined, |welcome| Input::Joined(Box::new(welcome))))
    }

    /// What an order leads to.
    pub fn order(&mut self, order: Order) -> Vec<Act> {
        match order {
            Order::Tell(push) => self.handle(Input::Tell(push)),
            Order::Allow(extensions) => self.handle(Input::Allow(extensions)),
            Order::Close(closing) => self.close(closing),
        }
    }

    /// Nothing more comes in.
    pub fn ended(&mut self, ended: Ended) -> Vec<Act> {
        match ended {
            Ended::Refused(closing) => self.close(closing),
            Ended::Lost => {
                self.ends("lost");
                vec![Act::End]
            }
        }
    }

    fn close(&mut self, closing: Closing) -> Vec<Act> {
        self.ends(closing.reason());
        let reason = CloseReason {
            code: CloseCode::from(closing.code()),
            description: None,
        };
        vec![Act::Send(WsMessage::Close(Some(reason))), Act::End]
    }

    fn handle(&mut self, input: Input<'_>) -> Vec<Act> {
        let input = match input {
            Input::Allow(on) => Input::Allow(usable(&self.peer, on)),
            input => input,
        };
        let was_joined = self.session.is_joined();
        let effects = self.session.handle(input);
        let mut acts = Vec::with_capacity(effects.len() + usize::from(!was_joined));
        if !was_joined && self.session.is_joined() {
            self.wire.joined();
            acts.push(Act::Widen(self.session.message_max()));
        }
        for effect in effects {
            match effect {
                Effect::Send(Message::Text(text)) => acts.push(Act::Send(WsMessage::Text(text.into()))),
                Effect::Send(Message::Binary(bytes)) => acts.push(Act::Send(WsMessage::Binary(bytes.into()))),
                Effect::Close(closing) => acts.extend(self.close(closing)),
                Effect::Join(join) => acts.extend(self.join(*join)),
                Effect::Renew(csr) => {
                    if !self.links.renewals.ask(&self.peer, csr) {
                        acts.extend(self.handle(Input::Tell(Box::new(renewals::busy().into()))));
                    }
                }
                Effect::Relay(said) => self.links.relay(&self.peer, self.id, said),
                Effect::Report(Report::Log(_)) if !self.valve.pass(Instant::now()) => {
                    let dropped = &self.links.platform.metrics.log_lines_dropped;
                    dropped.with_label_values(&["rate"]).inc();
                }
                Effect::Report(report) => {
                    let taken = self.wire.wait().is_some_and(|place| {
                        let entry = Entry::Report(self.peer.clone(), report, place);
                        self.links.writer.write(entry)
                    });
                    if !taken {
                        acts.extend(self.close(Closing::Overloaded));
                    }
                }
            }
        }
        acts
    }

    fn join(&mut self, join: muster_link::Join) -> Vec<Act> {
        let Some(place) = self.wire.wait() else {
            return self.close(Closing::Overloaded);
        };
        let (answer, answered) = oneshot::channel::<Welcome>();
        let record = JoinRecord {
            peer: self.peer.clone(),
            link: self.id,
            address: self.address.clone(),
            join,
        };
        // An answer that is dropped is a refused join: the device joins again.
        self.links.writer.write(Entry::Join(Box::new(record), answer, place));
        vec![Act::Await(answered)]
    }

    /// A message in parts counts against the same limit as a whole one, and what has come of it against the node's.
    fn part(&mut self, item: Item) -> Vec<Act> {
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
        let length = self.parts.len() + bytes.len();
        let share = self
            .share
            .get_or_insert_with(|| Box::new(Share::new(self.links.unfinished.clone())));
        if length > self.session.message_max() || share.hold(length).is_err() {
            return self.close(Closing::TooLarge);
        }
        self.parts.extend_from_slice(&bytes);
        if !is_last {
            return Vec::new();
        }
        self.share = None;
        let whole = std::mem::take(&mut self.parts);
        if !self.parts_are_text {
            return self.handle(Input::Binary(&whole));
        }
        match std::str::from_utf8(&whole) {
            Ok(text) => self.handle(Input::Text(text)),
            Err(_) => self.close(Closing::Malformed),
        }
    }

    /// Notes why it ends; the first reason counts.
    fn ends(&mut self, reason: &'static str) {
        self.end.get_or_insert(reason);
    }

    /// It is over: takes it off the list and tells the writer.
    pub fn leave(&mut self) -> impl Future<Output = ()> + use<> {
        let cut = self.wire.was_cut().map(Closing::reason);
        let reason = cut.or(self.end).unwrap_or("lost");
        self.links.forget(&self.peer, self.id);
        let closed = &self.links.platform.metrics.links_closed;
        closed.with_label_values(&[reason]).inc();
        let ended_at = self.links.platform.clock.now();
        let end = LinkEnd {
            device: self.peer.device(),
            org: self.peer.org(),
            product: self.peer.product(),
            link: self.id,
            address: std::mem::take(&mut self.address),
            heard_at: ended_at - self.wire.silence(),
            ended_at,
            reason,
        };
        let writer = self.links.writer.clone();
        async move { writer.write_end(Entry::End(Box::new(end))).await }
    }
}
