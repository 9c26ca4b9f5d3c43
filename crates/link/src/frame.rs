//! One message is `[join_ref, ref, topic, event, payload]`, as JSON or as MessagePack (device-link §2.1, §2.4).

use std::borrow::Cow;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::limits::PAYLOAD_MAX;
use crate::msgpack::{self, MessagePackError};
use crate::{Encoding, Message};

/// Payloads' fields that MessagePack carries as times, by their event.
const TIMES: [(&str, &str); 1] = [("health:report", "/value/timestamp")];

/// `join_ref` or `ref`. Clients send decimal strings; whatever kind came is echoed as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ref {
    /// A string, as every known client sends.
    Text(Box<str>),
    /// A number, which the protocol allows.
    Number(u64),
}

impl From<u64> for Ref {
    fn from(counter: u64) -> Self {
        Self::Text(counter.to_string().into())
    }
}

/// The topics of the link, by their literal names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `phoenix`: heartbeats.
    Phoenix,
    /// `device`: firmware and everything that is not a terminal.
    Device,
    /// `console`: the terminal.
    Console,
    /// `extensions`: health, location, local shell, logs.
    Extensions,
    /// Anything else; a frame on it is dropped, a join refused.
    Unknown,
}

impl Topic {
    /// The topic of this literal name.
    pub fn named(name: &str) -> Self {
        match name {
            "phoenix" => Self::Phoenix,
            "device" => Self::Device,
            "console" => Self::Console,
            "extensions" => Self::Extensions,
            _ => Self::Unknown,
        }
    }

    /// The literal name on the wire; empty for [`Topic::Unknown`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Phoenix => "phoenix",
            Self::Device => "device",
            Self::Console => "console",
            Self::Extensions => "extensions",
            Self::Unknown => "",
        }
    }
}

/// The payload of a message, not parsed into its type yet.
#[derive(Debug)]
pub enum Payload<'a> {
    /// JSON text.
    Json(&'a RawValue),
    /// What MessagePack was read into, and the length in bytes of the message that held it.
    Tree(Value, usize),
}

impl Payload<'_> {
    /// Reads the payload into its type.
    ///
    /// # Errors
    /// When it does not fit, or is larger than [`PAYLOAD_MAX`].
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        let length = match self {
            Self::Json(json) => json.get().len(),
            Self::Tree(_, length) => *length,
        };
        if length > PAYLOAD_MAX {
            return Err(FrameError::Large);
        }
        self.read_large()
    }

    /// Reads a payload of any size: for types that keep nothing but a few texts of it.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn read_large<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        Ok(match self {
            Self::Json(json) => serde_json::from_str(json.get())?,
            Self::Tree(value, _) => T::deserialize(value)?,
        })
    }
}

/// One message, borrowed from what carried it.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The join that this message belongs to, if the sender said so.
    pub join_ref: Option<Ref>,
    /// The sender's counter; absent on what a server pushes.
    pub reference: Option<Ref>,
    /// The topic's name as it stood in the message.
    pub topic: Cow<'a, str>,
    /// The event's name.
    pub event: Cow<'a, str>,
    /// The payload.
    pub payload: Payload<'a>,
}

/// Why something is not a message, or not this message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Not JSON, not five elements, or not what the type wants.
    #[error("not a message: {0}")]
    Json(#[from] serde_json::Error),
    /// Not MessagePack.
    #[error("not a message: it {0}")]
    MessagePack(#[from] MessagePackError),
    /// The payload is larger than [`PAYLOAD_MAX`].
    #[error("the payload is larger than 64 KiB")]
    Large,
}

impl<'a> Frame<'a> {
    /// Reads one text message. Elements after the fifth are ignored.
    ///
    /// # Errors
    /// When the text is not JSON, not an array, or short of five elements.
    pub fn parse(text: &'a str) -> Result<Self, FrameError> {
        Ok(serde_json::from_str(text)?)
    }

    /// The topic by its literal name.
    pub fn topic(&self) -> Topic {
        Topic::named(&self.topic)
    }
}

impl Frame<'static> {
    /// Reads one binary message. Refs that are numbers become texts, elements after the fifth are ignored.
    ///
    /// # Errors
    /// When the bytes are not MessagePack within its limits, not an array, or short of five elements.
    pub fn parse_binary(bytes: &[u8]) -> Result<Self, FrameError> {
        let Value::Array(elements) = msgpack::read(bytes)? else {
            return Err(serde_json::Error::custom("not an array").into());
        };
        let mut elements = elements.into_iter();
        let mut next = || {
            elements
                .next()
                .ok_or_else(|| serde_json::Error::custom("not five elements"))
        };
        Ok(Self {
            join_ref: text_ref(&next()?)?,
            reference: text_ref(&next()?)?,
            topic: text(next()?)?,
            event: text(next()?)?,
            payload: Payload::Tree(next()?, bytes.len()),
        })
    }
}

