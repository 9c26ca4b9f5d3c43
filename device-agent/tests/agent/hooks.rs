//! What a product does of its own: hooks, policies, archives; and who asks and watches the agent on the device itself.

use std::path::Path;
use std::time::{Duration, Instant};

use muster_agent::platform::slot::Behaviour;
use muster_fwup::PrivateKey;
use muster_link::{Archive, FromDevice, StatusUpdate, ToDevice};
use tokio::net::UnixDatagram;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::World;
use crate::device::{Options, Process};
use crate::files::{Files, Mishaps};
use crate::firmware::Firmware;
use crate::hub::DEADLINE;

async fn world(tables: &'static str) -> (World, Process) {
    let options = Options {
        tables,
        ..Options::default()
    };
    let mut world = World::new(options).await;
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    (world, process)
}

/// What the programs wrote, when it is at least so many lines.
async fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = async {
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() >= count {
                return text.lines().map(str::to_owned).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, read).await.unwrap()
}

const PROGRAMS: &str = r#"
[hooks]
identify = ["/bin/sh", "-c", "echo $MUSTER_HOOK $MUSTER_IDENTIFIER >> $MUSTER_STATE_DIR/called"]
before_reboot = ["/bin/sh", "-c", "echo $MUSTER_HOOK $MUSTER_REBOOT_REASON >> $MUSTER_STATE_DIR/called"]
"#;

#[tokio::test]
async fn identify_and_reboot_run_their_programs_and_updates_say_why() {
    let (mut world, mut process) = world(PROGRAMS).await;
    let called = world.device.path("state/called");
    world.hub.push(&ToDevice::Identify);
    assert_eq!(lines(&called, 1).await, ["identify kiosk-0001"]);
    let (good, text) = world.device.run(&["identify"]).await;
    assert!(good, "{text}");
    lines(&called, 2).await;
    world.hub.push(&ToDevice::Reboot);
    process.logged("slot started").await;
    process.logged("joined").await;
    assert_eq!(lines(&called, 3).await[2], "before_reboot asked");
    let new = world.next(Behaviour::Ok);
    let files = world.files(&new, Mishaps::default()).await;
    world.hub.push(&new.update(&files.url("/new")));
    world.hub.join().await;
    assert_eq!(lines(&called, 4).await[3], "before_reboot updated");
}

/// Whoever floods the device starts no more than one program at a time.
#[tokio::test]
async fn identify_is_done_once_at_a_time() {
    let hook = "[hooks]\nidentify = [\"/bin/sh\", \"-c\", \"echo x >> $MUSTER_STATE_DIR/called; sleep 1\"]";
    let (mut world, mut process) = world(hook).await;
    for _ in 0..50 {
        world.hub.push(&ToDevice::Identify);
    }
    world.hub.push(&ToDevice::Reboot);
    assert_eq!(world.hub.hear().await, FromDevice::Rebooting);
    process.logged("slot started").await;
    assert_eq!(lines(&world.device.path("state/called"), 1).await.len(), 1);
}

#[tokio::test]
async fn hook_that_hangs_holds_no_reboot_up() {
    let (world, mut process) =
        world("[hooks]\nbefore_reboot = [\"/bin/sleep\", \"600\"]\ntime_limit = \"300ms\"").await;
    world.hub.push(&ToDevice::Reboot);
    let failed = process.logged("hook before the reboot failed").await;
    assert!(failed["error"].as_str().unwrap().contains("did not end"), "{failed}");
    process.logged("slot started").await;
}

