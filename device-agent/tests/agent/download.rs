//! Ways to the disk: what a cut, a restart and a wrong byte cost.

use std::time::Duration;

use muster_link::{FromDevice, Stage, StatusUpdate};
use tokio::time::{sleep, timeout};

use crate::World;
use crate::device::Options;
use crate::files::Mishaps;
use crate::firmware::Firmware;
use crate::hub::DEADLINE;

const PART: usize = 1 << 20;

async fn world(download: &'static str) -> World {
    World::new(Options {
        download,
        ..Options::default()
    })
    .await
}

/// Bytes that lie in the cache.
fn cached(world: &World) -> u64 {
    let entries = std::fs::read_dir(world.device.path("state/firmware"));
    let lengths = entries.into_iter().flatten().flatten();
    lengths.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

/// The agent is killed when `stall_after` bytes are in its cache; gives what was asked of the file server, all in all.
async fn resumed(download: &'static str, stall_after: usize) -> Vec<(usize, usize)> {
    let mut world = world(download).await;
    let new = Firmware::large(&world.key, "1.1.0");
    let stalled = Mishaps {
        stall_after: Some(stall_after),
        ..Mishaps::default()
    };
    let files = world.files(&new, stalled).await;
    let mut process = world.device.start();
    process.logged("joined").await;
    world.hub.push(&new.checked_update(&files.url("/new")));
    let there = async {
        while cached(&world) < stall_after as u64 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, there).await.unwrap();
    process.kill().await;
    files.go_on.notify_one();

    let mut process = world.device.start();
    process.logged("joined").await;
    world.hub.push(&new.checked_update(&files.url("/new")));
    world.hub.completed().await;
    loop {
        let join = world.hub.join().await;
        if join.firmware.uuid.as_deref() == Some(new.uuid.as_str()) {
            break;
        }
    }
    assert_eq!(cached(&world), 0);
    files
        .ranges()
        .into_iter()
        .map(|(from, to)| (from, to.min(new.bytes.len())))
        .collect()
}

#[tokio::test]
async fn cached_file_goes_on_where_a_killed_agent_left_it() {
    let ranges = resumed("strategy = \"caching\"", 1_500_000).await;
    assert_eq!((ranges.len(), ranges[1].0), (2, 1_500_000));
}

#[tokio::test]
async fn verified_parts_are_kept_when_the_agent_is_killed() {
    let ranges = resumed("strategy = \"parts\"", 2 * PART + 1000).await;
    assert_eq!((ranges.len(), ranges[1].0), (2, 2 * PART));
}

#[tokio::test]
async fn parts_come_over_several_connections_and_a_wrong_one_comes_again() {
    let mut world = world("strategy = \"parts\"\nparallel = 3").await;
    let new = Firmware::large(&world.key, "1.1.0");
    let flipped = Mishaps {
        flip: Some(500),
        ..Mishaps::default()
    };
    let files = world.files(&new, flipped).await;
    let mut process = world.device.start();
    process.logged("joined").await;
    world.hub.push(&new.checked_update(&files.url("/new")));
    let mut stages = Vec::new();
    loop {
        match world.hub.hear().await {
            FromDevice::Progress { stage, .. } => stages.extend(stage),
            FromDevice::Status(StatusUpdate::Completed) => break,
            FromDevice::Status(StatusUpdate::Failed { reason }) => panic!("{reason}"),
            _ => {}
        }
    }
    stages.dedup();
    assert_eq!(stages, [Stage::Downloading, Stage::Updating]);
    let join = world.hub.join().await;
    assert_eq!(join.firmware.uuid.as_deref(), Some(new.uuid.as_str()));
    let mut ranges = files.ranges();
    assert_eq!(ranges.len(), 4);
    let again = ranges.pop().unwrap();
    assert_eq!(again.1 - again.0, PART);
    assert_eq!(again.0 % PART, 0);
}

#[tokio::test]
async fn server_that_is_unwell_for_a_moment_costs_nothing() {
    for download in ["", "strategy = \"caching\""] {
        let mut world = world(download).await;
        let new = Firmware::large(&world.key, "1.1.0");
        let unwell = Mishaps {
            unwell: true,
            ..Mishaps::default()
        };
        let files = world.files(&new, unwell).await;
        let mut process = world.device.start();
        process.logged("joined").await;
        world.hub.push(&new.checked_update(&files.url("/new")));
        world.hub.completed().await;
        assert_eq!(files.served(), 2);
    }
}

#[tokio::test]
async fn file_with_another_checksum_is_refused_and_forgotten() {
    let mut world = world("strategy = \"caching\"").await;
    let new = Firmware::large(&world.key, "1.1.0");
    let flipped = Mishaps {
        flip: Some(500),
        ..Mishaps::default()
    };
    let files = world.files(&new, flipped).await;
    let mut process = world.device.start();
    world.hub.join().await;
    process.logged("joined").await;
    world.hub.push(&new.checked_update(&files.url("/new")));
    let reason = world.hub.failure().await;
    assert!(reason.contains("checksum"), "{reason}");
    assert_eq!(cached(&world), 0);
    world.hub.push(&new.checked_update(&files.url("/new")));
    world.hub.completed().await;
}