fn text_ref(value: &Value) -> Result<Option<Ref>, FrameError> {
    let reference = Option::<Ref>::deserialize(value)?;
    Ok(reference.map(|reference| match reference {
        Ref::Number(number) => Ref::from(number),
        text @ Ref::Text(_) => text,
    }))
}

fn text(value: Value) -> Result<Cow<'static, str>, FrameError> {
    match value {
        Value::String(text) => Ok(text.into()),
        _ => Err(serde_json::Error::custom("not a text").into()),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Frame<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FrameVisitor)
    }
}

struct FrameVisitor;

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for FrameVisitor {
    type Value = Frame<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[join_ref, ref, topic, event, payload]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let short = |length| serde::de::Error::invalid_length(length, &"five elements");
        let frame = Frame {
            join_ref: seq.next_element()?.ok_or_else(|| short(0))?,
            reference: seq.next_element()?.ok_or_else(|| short(1))?,
            topic: seq.next_element::<Text<'de>>()?.ok_or_else(|| short(2))?.0,
            event: seq.next_element::<Text<'de>>()?.ok_or_else(|| short(3))?.0,
            payload: Payload::Json(seq.next_element()?.ok_or_else(|| short(4))?),
        };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(frame)
    }
}

/// The status of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// The request was taken.
    Ok,
    /// The request was refused.
    Error,
}

#[derive(Serialize)]
struct ReplyBody<'a, T> {
    status: Reply,
    response: &'a T,
}

/// What stands before the payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub encoding: Encoding,
    pub join_ref: Option<&'a Ref>,
    pub reference: Option<&'a Ref>,
    pub topic: Topic,
}

impl Head<'_> {
    /// The message with this event and payload.
    pub(crate) fn put(&self, event: &str, payload: &impl Serialize) -> Result<Message, FrameError> {
        self.encoding
            .push(self.join_ref, self.reference, self.topic, event, payload)
    }
}

impl Encoding {
    /// A push. A server's push has no `ref` (device-link §2.1), a device's has.
    ///
    /// # Errors
    /// When the payload does not serialise, which no type of this crate does.
    pub fn push(
        self,
        join_ref: Option<&Ref>,
        reference: Option<&Ref>,
        topic: Topic,
        event: &str,
        payload: &impl Serialize,
    ) -> Result<Message, FrameError> {
        self.write(&(join_ref, reference, topic.name(), event, payload), event)
    }

    /// A reply: both refs are echoed as they came.
    ///
    /// # Errors
    /// When the response does not serialise, which no type of this crate does.
    pub fn reply(
        self,
        join_ref: Option<&Ref>,
        reference: Option<&Ref>,
        topic: &str,
        status: Reply,
        response: &impl Serialize,
    ) -> Result<Message, FrameError> {
        let body = ReplyBody { status, response };
        self.write(&(join_ref, reference, topic, "phx_reply", body), "phx_reply")
    }

    fn write(self, elements: &impl Serialize, event: &str) -> Result<Message, FrameError> {
        Ok(match self {
            Self::Json => Message::Text(serde_json::to_string(elements)?),
            Self::MessagePack => {
                let times = TIMES.iter().filter(|(of, _)| *of == event);
                let times: Vec<String> = times.map(|(_, field)| format!("/4{field}")).collect();
                let times: Vec<&str> = times.iter().map(String::as_str).collect();
                Message::Binary(msgpack::write(&serde_json::to_value(elements)?, &times))
            }
        })
    }
}

