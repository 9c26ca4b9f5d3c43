//! The update as a state machine: inputs in, effects out; no clock, no I/O.
//!
//! Its state is what `update.json` holds plus what need not survive the process. Effects are to be done in their order,
//! and [`Effect::Save`] must be on disk before the next. An input that does not fit the state changes nothing.

use std::time::Duration;

use muster_link::{FromDevice, Stage, StatusUpdate, Update};

use super::Offer;
use super::progress::Throttle;
use super::state::{Begun, Pending, Persisted, Phase};
use crate::clock::{Now, millis};
use crate::hooks::RebootReason;
use crate::policy::Decision;

/// Why an update is refused where the configuration names no key.
pub const NO_KEYS: &str = "Refusing unverified firmware: no public keys available";

/// How long an update is put off while the running firmware is not validated.
const UNVALIDATED_DELAY: Duration = Duration::from_mins(1);

/// What the machine must know of the device.
#[derive(Debug, Clone, Default)]
pub struct Running {
    /// The firmware of the active slot.
    pub uuid: String,
    /// The active slot.
    pub slot: String,
    /// Names this boot.
    pub boot_id: String,
    /// Whether the boot loader may still go back.
    pub unvalidated: bool,
    /// Whether the configuration names a key.
    pub has_keys: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The server told an update.
    Told(Box<Update>),
    /// The policy decided.
    Decided(Decision),
    /// A request for the file was opened.
    RequestOpened,
    /// The file's URL is not valid any more.
    UrlExpired,
    /// So many percent are there, or applied.
    Progress(Stage, u8),
    /// The other slot is written and selected.
    Applied,
    /// Downloading or applying failed.
    Failed(String),
    /// The server has us.
    Joined,
    /// The pending status was sent.
    Delivered,
    /// The server wants a reboot.
    RebootAsked,
    /// The running firmware is here to stay.
    Validated,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Put this on disk before going on.
    Save(Box<Persisted>),
    /// Say this if the link is up.
    Send(FromDevice),
    /// Say this; answer [`Input::Delivered`] once it is said.
    Deliver(StatusUpdate),
    /// Ask the policy; the number is how often this firmware was put off.
    Decide(Box<Offer>, u32),
    /// Begin to download and apply.
    Start(Box<Offer>),
    /// Go on downloading from this URL.
    Resume(String),
    /// Join anew, so that the server tells the update again with a fresh URL.
    Rejoin,
    /// Reboot.
    Reboot(RebootReason),
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    persisted: Persisted,
    running: Running,
    joined: bool,
    deciding: Option<Box<Offer>>,
    wants_url: bool,
    throttle: Throttle,
}

impl Machine {
    /// A machine that goes on from what was read and resolved.
    pub fn new(persisted: Persisted, running: Running) -> Self {
        Self {
            persisted,
            running,
            joined: false,
            deciding: None,
            wants_url: false,
            throttle: Throttle::default(),
        }
    }

    /// What stands on disk.
    pub fn persisted(&self) -> &Persisted {
        &self.persisted
    }

    /// The firmware that is considered, downloaded, applied or about to boot.
    pub fn busy_uuid(&self) -> Option<&str> {
        match &self.persisted.phase {
            Phase::Applying { uuid, .. } | Phase::Rebooting { uuid, .. } => Some(uuid),
            Phase::Idle | Phase::Holding { .. } | Phase::Trying { .. } => {
                self.deciding.as_ref().map(|offer| offer.uuid.as_str())
            }
        }
    }

