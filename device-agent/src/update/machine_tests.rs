use std::time::{Duration, Instant};

use muster_link::{FirmwareMeta, FromDevice, StatusUpdate, Update};
use proptest::prelude::*;

use super::*;

fn machine(persisted: Persisted) -> Machine {
    let running = Running {
        uuid: "old".into(),
        slot: "a".into(),
        boot_id: "boot-1".into(),
        unvalidated: false,
        has_keys: true,
    };
    Machine::new(persisted, running)
}

fn joined() -> Machine {
    let mut machine = machine(Persisted::default());
    machine.handle(Input::Joined, at(0));
    machine
}

fn at(seconds: u64) -> Now {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    Now {
        wall_ms: 1_000_000,
        instant: *START.get_or_init(Instant::now),
    }
    .after(Duration::from_secs(seconds))
}

fn update(uuid: &str, url: &str) -> Input {
    Input::Told(Box::new(Update {
        update_available: true,
        firmware_url: Some(url.into()),
        firmware_meta: Some(FirmwareMeta {
            uuid: uuid.into(),
            version: "1.1.0".into(),
            ..FirmwareMeta::default()
        }),
        size: None,
        checksum: None,
        partials_checksums: None,
        deployment_id: None,
    }))
}

fn offer(uuid: &str, url: &str) -> Box<Offer> {
    Box::new(Offer {
        uuid: uuid.into(),
        version: "1.1.0".into(),
        url: url.into(),
        ..Offer::default()
    })
}

fn status(status: StatusUpdate) -> Effect {
    Effect::Send(FromDevice::Status(status))
}

fn applying(machine: &mut Machine) {
    machine.handle(update("new", "http://host/1"), at(0));
    machine.handle(Input::Decided(Decision::Apply), at(0));
}

