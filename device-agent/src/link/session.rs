//! One connection's bookkeeping: refs, join and rejoin, heartbeats. No clock, no I/O.

use std::time::{Duration, Instant};

use muster_link::limits::REJOIN_AFTER;
use muster_link::{Frame, FromDevice, Join, Ref, Reply, ToDevice, Topic, push};
use serde::{Deserialize, Serialize};

/// What the connection is to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Write this text.
    Write(String),
    /// Find out what runs now and call [`Session::join`].
    NeedJoin,
    /// The server has us.
    Joined,
    /// The server does not want us now; another try follows by itself.
    Refused(String),
    /// The server says this.
    Push(ToDevice),
    /// The server is gone, for this reason: drop the connection.
    Dead(&'static str),
}

/// A server that does not answer a join for this long has forgotten it.
const JOIN_TIMEOUT: Duration = Duration::from_mins(1);

/// The bookkeeping.
#[derive(Debug)]
pub struct Session {
    heartbeat: Duration,
    last_ref: u64,
    join_ref: Option<Ref>,
    joined: bool,
    unanswered: Option<Ref>,
    heartbeat_at: Instant,
    rejoin_at: Option<Instant>,
    answer_by: Option<Instant>,
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
    /// A connection that has just been opened. Its first effect is [`Effect::NeedJoin`].
    pub fn open(heartbeat: Duration, now: Instant) -> (Self, Effect) {
        let session = Self {
            heartbeat,
            last_ref: 0,
            join_ref: None,
            joined: false,
            unanswered: None,
            heartbeat_at: now + heartbeat,
            rejoin_at: None,
            answer_by: None,
        };
        (session, Effect::NeedJoin)
    }

    /// When [`Session::tick`] is to be called.
    pub fn due(&self) -> Instant {
        let others = [self.rejoin_at, self.answer_by];
        others.into_iter().flatten().fold(self.heartbeat_at, Instant::min)
    }

    /// Whether the server has us.
    pub fn is_joined(&self) -> bool {
        self.joined
    }

    fn next_ref(&mut self) -> Ref {
        self.last_ref += 1;
        Ref::from(self.last_ref)
    }

    /// Joins with what the device says of itself now.
    pub fn join(&mut self, join: Join, now: Instant) -> Option<Effect> {
        let reference = self.next_ref();
        self.join_ref = Some(reference.clone());
        self.joined = false;
        self.rejoin_at = None;
        self.answer_by = Some(now + JOIN_TIMEOUT);
        let text = FromDevice::Join(Box::new(join)).write(&reference, &reference).ok()?;
        Some(Effect::Write(text))
    }

    /// Says something; nothing is said before the server has answered the join.
    pub fn send(&mut self, message: &FromDevice) -> Option<Effect> {
        if !self.joined {
            return None;
        }
        let join_ref = self.join_ref.clone()?;
        let reference = self.next_ref();
        message.write(&join_ref, &reference).ok().map(Effect::Write)
    }