#[tokio::test]
async fn policy_that_ignores_is_told_and_one_that_hangs_puts_nothing_on_the_disk() {
    for (policy, reason) in [("echo ignore battery low", "battery low"), ("sleep 600", "")] {
        let options = Options {
            policy: Some(policy),
            tables: "time_limit = \"300ms\"",
            ..Options::default()
        };
        let mut world = World::new(options).await;
        let new = world.next(Behaviour::Ok);
        let mut process = world.device.start();
        world.hub.join().await;
        process.logged("joined").await;
        world.hub.push(&new.update("https://127.0.0.1:1/never-asked"));
        loop {
            match world.hub.status().await {
                StatusUpdate::Received => {}
                StatusUpdate::Ignored { reason: told } => {
                    assert_eq!(told, reason);
                    break;
                }
                StatusUpdate::Rescheduled { reason: told, .. } if reason.is_empty() => {
                    assert!(told.contains("did not end"), "{told}");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

const ARCHIVES: &str = r#"
[hooks]
archive = ["/bin/sh", "-c", "cmp $MUSTER_ARCHIVE_FILE $MUSTER_STATE_DIR/../archive && echo $MUSTER_ARCHIVE_UUID $MUSTER_ARCHIVE_VERSION >> $MUSTER_STATE_DIR/called"]
"#;

fn told(archive: &Firmware, files: &Files) -> ToDevice {
    ToDevice::Archive(Box::new(Archive {
        uuid: archive.uuid.clone(),
        version: archive.version.clone(),
        size: Some(archive.bytes.len() as u64),
        url: files.url("/archive"),
        ..Archive::default()
    }))
}

#[tokio::test]
async fn archive_is_verified_and_handed_to_the_hook_once() {
    let (mut world, mut process) = world(ARCHIVES).await;
    let archive = world.next(Behaviour::Ok);
    std::fs::write(world.device.path("archive"), &archive.bytes).unwrap();
    let files = world.files(&archive, Mishaps::default()).await;
    world.hub.push(&told(&archive, &files));
    process.logged("archive taken").await;
    let called = lines(&world.device.path("state/called"), 1).await;
    assert_eq!(called, [format!("{} 1.1.0", archive.uuid)]);
    assert!(
        std::fs::read_dir(world.device.path("state/archive"))
            .unwrap()
            .next()
            .is_none()
    );
    process.kill().await;

    // The server tells it after every join.
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    world.hub.push(&told(&archive, &files));
    world.hub.push(&ToDevice::Identify);
    process.logged("device identifies itself").await;
    assert_eq!(files.served(), 1);
    let (_, text) = world.device.run(&["status", "--json"]).await;
    assert!(text.contains(&format!("\"archive\":\"{}\"", archive.uuid)), "{text}");
}

#[tokio::test]
async fn archive_of_another_key_and_another_archive_are_refused() {
    let (world, mut process) = world(ARCHIVES).await;
    let foreign = Firmware::new(&PrivateKey::generate().unwrap(), "1.1.0", Behaviour::Ok);
    let files = world.files(&foreign, Mishaps::default()).await;
    world.hub.push(&told(&foreign, &files));
    process.logged("archive not taken").await;
    let other = world.next(Behaviour::Ok);
    let files = world.files(&other, Mishaps::default()).await;
    let mislabelled = Firmware {
        uuid: world.old.uuid.clone(),
        ..other
    };
    world.hub.push(&told(&mislabelled, &files));
    let refused = process.logged("archive not taken").await;
    assert!(
        refused["reason"].as_str().unwrap().contains("the server told"),
        "{refused}"
    );
    assert!(!world.device.path("state/called").exists());
}

#[tokio::test]
async fn archive_that_nobody_takes_is_not_fetched() {
    let (world, mut process) = world("").await;
    let archive = world.next(Behaviour::Ok);
    let files = world.files(&archive, Mishaps::default()).await;
    world.hub.push(&told(&archive, &files));
    process
        .logged("archive refused: no hook takes it (hooks.archive)")
        .await;
    assert_eq!(files.served(), 0);
}

#[tokio::test]
async fn running_agent_is_asked_and_told_by_its_socket() {
    let (mut world, mut process) = world("").await;
    let (good, text) = world.device.run(&["status"]).await;
    assert!(
        good && text.contains("runs, process") && text.contains("link        joined"),
        "{text}"
    );
    let (good, text) = world.device.run(&["reconnect"]).await;
    assert!(good, "{text}");
    process.logged("link lost").await;
    world.hub.join().await;
    assert!(process.terminate().await.success());
    let (good, text) = world.device.run(&["reconnect"]).await;
    assert!(!good && text.contains("no agent runs"), "{text}");
    let (good, text) = world.device.run(&["status"]).await;
    assert!(good && text.contains("does not run"), "{text}");
}

#[tokio::test]
async fn reconnect_ends_the_wait_for_the_next_attempt() {
    let mut world = World::by(
        crate::hub::Rules {
            refusals: vec![(503, vec![("retry-after", "600".to_owned())])],
            ..crate::hub::Rules::default()
        },
        Options::default(),
    )
    .await;
    let mut process = world.device.start();
    process.logged("link not opened").await;
    let begun = Instant::now();
    let (good, text) = world.device.run(&["reconnect"]).await;
    assert!(good, "{text}");
    world.hub.join().await;
    assert!(begun.elapsed() < DEADLINE);
}

/// What the service manager is told. It is read at once: the kernel keeps no more than ten messages, and drops the next.
fn heard(listener: UnixDatagram) -> UnboundedReceiver<String> {
    let (sender, heard) = unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok(length) = listener.recv(&mut buffer).await {
            let _ = sender.send(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
    });
    heard
}

/// What is said until this was said so often.
async fn until(heard: &mut UnboundedReceiver<String>, what: &str, mut times: usize) -> Vec<String> {
    let mut said = Vec::new();
    while times > 0 {
        let next = tokio::time::timeout(DEADLINE, heard.recv()).await;
        let next = next.unwrap_or_else(|_| panic!("{what} is missing: {said:?}")).unwrap();
        times -= usize::from(next == what);
        said.push(next);
    }
    said
}

#[tokio::test]
async fn service_manager_is_told_how_it_is_and_its_programs_are_not_mistaken_for_the_agent() {
    let mut world = World::new(Options {
        tables: "[hooks]\nidentify = [\"/bin/sh\", \"-c\", \"echo [$NOTIFY_SOCKET$WATCHDOG_USEC] > $MUSTER_STATE_DIR/called\"]",
        ..Options::default()
    })
    .await;
    let path = world.device.path("notify");
    let mut heard = heard(UnixDatagram::bind(&path).unwrap());
    let mut process = world
        .device
        .start_with(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")]);
    world.hub.join().await;
    process.logged("joined").await;
    world.hub.push(&ToDevice::Identify);
    assert_eq!(lines(&world.device.path("state/called"), 1).await, ["[]"]);
    let mut told = until(&mut heard, "WATCHDOG=1", 4).await;
    assert!(process.terminate().await.success());
    told.extend(until(&mut heard, "STOPPING=1", 1).await);
    let count = |text: &str| told.iter().filter(|line| *line == text).count();
    assert_eq!((count("READY=1"), count("STOPPING=1")), (1, 1), "{told:?}");
    assert!(
        told.contains(&"STATUS=connected, firmware 1.0.0".to_owned()),
        "{told:?}"
    );
}

#[tokio::test]
async fn firmware_that_another_program_validates_is_told_when_it_is() {
    let mut world = World::new(Options {
        linux: true,
        agent: "validate = false",
        ..Options::default()
    })
    .await;
    world.device.set_validated(false);
    let mut process = world.device.start();
    let join = world.hub.join().await;
    assert_eq!(join.meta.firmware_validated, Some(false));
    process.logged("firmware not validated").await;
    world.device.set_validated(true);
    assert_eq!(world.hub.hear().await, FromDevice::FirmwareValidated);
}