/// The JSON text of a push, for who speaks nothing else; see [`Encoding::push`].
///
/// # Errors
/// When the payload does not serialise, which no type of this crate does.
pub fn push(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: Topic,
    event: &str,
    payload: &impl Serialize,
) -> Result<String, FrameError> {
    Ok(serde_json::to_string(&(
        join_ref,
        reference,
        topic.name(),
        event,
        payload,
    ))?)
}

/// The JSON text of a reply, for who speaks nothing else; see [`Encoding::reply`].
///
/// # Errors
/// When the response does not serialise, which no type of this crate does.
pub fn reply(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &str,
    status: Reply,
    response: &impl Serialize,
) -> Result<String, FrameError> {
    let body = ReplyBody { status, response };
    Ok(serde_json::to_string(&(join_ref, reference, topic, "phx_reply", body))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeat_is_answered_with_an_empty_object() {
        let frame = Frame::parse(r#"[null,"4","phoenix","heartbeat",{}]"#).unwrap();
        assert_eq!(frame.topic(), Topic::Phoenix);
        let empty = serde_json::Map::new();
        let text = reply(None, frame.reference.as_ref(), &frame.topic, Reply::Ok, &empty).unwrap();
        assert_eq!(
            text,
            r#"[null,"4","phoenix","phx_reply",{"status":"ok","response":{}}]"#
        );
    }

    #[test]
    fn refs_are_echoed_in_their_own_type() {
        let frame = Frame::parse(r#"[7,"7","device","phx_join",{},"extra",[1]]"#).unwrap();
        assert_eq!(frame.join_ref, Some(Ref::Number(7)));
        assert_eq!(frame.reference, Some(Ref::Text("7".into())));
    }

    #[test]
    fn escaped_names_are_read() {
        let frame = Frame::parse(r#"[null,null,"dev\u0069ce","fwup_progress",{"value":1}]"#).unwrap();
        assert_eq!(frame.topic(), Topic::Device);
    }

    #[test]
    fn what_is_not_five_elements_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"[null,"1","device","x"]"#,
            "[1,2,3,4,5]",
            "not json",
            r#"[null,-1,"a","b",{}]"#,
        ] {
            assert!(Frame::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn message_pack_says_the_same() {
        let heartbeat = [
            0x95, 0xc0, 0xa1, 0x31, 0xa7, 0x70, 0x68, 0x6f, 0x65, 0x6e, 0x69, 0x78, 0xa9, 0x68, 0x65, 0x61, 0x72, 0x74,
            0x62, 0x65, 0x61, 0x74, 0x80,
        ];
        let empty = serde_json::Map::new();
        let one = Ref::from(1);
        let written = Encoding::MessagePack.push(None, Some(&one), Topic::Phoenix, "heartbeat", &empty);
        assert_eq!(written.unwrap(), Message::Binary(heartbeat.to_vec()));
        let frame = Frame::parse_binary(&heartbeat).unwrap();
        assert_eq!((frame.join_ref, frame.reference), (None, Some(one)));
        assert_eq!((&*frame.topic, &*frame.event), ("phoenix", "heartbeat"));
    }

    #[test]
    fn numeric_refs_of_message_pack_become_texts() {
        let join = msgpack::write(&serde_json::json!([7, 7, "device", "phx_join", {}, "extra"]), &[]);
        let frame = Frame::parse_binary(&join).unwrap();
        assert_eq!(frame.join_ref, Some(Ref::from(7)));
        for odd in [
            serde_json::json!({}),
            serde_json::json!([1, 2, "a", "b"]),
            serde_json::json!([1, 2, 3, 4, 5]),
        ] {
            assert!(Frame::parse_binary(&msgpack::write(&odd, &[])).is_err(), "{odd}");
        }
    }

    #[test]
    fn large_payload_is_read_only_where_it_may_be() {
        let text = format!(r#"[null,"1","console","up",{{"data":"{}"}}]"#, "x".repeat(PAYLOAD_MAX));
        let frame = Frame::parse(&text).unwrap();
        assert!(matches!(frame.payload.read::<Value>(), Err(FrameError::Large)));
        assert!(frame.payload.read_large::<Value>().is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = Frame::parse_binary(&bytes);
        }

        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = Frame::parse(&text);
        }
    }
}
