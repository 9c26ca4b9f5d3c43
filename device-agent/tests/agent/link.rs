//! Connecting, and what is said on joining.

use muster_link::limits::REJOIN_AFTER;
use muster_link::{FromDevice, ToDevice};

use crate::World;
use crate::device::Options;

#[tokio::test]
async fn join_reports_the_active_slot_over_both_tls_versions() {
    for tls in ["1.2", "1.3"] {
        let mut world = World::new(Options {
            tls: Some(tls),
            ..Options::default()
        })
        .await;
        let _process = world.device.start();
        let join = world.hub.join().await;
        assert_eq!(join.firmware.uuid.as_deref(), Some(world.old.uuid.as_str()));
        assert_eq!(join.firmware.version.as_deref(), Some("1.0.0"));
        assert_eq!(join.firmware.product.as_deref(), Some("kiosk"));
        assert_eq!(join.meta.firmware_validated, Some(true));
        assert_eq!(join.meta.firmware_auto_revert_detected, Some(false));
        assert_eq!(join.busy_with(), None);
        assert!(!join.wants_firmware_keys() && join.device_api_version.as_deref() == Some("2.3.0"));
    }
}

#[tokio::test]
async fn lost_connection_is_opened_again_and_odd_frames_change_nothing() {
    let mut world = World::new(Options::default()).await;
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    for text in [
        "",
        "[]",
        "nonsense",
        r#"[null,null,"device","update",{}]"#,
        r#"[null,null,"x","y",[]]"#,
    ] {
        world.hub.push_text(text);
    }
    world.hub.push(&ToDevice::GetExtensions);
    world.hub.ping();
    assert_eq!(world.hub.hear().await, FromDevice::Unknown, "a pong");
    world.hub.close();
    process.logged("link lost").await;
    world.hub.join().await;
}

/// What servers of all of NervesHub's versions may do to a channel (device-link §2.1, §5.1, §7).
#[tokio::test]
async fn channel_that_is_closed_or_crashed_is_joined_again_on_the_connection_that_stands() {
    let mut world = World::new(Options::default()).await;
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    for event in ["phx_close", "phx_error"] {
        let text = format!(r#"[null,null,"device","{event}",{{"reason":"channel_crash"}}]"#);
        world.hub.push_text(&text);
        let begun = std::time::Instant::now();
        world.hub.join().await;
        assert!(begun.elapsed() >= REJOIN_AFTER);
        process.logged("joined").await;
    }
    world.hub.push_text(
        r#"[null,null,"device","update",{"update_available":false,"firmware_url":null,"firmware_meta":null}]"#,
    );
    world.hub.push(&ToDevice::Reboot);
    assert_eq!(world.hub.hear().await, FromDevice::Rebooting);
    assert_eq!(world.hub.upgrades().len(), 1);
}

#[tokio::test]
async fn reboot_is_announced_and_done() {
    let mut world = World::new(Options::default()).await;
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    world.hub.push(&ToDevice::Identify);
    world.hub.push(&ToDevice::Reboot);
    assert_eq!(world.hub.hear().await, FromDevice::Rebooting);
    process.logged("device reboots").await;
    process.logged("slot started").await;
    world.hub.join().await;
}

#[tokio::test]
async fn termination_is_clean_and_a_second_agent_is_refused() {
    let mut world = World::new(Options::default()).await;
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    let (good, text) = world.device.run(&["run"]).await;
    assert!(!good && text.contains("another muster-agent runs"), "{text}");
    assert!(process.terminate().await.success());
    let (good, text) = world.device.run(&["config", "check"]).await;
    assert!(good, "{text}");
    let (good, text) = world.device.run(&["status"]).await;
    assert!(
        good && text.contains("1.0.0") && text.contains("slot a, validated"),
        "{text}"
    );
}