    /// A moment that [`Session::due`] named has come.
    pub fn tick(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.rejoin_at.is_some_and(|at| at <= now) {
            self.rejoin_at = None;
            effects.push(Effect::NeedJoin);
        }
        if self.answer_by.is_some_and(|at| at <= now) {
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
        let text = push(None, Some(&reference), Topic::Phoenix, "heartbeat", &Empty {}).ok()?;
        self.unanswered = Some(reference);
        Some(Effect::Write(text))
    }

    /// A text arrived. One that is no message, or is for nobody, changes nothing.
    pub fn text(&mut self, text: &str, now: Instant) -> Option<Effect> {
        let Ok(frame) = Frame::parse(text) else {
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
            (Topic::Device, "phx_reply") => self.reply(&frame, now),
            (Topic::Device, "phx_error" | "phx_close") => self.dropped(&frame, now),
            (Topic::Device, _) => Some(Effect::Push(ToDevice::read(&frame))),
            _ => None,
        }
    }

    /// Only the reply to the join means anything; a reply to an older join comes too late.
    fn reply(&mut self, frame: &Frame<'_>, now: Instant) -> Option<Effect> {
        if self.joined || frame.reference.is_none() || frame.reference != self.join_ref {
            return None;
        }
        let body: ReplyBody = frame.payload.read().ok()?;
        self.answer_by = None;
        match body.status {
            Reply::Ok => {
                self.joined = true;
                Some(Effect::Joined)
            }
            Reply::Error => {
                self.rejoin_at = Some(now + REJOIN_AFTER);
                Some(Effect::Refused(body.response.to_string()))
            }
        }
    }

    /// The channel is gone while the connection stands: join again, unless it was an older channel.
    fn dropped(&mut self, frame: &Frame<'_>, now: Instant) -> Option<Effect> {
        let stale = frame.join_ref.is_some() && frame.join_ref != self.join_ref;
        if stale || self.rejoin_at.is_some() {
            return None;
        }
        self.joined = false;
        self.answer_by = None;
        self.rejoin_at = Some(now + REJOIN_AFTER);
        Some(Effect::Refused(frame.event.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(30);

    fn open() -> (Session, Instant) {
        let now = Instant::now();
        let (session, first) = Session::open(BEAT, now);
        assert_eq!(first, Effect::NeedJoin);
        (session, now)
    }

    fn joined() -> (Session, Instant) {
        let (mut session, now) = open();
        session.join(Join::default(), now);
        let reply = r#"["1","1","device","phx_reply",{"status":"ok","response":{}}]"#;
        assert_eq!(session.text(reply, now), Some(Effect::Joined));
        (session, now)
    }

    fn written(effect: Option<Effect>) -> String {
        match effect {
            Some(Effect::Write(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refs_count_up_and_the_join_ref_is_kept() {
        let (mut session, now) = joined();
        let text = written(session.send(&FromDevice::FirmwareValidated));
        assert_eq!(text, r#"["1","2","device","firmware_validated",{}]"#);
        let text = written(session.join(Join::default(), now));
        assert!(text.starts_with(r#"["3","3","device","phx_join","#), "{text}");
    }

    #[test]
    fn nothing_is_said_before_the_join_is_answered() {
        let (mut session, now) = open();
        assert_eq!(session.send(&FromDevice::Rebooting), None);
        session.join(Join::default(), now);
        assert_eq!(session.send(&FromDevice::Rebooting), None);
    }

    #[test]
    fn heartbeat_is_sent_and_its_silence_kills_the_link() {
        let (mut session, start) = joined();
        assert_eq!(session.due(), start + BEAT);
        let effects = session.tick(start + BEAT);
        assert_eq!(
            effects,
            [Effect::Write(r#"[null,"2","phoenix","heartbeat",{}]"#.into())]
        );
        let answer = r#"[null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
        assert_eq!(session.text(answer, start + BEAT), None);
        assert_eq!(session.tick(start + BEAT * 2).len(), 1);
        assert_eq!(
            session.tick(start + BEAT * 3),
            [Effect::Dead("a heartbeat was not answered")]
        );
    }

    #[test]
    fn refused_join_and_lost_channel_are_joined_again() {
        for text in [
            r#"["1","1","device","phx_error",{"reason":"channel_crash"}]"#,
            r#"["1","1","device","phx_close",{}]"#,
            r#"[null,null,"device","phx_close",{}]"#,
        ] {
            let (mut session, now) = joined();
            assert!(matches!(session.text(text, now), Some(Effect::Refused(_))), "{text}");
            assert!(!session.is_joined());
            assert_eq!(session.due(), now + REJOIN_AFTER);
            assert_eq!(session.tick(now + REJOIN_AFTER), [Effect::NeedJoin]);
        }
        let (mut session, now) = open();
        session.join(Join::default(), now);
        let refusal = r#"["1","1","device","phx_reply",{"status":"error","response":{"error":"could not connect"}}]"#;
        assert!(matches!(session.text(refusal, now), Some(Effect::Refused(_))));
        assert_eq!(session.tick(now + REJOIN_AFTER), [Effect::NeedJoin]);
    }

    #[test]
    fn join_that_is_never_answered_is_not_waited_for_in_vain() {
        let (mut session, now) = open();
        session.join(Join::default(), now);
        let later = now + BEAT * 2;
        let beat = written(session.tick(now + BEAT).pop());
        assert!(beat.contains("heartbeat"), "{beat}");
        session.text(
            r#"[null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]"#,
            later,
        );
        assert_eq!(session.due(), later);
        assert_eq!(session.tick(later), [Effect::Dead("the join was not answered")]);
    }

    #[test]
    fn stale_frames_of_an_older_join_change_nothing() {
        let (mut session, now) = joined();
        session.join(Join::default(), now);
        let stale = r#"["1","1","device","phx_close",{}]"#;
        assert_eq!(session.text(stale, now), None);
        let stale = r#"["1","1","device","phx_reply",{"status":"ok","response":{}}]"#;
        assert_eq!(session.text(stale, now), None);
        assert!(!session.is_joined());
    }

    #[test]
    fn odd_texts_and_array_replies_are_taken() {
        let (mut session, now) = open();
        session.join(Join::default(), now);
        for text in [
            "",
            "[]",
            "{}",
            r#"[null,null,"nowhere","x",{}]"#,
            r#"["1","1","device","phx_reply",{}]"#,
        ] {
            assert_eq!(session.text(text, now), None, "{text}");
        }
        let array = r#"["1","1","device","phx_reply",{"status":"ok","response":["health"]}]"#;
        assert_eq!(session.text(array, now), Some(Effect::Joined));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let (mut session, now) = open();
            let _ = session.text(&text, now);
        }
    }
}
