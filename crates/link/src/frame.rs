//! Phoenix V2 JSON: one text message is `[join_ref, ref, topic, event, payload]` (device-link §2.1).

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

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

/// One message, borrowed from the text that carried it.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The join that this message belongs to, if the sender said so.
    pub join_ref: Option<Ref>,
    /// The sender's counter; absent on what a server pushes.
    pub reference: Option<Ref>,
    /// The topic's name as it stood in the message.
    pub topic: std::borrow::Cow<'a, str>,
    /// The event's name.
    pub event: std::borrow::Cow<'a, str>,
    /// The payload, not parsed yet.
    pub payload: &'a RawValue,
}

/// Why a text is not a message.
#[derive(Debug, thiserror::Error)]
#[error("not a five-element message: {0}")]
pub struct FrameError(#[from] serde_json::Error);

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

impl<'de: 'a, 'a> Deserialize<'de> for Frame<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FrameVisitor)
    }
}

struct FrameVisitor;

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

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
            payload: seq.next_element()?.ok_or_else(|| short(4))?,
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

/// The text of a push. A server's push has no `ref` (device-link §2.1), a device's has.
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

/// The text of a reply: both refs are echoed as they came.
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
    #[derive(Serialize)]
    struct Body<'a, T> {
        status: Reply,
        response: &'a T,
    }
    Ok(serde_json::to_string(&(
        join_ref,
        reference,
        topic,
        "phx_reply",
        Body { status, response },
    ))?)
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

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = Frame::parse(&text);
        }
    }
}
