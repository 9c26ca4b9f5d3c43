//! The topic `console`: a terminal whose output goes to whoever watches (device-link §3.4).

use muster_link::{Frame, FromConsole, Reply, ToConsole};
use serde_json::json;

use super::{Effect, Membership, Relay, Session, belongs, send};

/// Where the topic stands.
#[derive(Debug, Default)]
pub(super) struct Console {
    joined: Option<Membership>,
    /// What is to be typed once there is a console.
    waiting: Option<Box<ToConsole>>,
}

impl Console {
    /// Whether there was anything to leave.
    pub(super) fn leave(&mut self) -> bool {
        self.joined.take().is_some()
    }
}

impl Session {
    pub(super) fn join_console(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        self.console.joined = Some(Membership(frame.join_ref.clone()));
        let mut effects = self.answer(frame, Reply::Ok, &json!({}));
        effects.push(Effect::Relay(Relay::Console(FromConsole::read(frame))));
        if let Some(waiting) = self.console.waiting.take() {
            effects.extend(self.tell_console(&waiting));
        }
        effects
    }

    pub(super) fn hear_console(&mut self, frame: &Frame<'_>) -> Vec<Effect> {
        let Some(joined) = &self.console.joined else {
            return Vec::new();
        };
        if !belongs(frame, joined.join_ref()) {
            return Vec::new();
        }
        match FromConsole::read(frame) {
            FromConsole::Unknown | FromConsole::Join(_) => Vec::new(),
            said => vec![Effect::Relay(Relay::Console(said))],
        }
    }

    pub(super) fn tell_console(&self, message: &ToConsole) -> Vec<Effect> {
        match &self.console.joined {
            Some(joined) => send(message.encode(self.encoding, joined.join_ref())),
            None => Vec::new(),
        }
    }

    /// What waits to be typed is of an earlier join of the device.
    pub(super) fn forget_typing(&mut self) {
        self.console.waiting = None;
    }

    /// Types now, or when the console is joined.
    pub(super) fn type_into_console(&mut self, message: ToConsole) -> Vec<Effect> {
        if self.console.joined.is_none() {
            self.console.waiting = Some(Box::new(message));
            return Vec::new();
        }
        self.tell_console(&message)
    }
}
