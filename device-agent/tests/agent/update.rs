//! Updates: that they succeed through mishaps, and that bad firmware does not stay.

use std::time::Duration;

use muster_agent::platform::slot::Behaviour;
use muster_fwup::PrivateKey;
use muster_link::{FromDevice, StatusUpdate};

use crate::World;
use crate::device::{Options, Process};
use crate::files::Mishaps;
use crate::firmware::Firmware;

/// Takes the device to its joined state.
async fn joined(world: &mut World) -> Process {
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    process
}

#[tokio::test]
async fn update_survives_a_cut_connection_and_is_validated() {
    let mut world = World::new(Options::default()).await;
    let new = world.next(Behaviour::Ok);
    let cut = Mishaps {
        cut_after: Some(100_000),
        ..Mishaps::default()
    };
    let files = world.files(&new, cut).await;
    let mut process = joined(&mut world).await;
    world.hub.push(&new.update(&files.url("/new")));
    assert_eq!(world.hub.status().await, StatusUpdate::Received);
    assert_eq!(world.hub.status().await, StatusUpdate::Started);
    assert_eq!(world.hub.status().await, StatusUpdate::Started);
    assert_eq!(world.hub.status().await, StatusUpdate::Completed);
    let join = world.hub.join().await;
    assert_eq!(join.firmware.uuid.as_deref(), Some(new.uuid.as_str()));
    assert_eq!(join.meta.firmware_validated, Some(false));
    assert_eq!(join.busy_with(), None);
    assert_eq!(world.hub.hear().await, FromDevice::FirmwareValidated);
    process
        .logged_where("update state changed", |line| line["update.phase"] == "idle")
        .await;
    assert_eq!(files.served(), 2);
    process.kill().await;

    let _process = world.device.start();
    let join = world.hub.join().await;
    assert_eq!(join.firmware.uuid.as_deref(), Some(new.uuid.as_str()));
    assert_eq!(join.meta.firmware_validated, Some(true));
}

async fn reverted(new: impl FnOnce(&World) -> Firmware) -> String {
    let mut world = World::new(Options::default()).await;
    let new = new(&world);
    let files = world.files(&new, Mishaps::default()).await;
    let _process = joined(&mut world).await;
    world.hub.push(&new.update(&files.url("/new")));
    world.hub.completed().await;
    let join = loop {
        let join = world.hub.join().await;
        if join.firmware.uuid.as_deref() != Some(new.uuid.as_str()) {
            break join;
        }
    };
    assert_eq!(join.firmware.uuid.as_deref(), Some(world.old.uuid.as_str()));
    assert_eq!(join.meta.firmware_auto_revert_detected, Some(true));
    assert_eq!(join.meta.firmware_validated, Some(true));
    let reason = world.hub.failure().await;

    // The device is as good as before.
    let better = Firmware::new(&world.key, "1.2.0", Behaviour::Ok);
    let files = world.files(&better, Mishaps::default()).await;
    world.hub.push(&better.update(&files.url("/new")));
    world.hub.completed().await;
    let join = world.hub.join().await;
    assert_eq!(join.firmware.uuid.as_deref(), Some(better.uuid.as_str()));
    reason
}

#[tokio::test]
async fn firmware_that_crashes_is_reverted() {
    let reason = reverted(|world| world.next(Behaviour::Crash)).await;
    assert!(
        reason.starts_with("reverted: ") && reason.contains("not validated"),
        "{reason}"
    );
}

#[tokio::test]
async fn firmware_without_network_is_reverted() {
    let reason = reverted(|world| world.next(Behaviour::NoNetwork)).await;
    assert!(reason.contains("not validated"), "{reason}");
}

#[tokio::test]
async fn firmware_that_never_validates_is_reverted() {
    let reason = reverted(|world| world.next(Behaviour::NeverValidates)).await;
    assert!(reason.contains("not validated"), "{reason}");
}

