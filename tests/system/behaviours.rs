//! Firmware that boots badly: the board goes back, and the server says why.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use muster_tests::{Behaviour, Kiosk, World, eventually};

/// A revert needs two boots and two watchdog times.
const PATIENCE: Duration = Duration::from_mins(1);
/// The watchdog of these boards.
const IMPATIENT: &str = "boot_timeout = \"1500ms\"";

async fn goes_back(behaviour: Behaviour) -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (old, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let bad = Kiosk {
        behaviour,
        ..Kiosk::new("kiosk", "1.1.0")
    };
    let (_, new) = world.firmware(&bad).await?;
    let board = world.board("kiosk-0001", &old, IMPATIENT).await?;
    let _power = board.power_on()?;
    board.until_runs(&world.api, &world.product, "1.0.0", PATIENCE).await?;
    world.deploy("all", &new, 1).await?;
    let failure = eventually("the failure", PATIENCE, || async {
        let updates = world.updates(&board).await?;
        Ok(updates.into_iter().find(|update| update["status"] == "failed"))
    })
    .await?;
    let reason = failure["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("back") || reason.contains("revert"), "{reason}");
    board.until_runs(&world.api, &world.product, "1.0.0", PATIENCE).await?;
    assert_eq!(board.version_on_disk()?, "1.0.0");
    let seen = board.seen(&world.api, &world.product).await?;
    assert!(
        !seen["updates_blocked_until"].is_null(),
        "it would be told again at once: {seen}"
    );
    Ok(())
}

#[tokio::test]
async fn firmware_that_crashes_is_reverted() -> anyhow::Result<()> {
    goes_back(Behaviour::Crash).await
}

#[tokio::test]
async fn firmware_without_network_is_reverted() -> anyhow::Result<()> {
    goes_back(Behaviour::NoNetwork).await
}

#[tokio::test]
async fn firmware_that_never_validates_is_reverted() -> anyhow::Result<()> {
    goes_back(Behaviour::NeverValidates).await
}

#[tokio::test]
async fn slot_with_one_flipped_byte_is_not_booted() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (old, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let (_, new) = world.firmware(&Kiosk::new("kiosk", "1.1.0")).await?;
    let board = world.board("kiosk-0001", &old, IMPATIENT).await?;
    let power = board.power_on()?;
    board.until_runs(&world.api, &world.product, "1.0.0", PATIENCE).await?;
    world.deploy("all", &new, 1).await?;
    board.until_runs(&world.api, &world.product, "1.1.0", PATIENCE).await?;
    power.stop()?;
    let mut disk = std::fs::File::options()
        .read(true)
        .write(true)
        .open(board.folder.join("disk.img"))?;
    let place = board.slot_offset("b")? + 4096;
    let mut byte = [0];
    disk.seek(SeekFrom::Start(place))?;
    disk.read_exact(&mut byte)?;
    disk.seek(SeekFrom::Start(place))?;
    disk.write_all(&[byte[0] ^ 1])?;
    drop(disk);
    let _power = board.power_on()?;
    board.until_runs(&world.api, &world.product, "1.0.0", PATIENCE).await?;
    assert_eq!(board.version_on_disk()?, "1.0.0");
    Ok(())
}
