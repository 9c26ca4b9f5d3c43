//! What a link decides: sans-IO. Frames and answers go in, effects come out; no socket, no clock, no database.
//!
//! The rules are device-link §2.1 and §10, the latter first: no ping, no reply to an ordinary push, no answer on a topic
//! that is not joined (a join excepted), silence before the join. To drop a device its socket is closed.

use muster_link::limits::{MESSAGE_MAX, MESSAGE_MAX_BEFORE_JOIN};
use muster_link::{
    Encoding, Frame, FromDevice, Join, Message, PublicKeys, Ref, Reply, Stage, StatusUpdate, ToDevice, Topic, reply,
};
use serde_json::json;

/// What goes in.
#[derive(Debug)]
pub enum Input<'a> {
    /// A text message came.
    Text(&'a str),
    /// A binary message came.
    Binary(&'a [u8]),
    /// The join was written; what the device is told at once.
    Joined(Welcome),
    /// The join could not be written.
    NotJoined,
    /// The device is to be told something.
    Tell(ToDevice),
}

/// What a device is told after its join.
#[derive(Debug, Clone, Default)]
pub struct Welcome {
    /// The org's signing keys in base64, where the device wants them.
    pub keys: Vec<String>,
    /// The update that it goes on with, or is told.
    pub update: Option<ToDevice>,
}

/// What comes out.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Send this message.
    Send(Message),
    /// Write this join; its answer comes as [`Input::Joined`] or [`Input::NotJoined`].
    Join(Box<Join>),
    /// Note what the device reports.
    Report(Report),
    /// Close the socket, for this reason.
    Close(Closing),
}

/// What a joined device reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Progress in percent; without a stage 100 means completed.
    Progress(Option<Stage>, u8),
    /// Where it stands with its update.
    Status(StatusUpdate),
    /// Its firmware was found good.
    Validated,
    /// The interface that carries the link.
    Interface(String),
}

/// Why a link is closed from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// A text that is no message of the protocol.
    Malformed,
    /// A message over the limit.
    TooLarge,
    /// The device opened a newer link.
    Replaced,
    /// The device was deleted, moved, or lost its credential.
    Cut,
    /// Nothing came for too long.
    Idle,
    /// The link's queue is full.
    Overloaded,
    /// The server stops.
    Drain,
}

impl Closing {
    /// The constant word for figures and history.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Replaced => "replaced",
            Self::Cut => "cut",
            Self::Idle => "idle",
            Self::Overloaded => "overloaded",
            Self::Drain => "server_stopped",
        }
    }

    /// The websocket close code (device-link §1.3).
    pub fn code(self) -> u16 {
        match self {
            Self::Malformed => 1007,
            Self::TooLarge => 1009,
            Self::Replaced | Self::Cut => 1001,
            Self::Idle => 1002,
            Self::Overloaded => 1013,
            Self::Drain => 1012,
        }
    }
}

/// One link's state.
#[derive(Debug, Default)]
pub struct Session {
    encoding: Encoding,
    device: Channel,
    console: Option<Ref>,
    extensions: Option<Ref>,
    wants_firmware_keys: bool,
    wants_archive_keys: bool,
}

