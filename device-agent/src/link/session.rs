//! One connection's bookkeeping: refs, joins and rejoins of its topics, heartbeats. No clock, no I/O.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_link::limits::REJOIN_AFTER;
use muster_link::{
    Encoding, Extension, Frame, FromConsole, FromDevice, FromExtensions, Message, Names, Push, Ref, Reply, ToConsole,
    ToDevice, ToExtensions, Topic,
};
use serde::{Deserialize, Serialize};

/// What the device says.
#[derive(Debug, Clone, PartialEq)]
pub enum Say {
    /// On the topic `device`.
    Device(FromDevice),
    /// On the topic `console`.
    Console(FromConsole),
    /// On the topic `extensions`.
    Extensions(FromExtensions),
}

impl From<FromDevice> for Say {
    fn from(message: FromDevice) -> Self {
        Self::Device(message)
    }
}

impl From<FromConsole> for Say {
    fn from(message: FromConsole) -> Self {
        Self::Console(message)
    }
}

impl From<FromExtensions> for Say {
    fn from(message: FromExtensions) -> Self {
        Self::Extensions(message)
    }
}

impl Say {
    fn is_join(&self) -> bool {
        matches!(
            self,
            Self::Device(FromDevice::Join(_))
                | Self::Console(FromConsole::Join(_))
                | Self::Extensions(FromExtensions::Join(_))
        )
    }

    fn topic(&self) -> Topic {
        match self {
            Self::Device(_) => Topic::Device,
            Self::Console(_) => Topic::Console,
            Self::Extensions(_) => Topic::Extensions,
        }
    }

    fn encode(&self, encoding: Encoding, join_ref: &Ref, reference: &Ref) -> Option<Message> {
        let message = match self {
            Self::Device(message) => message.encode(encoding, join_ref, reference),
            Self::Console(message) => message.encode(encoding, join_ref, reference),
            Self::Extensions(message) => message.encode(encoding, join_ref, reference),
        };
        message.ok()
    }
}

/// What the connection is to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Write this message.
    Write(Message),
    /// Find out what is to be said, and join the topic with it; `console` and `extensions` only if they are wanted.
    NeedJoin(Topic),
    /// The server has us on this topic.
    Joined(Topic),
    /// The server does not want us on this topic now; another try follows by itself.
    Refused(Topic, String),
    /// The server says this.
    Push(Push),
    /// The server is gone, for this reason: drop the connection.
    Dead(&'static str),
}

/// A server that does not answer a join for this long has forgotten it.
const JOIN_TIMEOUT: Duration = Duration::from_mins(1);
/// A topic beside `device` is joined again after twice as long each time, so often.
const REJOIN_DOUBLINGS_MAX: u32 = 6;
/// Refs of `attached` messages that a refusal may name.
const ATTACHED_MAX: usize = 32;

/// One topic.
#[derive(Debug, Default)]
struct Channel {
    join_ref: Option<Ref>,
    joined: bool,
    rejoin_at: Option<Instant>,
    answer_by: Option<Instant>,
    refusals: u32,
}

impl Channel {
    /// Joins again after a while: `device` soon, since it is what the link is for, others less and less often.
    fn retry(&mut self, topic: Topic, now: Instant) {
        self.joined = false;
        self.answer_by = None;
        let doublings = self.refusals.min(REJOIN_DOUBLINGS_MAX);
        let factor = if topic == Topic::Device { 1 } else { 1 << doublings };
        self.refusals = self.refusals.saturating_add(1);
        self.rejoin_at = Some(now + REJOIN_AFTER * factor);
    }
}

/// The bookkeeping.
#[derive(Debug)]
pub struct Session {
    encoding: Encoding,
    heartbeat: Duration,
    last_ref: u64,
    device: Channel,
    console: Channel,
    extensions: Channel,
    /// Refs of `attached` messages: a refusal names nothing else.
    attached: BTreeMap<u64, Extension>,
    unanswered: Option<Ref>,
    heartbeat_at: Instant,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Deserialize)]