#[test]
fn update_runs_to_the_reboot() {
    let mut machine = joined();
    assert_eq!(
        machine.handle(update("new", "http://host/1"), at(0)),
        [
            status(StatusUpdate::Received),
            Effect::Decide(offer("new", "http://host/1"), 0)
        ]
    );
    assert_eq!(machine.busy_uuid(), Some("new"));
    let effects = machine.handle(Input::Decided(Decision::Apply), at(0));
    let [Effect::Save(saved), Effect::Start(started)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(saved.phase.name(), "applying");
    assert_eq!(started.url, "http://host/1");
    assert_eq!(
        machine.handle(Input::RequestOpened, at(0)),
        [status(StatusUpdate::Started)]
    );
    assert_eq!(
        machine.handle(Input::Progress(Stage::Updating, 0), at(0)),
        [progress(Stage::Updating, 0)]
    );
    assert_eq!(machine.handle(Input::Progress(Stage::Updating, 1), at(0)), []);
    assert_eq!(
        machine.handle(Input::Progress(Stage::Updating, 40), at(1)),
        [progress(Stage::Updating, 40)]
    );
    assert_eq!(machine.handle(Input::Progress(Stage::Updating, 100), at(2)), []);
    let effects = machine.handle(Input::Applied, at(2));
    assert!(matches!(&effects[0], Effect::Save(saved) if saved.phase.name() == "rebooting"));
    assert_eq!(
        effects[1..],
        [
            progress(Stage::Updating, 100),
            status(StatusUpdate::Completed),
            Effect::Reboot(RebootReason::Updated)
        ]
    );
    assert_eq!(machine.busy_uuid(), Some("new"));
}

#[test]
fn second_update_while_busy_is_ignored_silently() {
    let mut machine = joined();
    applying(&mut machine);
    assert_eq!(machine.handle(update("new", "http://host/2"), at(0)), []);
    assert_eq!(machine.handle(update("other", "http://host/2"), at(0)), []);
}

#[test]
fn withdrawn_update_changes_nothing() {
    let mut machine = joined();
    let mut withdrawn = update("new", "http://host/1");
    if let Input::Told(update) = &mut withdrawn {
        update.update_available = false;
    }
    assert_eq!(machine.handle(withdrawn, at(0)), []);
    assert_eq!(machine.busy_uuid(), None);
}

#[test]
fn without_keys_every_update_fails() {
    let mut machine = joined();
    machine.running.has_keys = false;
    let effects = machine.handle(update("new", "http://host/1"), at(0));
    let reason = NO_KEYS.to_owned();
    assert_eq!(effects[1..], [Effect::Deliver(StatusUpdate::Failed { reason })]);
}

#[test]
fn expired_url_is_replaced_and_the_attempt_goes_on() {
    let mut machine = joined();
    applying(&mut machine);
    assert_eq!(machine.handle(Input::UrlExpired, at(1)), [Effect::Rejoin]);
    assert_eq!(machine.busy_uuid(), Some("new"));
    assert_eq!(machine.handle(update("other", "http://host/x"), at(1)), []);
    assert_eq!(
        machine.handle(update("new", "http://host/2"), at(1)),
        [Effect::Resume("http://host/2".into())]
    );
    assert_eq!(machine.handle(update("new", "http://host/3"), at(1)), []);
}

#[test]
fn failure_without_a_link_waits_for_the_next_join() {
    let mut machine = joined();
    applying(&mut machine);
    machine.lost();
    let effects = machine.handle(Input::Failed("cut".into()), at(1));
    let [Effect::Save(saved)] = &effects[..] else {
        panic!("{effects:?}");
    };
    let reason = "cut".to_owned();
    assert_eq!(saved.pending, Some(Pending::Failed { reason: reason.clone() }));
    assert_eq!(
        machine.handle(Input::Joined, at(2)),
        [Effect::Deliver(StatusUpdate::Failed { reason })]
    );
    let effects = machine.handle(Input::Delivered, at(2));
    assert!(matches!(&effects[..], [Effect::Save(saved)] if saved.pending.is_none()));
    assert_eq!(machine.handle(Input::Joined, at(3)), []);
}

#[test]
fn attempts_are_counted_across_failures_and_restarts() {
    let attempt = |machine: &Machine| match machine.persisted().phase {
        Phase::Applying { attempt, .. } => attempt,
        _ => 0,
    };
    let mut first = joined();
    applying(&mut first);
    assert_eq!(attempt(&first), 1);
    first.handle(Input::Failed("cut".into()), at(1));
    let mut second = machine(first.persisted().clone());
    applying(&mut second);
    assert_eq!(attempt(&second), 2);
    second.handle(Input::Failed("cut".into()), at(1));
    second.handle(update("other", "http://host/1"), at(2));
    second.handle(Input::Decided(Decision::Apply), at(2));
    assert_eq!(attempt(&second), 1);
}

#[test]
fn reschedule_holds_off_locally_until_it_ends() {
    let mut machine = joined();
    let later = Decision::Reschedule {
        delay: Duration::from_secs(5),
        reason: "in use".into(),
    };
    let told = |delay| StatusUpdate::Rescheduled {
        delay: Duration::from_secs(delay),
        reason: "in use".into(),
    };
    machine.handle(update("new", "http://host/1"), at(0));
    let effects = machine.handle(Input::Decided(later), at(0));
    assert_eq!(effects[1..], [Effect::Deliver(told(5))]);
    machine.handle(Input::Delivered, at(0));
    assert_eq!(machine.busy_uuid(), None);

    let effects = machine.handle(update("new", "http://host/1"), at(2));
    assert_eq!(effects[0], status(StatusUpdate::Received));
    assert_eq!(effects[2..], [Effect::Deliver(told(3))]);
    machine.handle(Input::Delivered, at(2));

    let effects = machine.handle(update("new", "http://host/1"), at(5));
    assert_eq!(effects[1..], [Effect::Decide(offer("new", "http://host/1"), 1)]);
}

#[test]
fn hold_off_survives_a_restart_and_other_firmware_is_considered() {
    let mut first = joined();
    let later = Decision::Reschedule {
        delay: Duration::from_secs(5),
        reason: "in use".into(),
    };
    first.handle(update("new", "http://host/1"), at(0));
    first.handle(Input::Decided(later), at(0));
    let mut second = machine(first.persisted().clone());
    let effects = second.handle(Input::Joined, at(1));
    assert!(matches!(
        &effects[..],
        [Effect::Deliver(StatusUpdate::Rescheduled { .. })]
    ));
    let effects = second.handle(update("other", "http://host/1"), at(1));
    assert!(matches!(&effects[..], [_, Effect::Decide(_, 0)]));
}

#[test]
fn clock_that_jumps_back_does_not_lengthen_a_hold_off() {
    let mut machine = joined();
    let later = Decision::Reschedule {
        delay: Duration::from_secs(5),
        reason: String::new(),
    };
    machine.handle(update("new", "http://host/1"), at(100));
    machine.handle(Input::Decided(later), at(100));
    assert_eq!(machine.remaining("new", at(0)), Some(Duration::from_secs(5)));
}

#[test]
fn unvalidated_firmware_puts_updates_off_and_keeps_its_trial() {
    let trial = Phase::Trying {
        uuid: "old".into(),
        version: "1.0.0".into(),
        from_uuid: "older".into(),
    };
    let mut machine = machine(Persisted {
        phase: trial.clone(),
        ..Persisted::default()
    });
    machine.running.unvalidated = true;
    machine.handle(Input::Joined, at(0));
    let effects = machine.handle(update("new", "http://host/1"), at(0));
    assert!(matches!(
        &effects[1..],
        [Effect::Send(FromDevice::Status(StatusUpdate::Rescheduled { .. }))]
    ));
    assert_eq!(machine.persisted().phase, trial);
    assert_eq!(machine.handle(Input::Validated, at(1)), [Effect::Save(Box::default())]);
    let effects = machine.handle(update("new", "http://host/1"), at(1));
    assert!(matches!(&effects[1..], [Effect::Decide(..)]));
}

#[test]
fn reboot_is_announced() {
    let mut machine = joined();
    assert_eq!(
        machine.handle(Input::RebootAsked, at(0)),
        [Effect::Send(FromDevice::Rebooting), Effect::Reboot(RebootReason::Asked)]
    );
}

fn inputs() -> impl Strategy<Value = (Input, u64)> {
    let input = prop_oneof![
        ("[abc]", "[12]").prop_map(|(uuid, url)| update(&uuid, &url)),
        Just(Input::Decided(Decision::Apply)),
        Just(Input::Decided(Decision::Ignore { reason: String::new() })),
        (0u64..20).prop_map(|seconds| {
            Input::Decided(Decision::Reschedule {
                delay: Duration::from_secs(seconds),
                reason: String::new(),
            })
        }),
        Just(Input::RequestOpened),
        Just(Input::UrlExpired),
        any::<u8>().prop_map(|percent| Input::Progress(Stage::Updating, percent)),
        Just(Input::Applied),
        Just(Input::Failed("x".into())),
        Just(Input::Joined),
        Just(Input::Delivered),
        Just(Input::Validated),
    ];
    (input, 0u64..3)
}

proptest! {
    /// Whatever happens: what is acted upon was saved before, at most one attempt runs, and nothing panics.
    #[test]
    fn no_order_of_inputs_breaks_the_rules(inputs in proptest::collection::vec(inputs(), 0..60)) {
        let mut machine = machine(Persisted::default());
        let (mut saved, mut started, mut time) = (Persisted::default(), false, 0);
        for (input, seconds) in inputs {
            time += seconds;
            let ended = matches!(input, Input::Failed(_) | Input::Applied);
            for effect in machine.handle(input, at(time)) {
                match effect {
                    Effect::Save(persisted) => saved = *persisted,
                    Effect::Start(offer) => {
                        prop_assert!(!started);
                        prop_assert_eq!(saved.phase.name(), "applying");
                        prop_assert_eq!(saved.phase.uuid(), Some(offer.uuid.as_str()));
                        started = true;
                    }
                    Effect::Reboot(_) => prop_assert_eq!(saved.phase.name(), "rebooting"),
                    Effect::Resume(_) | Effect::Rejoin => prop_assert!(started),
                    Effect::Decide(..) => prop_assert!(!started),
                    Effect::Deliver(_) => prop_assert!(saved.pending.is_some()),
                    Effect::Send(_) => {}
                }
            }
            if ended && saved.phase.name() == "idle" {
                started = false;
            }
            prop_assert_eq!(&saved, machine.persisted());
        }
    }
}