#[derive(Debug, Default)]
enum Channel {
    #[default]
    Absent,
    Joining {
        join_ref: Option<Ref>,
        reference: Option<Ref>,
        topic: String,
    },
    Joined {
        join_ref: Option<Ref>,
    },
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
        match self.device {
            Channel::Joined { .. } => MESSAGE_MAX,
            _ => MESSAGE_MAX_BEFORE_JOIN,
        }
    }

    /// Whether the device has joined.
    pub fn is_joined(&self) -> bool {
        matches!(self.device, Channel::Joined { .. })
    }

    /// What this input leads to.
    pub fn handle(&mut self, input: Input<'_>) -> Vec<Effect> {
        match input {
            Input::Text(_) if self.encoding == Encoding::MessagePack => vec![Effect::Close(Closing::Malformed)],
            Input::Text(text) if text.len() > self.message_max() => vec![Effect::Close(Closing::TooLarge)],
            Input::Text(text) => match Frame::parse(text) {
                Ok(frame) => self.frame(&frame),
                Err(_) => vec![Effect::Close(Closing::Malformed)],
            },
            Input::Binary(_) => Vec::new(),
            Input::Joined(welcome) => self.joined(welcome),
            Input::NotJoined => self.not_joined(),
            Input::Tell(message) => self.tell(&message),
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        match (frame.topic(), &*frame.event) {
            (Topic::Phoenix, "heartbeat") => answer(frame, Reply::Ok, &json!({})),
            (Topic::Device, "phx_join") => self.join(frame),
            (Topic::Console, "phx_join") => {
                self.console = frame.join_ref.clone();
                answer(frame, Reply::Ok, &json!({}))
            }
            (Topic::Extensions, "phx_join") => {
                self.extensions = frame.join_ref.clone();
                answer(frame, Reply::Ok, &json!([]))
            }
            (_, "phx_join") => answer(frame, Reply::Error, &json!({ "reason": "unmatched topic" })),
            (Topic::Device, "phx_leave") => self.leave(frame),
            (Topic::Console, "phx_leave") if self.console.take().is_some() => answer(frame, Reply::Ok, &json!({})),
            (Topic::Extensions, "phx_leave") if self.extensions.take().is_some() => {
                answer(frame, Reply::Ok, &json!({}))
            }
            (Topic::Device, _) => self.report(frame),
            _ => Vec::new(),
        }
    }

    fn join(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        let FromDevice::Join(join) = FromDevice::read(frame) else {
            return Vec::new();
        };
        self.wants_firmware_keys = join.wants_firmware_keys();
        self.wants_archive_keys = join.wants_archive_keys();
        self.device = Channel::Joining {
            join_ref: frame.join_ref.clone(),
            reference: frame.reference.clone(),
            topic: frame.topic.to_string(),
        };
        vec![Effect::Join(join)]
    }

    fn leave(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        if matches!(self.device, Channel::Absent) {
            return Vec::new();
        }
        self.device = Channel::Absent;
        answer(frame, Reply::Ok, &json!({}))
    }

    fn report(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        let Channel::Joined { join_ref } = &self.device else {
            return Vec::new();
        };
        // A message of an earlier join is stale; clients up to 2.9 send none at all.
        if frame.join_ref.is_some() && frame.join_ref != *join_ref {
            return Vec::new();
        }
        let report = match FromDevice::read(frame) {
            FromDevice::Progress { stage, percent } => Report::Progress(stage, percent),
            FromDevice::Status(status) => Report::Status(status),
            FromDevice::FirmwareValidated => Report::Validated,
            FromDevice::NetworkInterface(interface) => Report::Interface(interface),
            _ => return Vec::new(),
        };
        if matches!(report, Report::Status(StatusUpdate::Unknown(_))) {
            return Vec::new();
        }
        vec![Effect::Report(report)]
    }

    fn joined(&mut self, welcome: Welcome) -> Vec<Effect> {
        let Some((join_ref, reference, topic)) = self.answered() else {
            return Vec::new();
        };
        let mut effects = send(reply(
            join_ref.as_ref(),
            reference.as_ref(),
            &topic,
            Reply::Ok,
            &json!({}),
        ));
        self.device = Channel::Joined { join_ref };
        if !welcome.keys.is_empty() {
            let keys = || PublicKeys {
                keys: welcome.keys.clone(),
            };
            if self.wants_firmware_keys {
                effects.extend(self.tell(&ToDevice::FirmwareKeys(keys())));
            }
            if self.wants_archive_keys {
                effects.extend(self.tell(&ToDevice::ArchiveKeys(keys())));
            }
        }
        if let Some(update) = welcome.update {
            effects.extend(self.tell(&update));
        }
        effects
    }

    fn not_joined(&mut self) -> Vec<Effect> {
        let Some((join_ref, reference, topic)) = self.answered() else {
            return Vec::new();
        };
        let response = json!({ "error": "could not connect" });
        send(reply(
            join_ref.as_ref(),
            reference.as_ref(),
            &topic,
            Reply::Error,
            &response,
        ))
    }

    /// The join that waits for its answer; the answer to one that was replaced or left finds none.
    fn answered(&mut self) -> Option<(Option<Ref>, Option<Ref>, String)> {
        match std::mem::take(&mut self.device) {
            Channel::Joining {
                join_ref,
                reference,
                topic,
            } => Some((join_ref, reference, topic)),
            other => {
                self.device = other;
                None
            }
        }
    }

    fn tell(&self, message: &ToDevice) -> Vec<Effect> {
        let Channel::Joined { join_ref } = &self.device else {
            return Vec::new();
        };
        send(message.write(join_ref.as_ref()))
    }
}