struct ReplyBody {
    status: Reply,
    #[serde(default)]
    response: serde_json::Value,
}

impl Session {
    /// A connection that has just been opened. What it wants first are the joins of `device` and `console`.
    pub fn open(encoding: Encoding, heartbeat: Duration, now: Instant) -> (Self, [Effect; 2]) {
        let session = Self {
            encoding,
            heartbeat,
            last_ref: 0,
            device: Channel::default(),
            console: Channel::default(),
            extensions: Channel::default(),
            attached: BTreeMap::new(),
            unanswered: None,
            heartbeat_at: now + heartbeat,
        };
        (
            session,
            [Effect::NeedJoin(Topic::Device), Effect::NeedJoin(Topic::Console)],
        )
    }

    fn channels(&self) -> [&Channel; 3] {
        [&self.device, &self.console, &self.extensions]
    }

    fn channel(&mut self, topic: Topic) -> Option<&mut Channel> {
        match topic {
            Topic::Device => Some(&mut self.device),
            Topic::Console => Some(&mut self.console),
            Topic::Extensions => Some(&mut self.extensions),
            Topic::Phoenix | Topic::Unknown => None,
        }
    }

    /// When [`Session::tick`] is to be called.
    pub fn due(&self) -> Instant {
        let rejoins = self.channels().map(|channel| channel.rejoin_at);
        let others = rejoins.into_iter().chain([self.device.answer_by]);
        others.flatten().fold(self.heartbeat_at, Instant::min)
    }

    /// Whether the server has us on this topic.
    pub fn is_joined(&mut self, topic: Topic) -> bool {
        self.channel(topic).is_some_and(|channel| channel.joined)
    }

    fn next_ref(&mut self) -> Ref {
        self.last_ref += 1;
        Ref::from(self.last_ref)
    }

    /// Says something. A join begins anew on its topic; anything else is only said where the server has us.
    pub fn send(&mut self, say: &Say, now: Instant) -> Option<Effect> {
        if say.is_join() {
            return self.join(say, now);
        }
        let channel = self.channel(say.topic()).filter(|channel| channel.joined)?;
        let join_ref = channel.join_ref.clone()?;
        let reference = self.next_ref();
        if let Say::Extensions(FromExtensions::Attached(extension)) = say {
            self.attached.insert(self.last_ref, *extension);
            if self.attached.len() > ATTACHED_MAX {
                self.attached.pop_first();
            }
        }
        say.encode(self.encoding, &join_ref, &reference).map(Effect::Write)
    }

    fn join(&mut self, say: &Say, now: Instant) -> Option<Effect> {
        let topic = say.topic();
        // A server that asks for `extensions` again after the device's rejoin has them still (device-link §10).
        if topic != Topic::Device && self.is_joined(topic) {
            return None;
        }
        let reference = self.next_ref();
        let channel = self.channel(topic)?;
        channel.join_ref = Some(reference.clone());
        channel.joined = false;
        channel.rejoin_at = None;
        channel.answer_by = Some(now + JOIN_TIMEOUT);
        say.encode(self.encoding, &reference, &reference).map(Effect::Write)
    }

    /// A moment that [`Session::due`] named has come.
    pub fn tick(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        for topic in [Topic::Device, Topic::Console, Topic::Extensions] {
            let due = |channel: &&mut Channel| channel.rejoin_at.is_some_and(|at| at <= now);
            if let Some(channel) = self.channel(topic).filter(due) {
                channel.rejoin_at = None;
                effects.push(Effect::NeedJoin(topic));
            }
        }
        if self.device.answer_by.is_some_and(|at| at <= now) {
            return vec![Effect::Dead("the join was not answered")];
        }
        if self.heartbeat_at <= now {
            if self.unanswered.is_some() {
                return vec![Effect::Dead("a heartbeat was not answered")];
            }
            effects.extend(self.beat(now));
        }
        effects
    }

