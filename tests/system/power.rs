//! Power cuts: of the server in the middle of a rollout, of a board in the middle of its update.

use std::time::{Duration, Instant};

use muster_tests::{Board, Kiosk, World};
use rand::{RngExt as _, SeedableRng as _};

const PATIENCE: Duration = Duration::from_mins(2);
/// Kills of the server in one rollout.
const SERVER_KILLS: usize = 10;
/// Kills of a board in its updates.
const BOARD_KILLS: usize = 30;

#[expect(clippy::print_stderr, reason = "a failure is repeated with its seed")]
fn dice() -> rand::rngs::StdRng {
    let seed: u64 = std::env::var("MUSTER_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    eprintln!("MUSTER_SEED={seed}");
    rand::rngs::StdRng::seed_from_u64(seed)
}

#[tokio::test]
async fn server_killed_at_ten_moments_of_a_rollout_brings_it_to_its_end() -> anyhow::Result<()> {
    let mut dice = dice();
    let mut world = World::new(&[]).await?;
    let (old, _) = world.firmware(&large("1.0.0")).await?;
    let (_, new) = world.firmware(&large("1.1.0")).await?;
    let boards = world.boards(8, &old, "1.0.0").await?;
    world.deploy("all", &new, 3).await?;
    for _ in 0..SERVER_KILLS {
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..700))).await;
        world = world.kill_and_restart_server().await?;
    }
    for (board, _) in &boards {
        board.until_runs(&world.api, &world.product, "1.1.0", PATIENCE).await?;
        assert_eq!(world.until_ended(board, PATIENCE).await?.0, "succeeded");
    }
    Ok(())
}

/// Firmware whose download takes a while.
fn large(version: &str) -> Kiosk<'_> {
    Kiosk {
        root_bytes: 1_000_000,
        ..Kiosk::new("kiosk", version)
    }
}

/// Runs `cut` on fresh updates of one board, and checks after each that it runs the old or the new firmware, whole, and
/// that a later attempt succeeds.
async fn survive(cuts: usize, mut cut: impl AsyncFnMut(&Board, usize) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (mut old, _) = world.firmware(&large("1.0.0")).await?;
    for round in 0..cuts {
        let version = format!("1.{}.0", round + 1);
        let (archive, uuid) = world.firmware(&large(&version)).await?;
        let board = world.board(&format!("kiosk-{round:04}"), &old, "").await?;
        world.deploy(&format!("round-{round}"), &uuid, 1).await?;
        cut(&board, round).await?;
        let on_disk = board.version_on_disk()?;
        let before = format!("1.{round}.0");
        anyhow::ensure!(on_disk == version || on_disk == before, "round {round}: {on_disk}");
        let power = board.power_on()?;
        // A board that was cut in its first boot goes back and is left alone for a day, unless an operator says otherwise.
        world.until_runs_after_all(&board, &version, PATIENCE).await?;
        power.cut();
        old = archive;
    }
    Ok(())
}

#[tokio::test]
async fn board_whose_power_is_cut_at_any_moment_ends_on_the_new_firmware() -> anyhow::Result<()> {
    let mut dice = dice();
    survive(BOARD_KILLS, async |board, _| {
        let power = board.power_on()?;
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..900))).await;
        power.cut();
        Ok(())
    })
    .await
}

#[tokio::test]
async fn board_whose_power_is_cut_at_each_change_of_its_state_ends_on_the_new_firmware() -> anyhow::Result<()> {
    // A round for each change: the first cut comes at the first change, the second at the second, until there are no more.
    survive(6, async |board, round| {
        let mut power = board.power_on()?;
        let state = board.folder.join("state/update.json");
        let read = || std::fs::read(&state).unwrap_or_default();
        let (mut last, mut changes) = (read(), 0);
        let end = Instant::now() + Duration::from_secs(8);
        while changes <= round && Instant::now() < end {
            power.process().ensure_running()?;
            let now = read();
            if now != last {
                (last, changes) = (now, changes + 1);
            }
            std::hint::spin_loop();
        }
        power.cut();
        Ok(())
    })
    .await
}