    /// The link is gone.
    pub fn lost(&mut self) {
        self.joined = false;
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        match input {
            Input::Told(update) => self.told(*update, now),
            Input::Decided(decision) => self.decided(decision, now),
            Input::RequestOpened if self.applying() => vec![Effect::Send(FromDevice::Status(StatusUpdate::Started))],
            Input::UrlExpired if self.applying() && !self.wants_url => {
                self.wants_url = true;
                vec![Effect::Rejoin]
            }
            // That everything is applied is said with `completed`.
            Input::Progress(Stage::Updating, 100) => Vec::new(),
            Input::Progress(stage, percent) if self.applying() => self.progress(stage, percent, now),
            Input::Applied => self.applied(),
            Input::Failed(reason) if self.applying() => self.declined(Phase::Idle, Pending::Failed { reason }, now),
            Input::Joined => {
                self.joined = true;
                self.deliver(now)
            }
            Input::Delivered if self.persisted.pending.is_some() => {
                self.persisted.pending = None;
                vec![self.save()]
            }
            Input::RebootAsked => vec![Effect::Send(FromDevice::Rebooting), Effect::Reboot(RebootReason::Asked)],
            Input::Validated => self.validated(),
            Input::RequestOpened | Input::UrlExpired | Input::Progress(..) | Input::Failed(_) | Input::Delivered => {
                Vec::new()
            }
        }
    }

    fn applying(&self) -> bool {
        matches!(self.persisted.phase, Phase::Applying { .. })
    }

    fn save(&self) -> Effect {
        Effect::Save(Box::new(self.persisted.clone()))
    }

    fn told(&mut self, update: Update, now: Now) -> Vec<Effect> {
        let Some(offer) = Offer::read(update) else {
            return Vec::new();
        };
        if let Some(busy) = self.busy_uuid() {
            if self.wants_url && busy == offer.uuid {
                self.wants_url = false;
                return vec![Effect::Resume(offer.url)];
            }
            return Vec::new();
        }
        if !self.running.has_keys {
            let reason = NO_KEYS.to_owned();
            return self.declined(self.persisted.phase.clone(), Pending::Failed { reason }, now);
        }
        let mut effects = vec![Effect::Send(FromDevice::Status(StatusUpdate::Received))];
        if self.remaining(&offer.uuid, now).is_some() {
            let reason = self.held_reason();
            effects.extend(self.declined(self.persisted.phase.clone(), Pending::Rescheduled { reason }, now));
            return effects;
        }
        let reschedules = self.reschedules(&offer.uuid);
        self.deciding = Some(Box::new(offer.clone()));
        if self.running.unvalidated && offer.uuid != self.running.uuid {
            let decision = Decision::Reschedule {
                delay: UNVALIDATED_DELAY,
                reason: "the running firmware is not validated yet".to_owned(),
            };
            effects.extend(self.decided(decision, now));
            return effects;
        }
        effects.push(Effect::Decide(Box::new(offer), reschedules));
        effects
    }

    fn decided(&mut self, decision: Decision, now: Now) -> Vec<Effect> {
        let Some(offer) = self.deciding.take() else {
            return Vec::new();
        };
        match decision {
            Decision::Apply => self.start(offer),
            Decision::Ignore { reason } => {
                self.declined(self.persisted.phase.clone(), Pending::Ignored { reason }, now)
            }
            Decision::Reschedule { delay, reason } => {
                let phase = match &self.persisted.phase {
                    // Until the running firmware is validated its trial is what must be remembered.
                    Phase::Trying { .. } => self.persisted.phase.clone(),
                    _ => self.hold(&offer.uuid, delay, &reason, now),
                };
                self.put_off(phase, delay, reason, now)
            }
        }
    }

    fn hold(&self, uuid: &str, delay: Duration, reason: &str, now: Now) -> Phase {
        Phase::Holding {
            uuid: uuid.to_owned(),
            until_ms: now.after(delay).wall_ms,
            delay_ms: millis(delay),
            count: self.reschedules(uuid).saturating_add(1),
            reason: reason.to_owned(),
        }
    }

    fn put_off(&mut self, phase: Phase, delay: Duration, reason: String, now: Now) -> Vec<Effect> {
        if matches!(phase, Phase::Holding { .. }) {
            return self.declined(phase, Pending::Rescheduled { reason }, now);
        }
        vec![Effect::Send(FromDevice::Status(StatusUpdate::Rescheduled {
            delay,
            reason,
        }))]
    }