fn answer(frame: &Frame<'_>, status: Reply, response: &serde_json::Value) -> Vec<Effect> {
    send(reply(
        frame.join_ref.as_ref(),
        frame.reference.as_ref(),
        &frame.topic,
        status,
        response,
    ))
}

fn send(text: Result<String, muster_link::FrameError>) -> Vec<Effect> {
    match text {
        Ok(text) => vec![Effect::Send(Message::Text(text))],
        Err(error) => {
            tracing::error!(%error, "a message could not be written");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOIN: &str = r#"["1","1","device","phx_join",{"fwup_public_keys":"on_connect"}]"#;

    fn joined() -> Session {
        let mut session = Session::default();
        assert!(matches!(session.handle(Input::Text(JOIN))[..], [Effect::Join(_)]));
        session.handle(Input::Joined(Welcome::default()));
        session
    }

    fn sent(effects: &[Effect]) -> Vec<&str> {
        effects
            .iter()
            .filter_map(|effect| {
                if let Effect::Send(Message::Text(text)) = effect {
                    Some(text.as_str())
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn reply_comes_first_then_keys_then_the_update() {
        let mut session = Session::default();
        session.handle(Input::Text(JOIN));
        let welcome = Welcome {
            keys: vec!["k".into()],
            update: Some(ToDevice::Reboot),
        };
        let effects = session.handle(Input::Joined(welcome));
        assert_eq!(
            sent(&effects),
            [
                r#"["1","1","device","phx_reply",{"status":"ok","response":{}}]"#,
                r#"["1",null,"device","fwup_public_keys",{"keys":["k"]}]"#,
                r#"["1",null,"device","reboot",{}]"#,
            ]
        );
    }

    #[test]
    fn nothing_is_sent_before_the_join() {
        let mut session = Session::default();
        assert_eq!(session.handle(Input::Tell(ToDevice::Reboot)), []);
        assert_eq!(
            session.handle(Input::Text(r#"["1","2","device","fwup_progress",{"value":1}]"#)),
            []
        );
        session.handle(Input::Text(JOIN));
        assert_eq!(session.handle(Input::Tell(ToDevice::Reboot)), []);
    }

    #[test]
    fn heartbeat_is_answered_at_any_time() {
        let heartbeat = r#"[null,"4","phoenix","heartbeat",{}]"#;
        let expected = r#"[null,"4","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
        assert_eq!(sent(&Session::default().handle(Input::Text(heartbeat))), [expected]);
        assert_eq!(sent(&joined().handle(Input::Text(heartbeat))), [expected]);
    }

    #[test]
    fn ordinary_pushes_and_unjoined_topics_get_no_answer() {
        let mut session = joined();
        for text in [
            r#"["1","5","device","firmware_validated",{}]"#,
            r#"["1","5","device","no_such_event",{}]"#,
            r#"["1","5","device","status_update",{"status":"strange"}]"#,
            r#"[null,"5","console","up",{"data":"x"}]"#,
            r#"[null,"5","elsewhere","event",{}]"#,
            r#"[null,"5","extensions","phx_leave",{}]"#,
        ] {
            assert_eq!(sent(&session.handle(Input::Text(text))), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn null_join_ref_is_taken_and_a_stale_one_dropped() {
        let mut session = joined();
        let progress = Effect::Report(Report::Progress(None, 7));
        assert_eq!(
            session.handle(Input::Text(r#"[null,"5","device","fwup_progress",{"value":7}]"#)),
            [progress]
        );
        assert_eq!(
            session.handle(Input::Text(r#"["9","5","device","fwup_progress",{"value":7}]"#)),
            []
        );
    }

    #[test]
    fn second_join_replaces_the_first_and_is_answered_by_its_own_refs() {
        let mut session = joined();
        let effects = session.handle(Input::Text(r#"["8","8","device","phx_join",{}]"#));
        assert!(matches!(effects[..], [Effect::Join(_)]));
        let effects = session.handle(Input::Joined(Welcome::default()));
        assert_eq!(
            sent(&effects),
            [r#"["8","8","device","phx_reply",{"status":"ok","response":{}}]"#]
        );
    }

    #[test]
    fn late_answer_to_a_join_that_was_replaced_changes_nothing() {
        let mut session = Session::default();
        session.handle(Input::Text(JOIN));
        session.handle(Input::Text(r#"["2","2","device","phx_join",{}]"#));
        let effects = session.handle(Input::Joined(Welcome::default()));
        assert_eq!(
            sent(&effects),
            [r#"["2","2","device","phx_reply",{"status":"ok","response":{}}]"#]
        );
        assert_eq!(session.handle(Input::Joined(Welcome::default())), []);
        assert_eq!(session.handle(Input::NotJoined), []);
        assert!(session.is_joined());
    }

    #[test]
    fn join_that_could_not_be_written_is_refused_and_may_be_tried_again() {
        let mut session = Session::default();
        session.handle(Input::Text(JOIN));
        let effects = session.handle(Input::NotJoined);
        let refusal = r#"["1","1","device","phx_reply",{"status":"error","response":{"error":"could not connect"}}]"#;
        assert_eq!(sent(&effects), [refusal]);
        assert!(matches!(session.handle(Input::Text(JOIN))[..], [Effect::Join(_)]));
    }

    #[test]
    fn other_topics_are_joined_so_that_devices_do_not_try_for_ever() {
        let mut session = joined();
        let console = session.handle(Input::Text(r#"["2","2","console","phx_join",{}]"#));
        assert_eq!(
            sent(&console),
            [r#"["2","2","console","phx_reply",{"status":"ok","response":{}}]"#]
        );
        let extensions = session.handle(Input::Text(r#"["3","3","extensions","phx_join",{"health":"0.0.1"}]"#));
        assert_eq!(
            sent(&extensions),
            [r#"["3","3","extensions","phx_reply",{"status":"ok","response":[]}]"#]
        );
        let unknown = session.handle(Input::Text(r#"["4","4","device:7","phx_join",{}]"#));
        assert!(sent(&unknown)[0].contains("unmatched topic"));
    }

    #[test]
    fn malformed_and_oversized_messages_close_the_link() {
        assert_eq!(joined().handle(Input::Text("{}")), [Effect::Close(Closing::Malformed)]);
        let large = format!(
            r#"["1","5","device","fwup_progress",{{"value":1,"x":"{}"}}]"#,
            "x".repeat(MESSAGE_MAX_BEFORE_JOIN)
        );
        assert_eq!(
            Session::default().handle(Input::Text(&large)),
            [Effect::Close(Closing::TooLarge)]
        );
        assert!(matches!(joined().handle(Input::Text(&large))[..], [Effect::Report(_)]));
        let larger = "x".repeat(MESSAGE_MAX + 1);
        assert_eq!(
            joined().handle(Input::Text(&larger)),
            [Effect::Close(Closing::TooLarge)]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in r#"\[(null|"1"|7),(null|"2"),"(device|phoenix|console|x)","(phx_join|phx_leave|status_update|heartbeat)",(\{\}|[0-9]|\[\])\]"#) {
            let mut session = joined();
            session.handle(Input::Text(&text));
            session.handle(Input::Joined(Welcome::default()));
        }
    }
}