    fn beat(&mut self, now: Instant) -> Option<Effect> {
        self.heartbeat_at = now + self.heartbeat;
        let reference = self.next_ref();
        let message = self
            .encoding
            .push(None, Some(&reference), Topic::Phoenix, "heartbeat", &Empty {});
        self.unanswered = Some(reference);
        message.ok().map(Effect::Write)
    }

    /// A message arrived. One that cannot be read, or is for nobody, changes nothing.
    pub fn receive(&mut self, message: &Message, now: Instant) -> Option<Effect> {
        let frame = match message {
            Message::Text(text) => Frame::parse(text),
            Message::Binary(bytes) => Frame::parse_binary(bytes),
        };
        let Ok(frame) = frame else {
            tracing::debug!("malformed frame ignored");
            return None;
        };
        match (frame.topic(), &*frame.event) {
            (Topic::Phoenix, "phx_reply") => {
                if frame.reference.is_some() && frame.reference == self.unanswered {
                    self.unanswered = None;
                }
                None
            }
            (Topic::Phoenix | Topic::Unknown, _) => None,
            (topic, "phx_reply") => self.reply(topic, &frame, now),
            (topic, "phx_error" | "phx_close") => self.dropped(topic, &frame, now),
            (Topic::Device, _) => Some(Effect::Push(ToDevice::read(&frame).into())),
            (Topic::Console, _) => Some(Effect::Push(ToConsole::read(&frame).into())),
            (Topic::Extensions, _) => Some(Effect::Push(ToExtensions::read(&frame).into())),
        }
    }

    /// A reply to the join, or the refusal of an extension; a reply to an older join comes too late.
    fn reply(&mut self, topic: Topic, frame: &Frame<'_>, now: Instant) -> Option<Effect> {
        let channel = self.channel(topic)?;
        let to_join = !channel.joined && frame.reference.is_some() && frame.reference == channel.join_ref;
        let body: ReplyBody = frame.payload.read().ok()?;
        if !to_join {
            return self.refused_extension(topic, frame, &body);
        }
        match body.status {
            Reply::Ok => {
                channel.answer_by = None;
                channel.joined = true;
                channel.refusals = 0;
                if topic == Topic::Extensions {
                    let names = serde_json::from_value(body.response).unwrap_or_default();
                    let attach = ToExtensions::Attach(Names::These(names));
                    return Some(Effect::Push(attach.into()));
                }
                Some(Effect::Joined(topic))
            }
            Reply::Error => {
                channel.retry(topic, now);
                Some(Effect::Refused(topic, body.response.to_string()))
            }
        }
    }

    /// The answer `detach` to an `attached` is the only one that a server gives to a push (device-link §3.5).
    fn refused_extension(&mut self, topic: Topic, frame: &Frame<'_>, body: &ReplyBody) -> Option<Effect> {
        let is_refusal = topic == Topic::Extensions && body.status == Reply::Error && body.response == "detach";
        let Some(Ref::Text(reference)) = frame.reference.as_ref().filter(|_| is_refusal) else {
            return None;
        };
        let extension = self.attached.remove(&reference.parse().ok()?)?;
        let detach = ToExtensions::Detach(Names::These(vec![extension.name().to_owned()]));
        Some(Effect::Push(detach.into()))
    }

    /// The channel is gone while the connection stands: join again, unless it was an older channel.
    fn dropped(&mut self, topic: Topic, frame: &Frame<'_>, now: Instant) -> Option<Effect> {
        let channel = self.channel(topic)?;
        let stale = frame.join_ref.is_some() && frame.join_ref != channel.join_ref;
        if stale || channel.rejoin_at.is_some() || channel.join_ref.is_none() {
            return None;
        }
        channel.retry(topic, now);
        Some(Effect::Refused(topic, frame.event.to_string()))
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