#[tokio::test]
async fn slot_with_one_flipped_byte_is_not_booted() {
    let reason = reverted(|world| Firmware::flipped(&world.key, "1.1.0")).await;
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn firmware_of_another_key_is_refused_before_a_byte_is_written() {
    let mut world = World::new(Options::default()).await;
    let foreign = Firmware::new(&PrivateKey::generate().unwrap(), "1.1.0", Behaviour::Ok);
    let files = world.files(&foreign, Mishaps::default()).await;
    let _process = joined(&mut world).await;
    let before = std::fs::read(world.device.path("disk.img")).unwrap();
    world.hub.push(&foreign.update(&files.url("/new")));
    let reason = world.hub.failure().await;
    assert!(reason.starts_with("FWUP error: "), "{reason}");
    assert_eq!(std::fs::read(world.device.path("disk.img")).unwrap(), before);
}

#[tokio::test]
async fn without_keys_every_update_is_refused() {
    let mut world = World::new(Options {
        keys: Some(Vec::new()),
        ..Options::default()
    })
    .await;
    let new = world.next(Behaviour::Ok);
    let _process = joined(&mut world).await;
    world.hub.push(&new.update("https://127.0.0.1:1/never-asked"));
    let reason = "Refusing unverified firmware: no public keys available".to_owned();
    assert_eq!(world.hub.status().await, StatusUpdate::Failed { reason });
}

#[tokio::test]
async fn expired_url_is_replaced_after_a_rejoin_and_no_byte_is_fetched_twice() {
    let mut world = World::new(Options::default()).await;
    let new = world.next(Behaviour::Ok);
    let mishaps = Mishaps {
        cut_after: Some(100_000),
        expire: true,
        ..Mishaps::default()
    };
    let files = world.files(&new, mishaps).await;
    let _process = joined(&mut world).await;
    world.hub.push(&new.update(&files.url("/old")));
    let join = world.hub.join().await;
    assert_eq!(join.busy_with(), Some(new.uuid.as_str()));
    world.hub.push(&new.update(&files.url("/new")));
    world.hub.completed().await;
    let join = world.hub.join().await;
    assert_eq!(join.firmware.uuid.as_deref(), Some(new.uuid.as_str()));
    assert_eq!(files.served(), 3);
}

#[tokio::test]
async fn policy_script_puts_an_update_off_once() {
    let once = r#"if [ "$MUSTER_UPDATE_RESCHEDULES" = 0 ]; then echo reschedule 1s in use; else echo apply; fi"#;
    let mut world = World::new(Options {
        policy: Some(once),
        ..Options::default()
    })
    .await;
    let new = world.next(Behaviour::Ok);
    let files = world.files(&new, Mishaps::default()).await;
    let _process = joined(&mut world).await;
    let asked = |status| match status {
        StatusUpdate::Rescheduled { delay, reason } => {
            assert_eq!(reason, "in use");
            delay
        }
        other => panic!("{other:?}"),
    };
    world.hub.push(&new.update(&files.url("/new")));
    assert_eq!(world.hub.status().await, StatusUpdate::Received);
    assert_eq!(asked(world.hub.status().await), Duration::from_secs(1));
    loop {
        world.hub.push(&new.update(&files.url("/new")));
        assert_eq!(world.hub.status().await, StatusUpdate::Received);
        match world.hub.status().await {
            StatusUpdate::Started => break,
            status => assert!(asked(status) <= Duration::from_secs(1)),
        }
    }
    world.hub.completed().await;
}

#[tokio::test]
async fn agent_killed_in_the_middle_stays_on_its_firmware_and_updates_later() {
    let mut world = World::new(Options::default()).await;
    let new = world.next(Behaviour::Ok);
    let stalled = Mishaps {
        stall_after: Some(150_000),
        ..Mishaps::default()
    };
    let files = world.files(&new, stalled).await;
    let process = joined(&mut world).await;
    world.hub.push(&new.update(&files.url("/new")));
    while !matches!(world.hub.hear().await, FromDevice::Progress { .. }) {}
    assert_eq!(world.device.state()["phase"], "applying");
    process.kill().await;
    files.go_on.notify_one();

    let mut process = world.device.start();
    let join = world.hub.join().await;
    assert_eq!(join.firmware.uuid.as_deref(), Some(world.old.uuid.as_str()));
    assert_eq!(join.busy_with(), None);
    assert_eq!(join.meta.firmware_auto_revert_detected, Some(false));
    process.logged("joined").await;
    world.hub.push(&new.update(&files.url("/new")));
    world.hub.completed().await;
    let join = world.hub.join().await;
    assert_eq!(join.firmware.uuid.as_deref(), Some(new.uuid.as_str()));
}

#[tokio::test]
async fn agent_killed_at_any_change_of_its_state_is_updated_in_the_end() {
    for (message, phase) in [
        ("update state changed", "applying"),
        ("update state changed", "rebooting"),
        ("update state resolved", "trying"),
        ("update state changed", "idle"),
    ] {
        let world = World::new(Options::default()).await;
        let new = world.next(Behaviour::Ok);
        let files = world.files(&new, Mishaps::default()).await;
        world.hub.roll_out(&new.uuid, new.update(&files.url("/new")));
        let mut process = world.device.start();
        process
            .logged_where(message, |line| line["update.phase"] == phase)
            .await;
        process.kill().await;

        let mut process = world.device.start();
        loop {
            let started = process.logged("agent started").await;
            assert!(
                [&world.old.uuid, &new.uuid]
                    .iter()
                    .any(|uuid| started["firmware.uuid"] == **uuid)
            );
            if started["firmware.uuid"] == *new.uuid {
                break;
            }
        }
        process.logged("joined").await;
        process.terminate().await;
        let (_, text) = world.device.run(&["status"]).await;
        assert!(text.contains("1.1.0"), "{phase}: {text}");
    }
}

/// On a board the agent only asks for the reboot, and whether that has happened is told by the boot's id.
#[tokio::test]
async fn linux_device_asks_for_its_reboot_until_it_happens() {
    let mut world = World::new(Options {
        linux: true,
        ..Options::default()
    })
    .await;
    let new = world.next(Behaviour::Ok);
    let files = world.files(&new, Mishaps::default()).await;
    let mut process = joined(&mut world).await;
    world.hub.push(&new.update(&files.url("/new")));
    process.logged("reboot under way").await;
    assert!(process.terminate().await.success());
    assert_eq!(world.device.state()["phase"], "rebooting");

    let mut process = world.device.start();
    let resolved = process.logged("update state resolved").await;
    assert_eq!(resolved["update.outcome"], "RebootDue");
    process.logged("reboot under way").await;
    assert!(process.terminate().await.success());
    let reboots = std::fs::read_to_string(world.device.path("reboots")).unwrap();
    assert_eq!(reboots.lines().count(), 2);

    let mut state = world.device.state();
    state["boot_id"] = "another boot".into();
    std::fs::write(world.device.path("state/update.json"), state.to_string()).unwrap();
    let mut process = world.device.start();
    let join = loop {
        let join = world.hub.join().await;
        if join.meta.firmware_validated == Some(false) {
            break join;
        }
    };
    assert_eq!(join.firmware.uuid.as_deref(), Some(new.uuid.as_str()));
    assert_eq!(world.hub.hear().await, FromDevice::FirmwareValidated);
    process
        .logged_where("update state changed", |line| line["update.phase"] == "idle")
        .await;
}