    fn start(&mut self, offer: Box<Offer>) -> Vec<Effect> {
        let before = self.persisted.begun.take().filter(|begun| begun.uuid == offer.uuid);
        let attempt = before.map_or(0, |begun| begun.times).saturating_add(1);
        self.throttle = Throttle::default();
        self.wants_url = false;
        self.persisted = Persisted {
            phase: Phase::Applying {
                uuid: offer.uuid.clone(),
                version: offer.version.clone(),
                from_uuid: self.running.uuid.clone(),
                slot: self.running.slot.clone(),
                attempt,
                boot_id: self.running.boot_id.clone(),
            },
            begun: Some(Begun {
                uuid: offer.uuid.clone(),
                times: attempt,
            }),
            ..Persisted::default()
        };
        vec![self.save(), Effect::Start(offer)]
    }

    fn progress(&mut self, stage: Stage, percent: u8, now: Now) -> Vec<Effect> {
        if self.throttle.passes(stage, percent, now.instant) {
            vec![progress(stage, percent)]
        } else {
            Vec::new()
        }
    }

    fn applied(&mut self) -> Vec<Effect> {
        let Phase::Applying {
            uuid,
            version,
            from_uuid,
            boot_id,
            ..
        } = self.persisted.phase.clone()
        else {
            return Vec::new();
        };
        self.persisted.phase = Phase::Rebooting {
            uuid,
            version,
            from_uuid,
            boot_id,
        };
        let completed = Effect::Send(FromDevice::Status(StatusUpdate::Completed));
        vec![
            self.save(),
            progress(Stage::Updating, 100),
            completed,
            Effect::Reboot(RebootReason::Updated),
        ]
    }

    /// The attempt ends here: remember what to say, and say it now if the link is up.
    fn declined(&mut self, phase: Phase, pending: Pending, now: Now) -> Vec<Effect> {
        self.wants_url = false;
        self.persisted.phase = phase;
        self.persisted.pending = Some(pending);
        let mut effects = vec![self.save()];
        if self.joined {
            effects.extend(self.deliver(now));
        }
        effects
    }

    fn deliver(&mut self, now: Now) -> Vec<Effect> {
        let Some(pending) = self.persisted.pending.clone() else {
            return Vec::new();
        };
        let status = match pending {
            Pending::Failed { reason } => StatusUpdate::Failed { reason },
            Pending::Ignored { reason } => StatusUpdate::Ignored { reason },
            Pending::Rescheduled { reason } => {
                let held = self.persisted.phase.uuid().unwrap_or_default().to_owned();
                let Some(delay) = self.remaining(&held, now) else {
                    self.persisted.pending = None;
                    return vec![self.save()];
                };
                StatusUpdate::Rescheduled { delay, reason }
            }
        };
        vec![Effect::Deliver(status)]
    }

    fn validated(&mut self) -> Vec<Effect> {
        self.running.unvalidated = false;
        if !matches!(self.persisted.phase, Phase::Trying { .. }) {
            return Vec::new();
        }
        self.persisted.phase = Phase::Idle;
        vec![self.save()]
    }

    /// How long this firmware stays put off. A clock that jumped back does not make the wait longer than it was meant.
    fn remaining(&self, offered: &str, now: Now) -> Option<Duration> {
        let Phase::Holding {
            uuid,
            until_ms,
            delay_ms,
            ..
        } = &self.persisted.phase
        else {
            return None;
        };
        let left_ms = until_ms.saturating_sub(now.wall_ms).min(*delay_ms);
        (uuid == offered && left_ms > 0).then(|| Duration::from_millis(left_ms))
    }

    fn held_reason(&self) -> String {
        match &self.persisted.phase {
            Phase::Holding { reason, .. } => reason.clone(),
            _ => String::new(),
        }
    }

    fn reschedules(&self, offered: &str) -> u32 {
        match &self.persisted.phase {
            Phase::Holding { uuid, count, .. } if uuid == offered => *count,
            _ => 0,
        }
    }
}

fn progress(stage: Stage, percent: u8) -> Effect {
    Effect::Send(FromDevice::Progress {
        stage: Some(stage),
        percent,
    })
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
