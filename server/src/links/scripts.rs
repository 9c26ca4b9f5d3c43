//! Scripts that run on devices of this node: each waits for the result of its reference, and not for ever.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use muster_link::limits::SCRIPT_TEXT_MAX;
use muster_link::{Push, Script, ScriptResult, ToDevice};
use tokio::sync::oneshot;

use super::registry::Registry;
use super::session::Relay;
use crate::devices::DeviceId;
use crate::platform::random::Random;

/// How long a result is waited for (device-link §5.5).
pub const WAIT: Duration = Duration::from_secs(15);
/// Scripts of this node that wait at once.
const WAITING_MAX: usize = 1024;

/// Why a script has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The device has no link on this node, or its link's queue is full.
    #[error("the device is not connected")]
    NotConnected,
    /// The device is too old.
    #[error("the device runs no scripts: it speaks a protocol below 2.1.0")]
    TooOld,
    /// Nothing came in time.
    #[error("the device did not answer in time")]
    TimedOut,
    /// The text is over [`SCRIPT_TEXT_MAX`].
    #[error("the script is longer than 128 KiB")]
    TooLong,
    /// Too many scripts wait already.
    #[error("too many scripts are running; try again")]
    TooMany,
}

type Answer = Result<ScriptResult, ScriptError>;

/// The scripts that wait for their results.
#[derive(Debug, Default)]
pub struct Scripts(Mutex<HashMap<(DeviceId, String), oneshot::Sender<Answer>>>);

impl Scripts {
    fn waiting(&self) -> MutexGuard<'_, HashMap<(DeviceId, String), oneshot::Sender<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a script and waits for its result, at most `wait`.
    pub(super) async fn run(
        &self,
        registry: &Registry,
        random: &Random,
        device: DeviceId,
        text: String,
        wait: Duration,
    ) -> Answer {
        if text.len() > SCRIPT_TEXT_MAX {
            return Err(ScriptError::TooLong);
        }
        let reference = STANDARD_NO_PAD.encode(random.bytes::<4>());
        let (answer, answered) = oneshot::channel();
        let place = Place {
            scripts: self,
            key: (device, reference.clone()),
        };
        {
            let mut waiting = self.waiting();
            if waiting.len() >= WAITING_MAX {
                return Err(ScriptError::TooMany);
            }
            waiting.insert(place.key.clone(), answer);
        }
        let script = Script {
            text,
            reference,
            timeout: u64::try_from(wait.as_millis()).ok(),
        };
        if !registry.tell(device, Push::Device(ToDevice::RunScript(script))) {
            return Err(ScriptError::NotConnected);
        }
        match tokio::time::timeout(wait, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(ScriptError::TimedOut),
        }
    }

    /// Hands a result to who waits for it; whether somebody did. The device must be the one that was asked.
    pub(super) fn hear(&self, device: DeviceId, said: Relay) -> bool {
        let (reference, answer) = match said {
            Relay::Script(result) => (result.reference.clone(), Ok(result)),
            Relay::NoScripts(reference) => (reference, Err(ScriptError::TooOld)),
            Relay::Console(_) | Relay::Shell(_) => return false,
        };
        let waiter = self.waiting().remove(&(device, reference));
        waiter.is_some_and(|waiter| waiter.send(answer).is_ok())
    }
}

/// A place among those that wait; given up when its script ends, however it does.
struct Place<'a> {
    scripts: &'a Scripts,
    key: (DeviceId, String),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.scripts.waiting().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::accounts::OrgId;
    use crate::devices::Peer;
    use crate::devices::model::LinkId;
    use crate::links::registry::{Handle, Order};
    use crate::platform::metrics::Metrics;
    use crate::products::ProductId;

    const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));

    /// A link that answers every script at once: by its text.
    #[derive(Debug)]
    struct Device {
        scripts: Arc<Scripts>,
        claimed: DeviceId,
        is_old: bool,
    }

    impl Handle for Device {
        fn order(&self, order: Order) -> bool {
            let Order::Tell(push) = order else { return true };
            let Push::Device(ToDevice::RunScript(script)) = *push else {
                panic!()
            };
            let said = if self.is_old {
                Relay::NoScripts(script.reference)
            } else {
                Relay::Script(ScriptResult {
                    reference: script.reference,
                    value: script.text,
                    ..ScriptResult::default()
                })
            };
            self.scripts.hear(self.claimed, said);
            true
        }
    }

    fn stage(claimed: DeviceId, is_old: bool) -> (Arc<Scripts>, Registry) {
        let scripts = Arc::new(Scripts::default());
        let registry = Registry::new(Metrics::new().unwrap());
        let device = Device {
            scripts: Arc::clone(&scripts),
            claimed,
            is_old,
        };
        let peer = Peer::of_test(DEVICE, OrgId(Uuid::nil()), ProductId(Uuid::nil()));
        registry.enter(&peer, LinkId(Uuid::nil()), Box::new(device), Arc::default());
        (scripts, registry)
    }

    async fn run(stage: &(Arc<Scripts>, Registry), device: DeviceId, text: &str) -> Answer {
        let wait = Duration::from_millis(20);
        stage
            .0
            .run(&stage.1, &Random::system(), device, text.to_owned(), wait)
            .await
    }

    #[tokio::test]
    async fn result_is_matched_by_its_reference_and_its_device() {
        let good = stage(DEVICE, false);
        assert_eq!(run(&good, DEVICE, "1+1").await.unwrap().value, "1+1");
        let other = DeviceId(Uuid::from_u128(8));
        assert_eq!(run(&good, other, "1").await, Err(ScriptError::NotConnected));
        let foreign = stage(other, false);
        assert_eq!(run(&foreign, DEVICE, "1").await, Err(ScriptError::TimedOut));
        assert!(good.0.waiting().is_empty() && foreign.0.waiting().is_empty());
        assert!(!good.0.hear(DEVICE, Relay::Script(ScriptResult::default())));
    }

    #[tokio::test]
    async fn what_cannot_run_is_told() {
        let old = stage(DEVICE, true);
        assert_eq!(run(&old, DEVICE, "1").await, Err(ScriptError::TooOld));
        let long = "x".repeat(SCRIPT_TEXT_MAX + 1);
        assert_eq!(run(&old, DEVICE, &long).await, Err(ScriptError::TooLong));
        for number in 0..WAITING_MAX {
            let (answer, _) = oneshot::channel();
            old.0.waiting().insert((DEVICE, number.to_string()), answer);
        }
        assert_eq!(run(&old, DEVICE, "1").await, Err(ScriptError::TooMany));
    }
}
