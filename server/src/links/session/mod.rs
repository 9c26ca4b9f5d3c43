//! What a link decides: sans-IO. Frames and answers go in, effects come out; no socket, no clock, no database.
//!
//! The rules are device-link §2.1 and §10, the latter first: no ping, no reply to an ordinary push but the refusal of an
//! extension, no answer on a topic that is not joined (a join excepted), silence before the join, and never a `phx_close`:
//! a second join of a topic replaces the first, and to drop a device its socket is closed. Each topic has its file.

mod closing;
mod console;
mod device;
mod effect;
mod extensions;
#[cfg(test)]
mod tests;

use muster_link::limits::{MESSAGE_MAX, MESSAGE_MAX_BEFORE_JOIN};
use muster_link::{DeviceApiVersion, Encoding, Frame, Message, Push, Ref, Reply, ToDevice, Topic};
use serde::Serialize;
use serde_json::json;

pub use self::closing::Closing;
use self::console::Console;
use self::device::Device;
pub use self::effect::{Effect, Input, Relay, Report, Welcome};
use self::extensions::Extensions;

/// One link's state.
#[derive(Debug, Default)]
pub struct Session {
    encoding: Encoding,
    device: Device,
    console: Console,
    extensions: Extensions,
}

impl Session {
    /// The session of a link in this serialisation.
    pub fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            ..Self::default()
        }
    }

    /// The largest message that is taken now, in bytes.
    pub fn message_max(&self) -> usize {
        if self.is_joined() {
            MESSAGE_MAX
        } else {
            MESSAGE_MAX_BEFORE_JOIN
        }
    }

    /// Whether the device has joined.
    pub fn is_joined(&self) -> bool {
        self.device.joined().is_some()
    }

    /// What this input leads to.
    pub fn handle(&mut self, input: Input<'_>) -> Vec<Effect> {
        match input {
            Input::Text(text) if text.len() > self.message_max() => vec![Effect::Close(Closing::TooLarge)],
            Input::Binary(bytes) if bytes.len() > self.message_max() => vec![Effect::Close(Closing::TooLarge)],
            Input::Text(text) => match self.encoding {
                Encoding::Json => self.parsed(Frame::parse(text)),
                Encoding::MessagePack => vec![Effect::Close(Closing::Malformed)],
            },
            Input::Binary(bytes) => match self.encoding {
                // The protocol has a binary form of JSON links too, which no message uses (device-link §2.2).
                Encoding::Json => Vec::new(),
                Encoding::MessagePack => self.parsed(Frame::parse_binary(bytes)),
            },
            Input::Joined(welcome) => self.joined(*welcome),
            Input::NotJoined => self.not_joined(),
            Input::Tell(push) => self.tell(*push),
            Input::Allow(extensions) => self.switch(extensions),
        }
    }

    fn parsed(&mut self, frame: Result<Frame<'_>, muster_link::FrameError>) -> Vec<Effect> {
        match frame {
            Ok(frame) => self.frame(&frame),
            Err(_) => vec![Effect::Close(Closing::Malformed)],
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        match (frame.topic(), &*frame.event) {
            (Topic::Phoenix, "heartbeat") => self.answer(frame, Reply::Ok, &json!({})),
            (Topic::Device, "phx_join") => self.join_device(frame),
            (Topic::Console, "phx_join") => self.join_console(frame),
            (Topic::Extensions, "phx_join") => self.join_extensions(frame),
            (_, "phx_join") => self.answer(frame, Reply::Error, &json!({ "reason": "unmatched topic" })),
            (topic, "phx_leave") => self.leave(frame, topic),
            (Topic::Device, _) => self.hear_device(frame),
            (Topic::Console, _) => self.hear_console(frame),
            (Topic::Extensions, _) => self.hear_extensions(frame),
            _ => Vec::new(),
        }
    }

    /// Leaves a topic; what is not joined cannot be left and gets no answer.
    fn leave(&mut self, frame: &Frame<'_>, topic: Topic) -> Vec<Effect> {
        let was_joined = match topic {
            Topic::Device => self.device.leave(),
            Topic::Console => self.console.leave(),
            Topic::Extensions => self.extensions.leave(),
            Topic::Phoenix | Topic::Unknown => false,
        };
        if was_joined {
            self.answer(frame, Reply::Ok, &json!({}))
        } else {
            Vec::new()
        }
    }

    /// Tells the device, where its topic is joined and the device knows such messages (device-link §3.6).
    fn tell(&mut self, push: Push) -> Vec<Effect> {
        match push {
            Push::Device(ToDevice::Archive(archive)) => match self.keep_archive(archive) {
                Some(archive) => self.tell_device(&ToDevice::Archive(archive)),
                None => Vec::new(),
            },
            Push::Device(message) => self.tell_device(&message),
            Push::Console(message) => self.tell_console(&message),
            Push::Extensions(message) => self.tell_extensions(&message),
        }
    }

    fn api(&self) -> Option<&DeviceApiVersion> {
        self.device.joined().map(|joined| &joined.api)
    }

    fn answer(&self, frame: &Frame<'_>, status: Reply, response: &impl Serialize) -> Vec<Effect> {
        send(self.encoding.reply(
            frame.join_ref.as_ref(),
            frame.reference.as_ref(),
            &frame.topic,
            status,
            response,
        ))
    }
}

/// The join of a topic that needs no answer from elsewhere.
#[derive(Debug)]
struct Membership(Option<Ref>);

impl Membership {
    fn join_ref(&self) -> Option<&Ref> {
        self.0.as_ref()
    }
}

/// Whether a message belongs to this join: a message of an earlier join is stale; clients up to 2.9 say nothing at all.
fn belongs(frame: &Frame<'_>, join_ref: Option<&Ref>) -> bool {
    frame.join_ref.is_none() || frame.join_ref.as_ref() == join_ref
}

fn send(message: Result<Message, muster_link::FrameError>) -> Vec<Effect> {
    match message {
        Ok(message) => vec![Effect::Send(message)],
        Err(error) => {
            tracing::error!(%error, "a message could not be written");
            Vec::new()
        }
    }
}
