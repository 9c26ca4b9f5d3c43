//! The main job, end to end.

use std::time::Duration;

use muster_tests::{Kiosk, World, eventually};
use serde_json::json;

/// How long a rollout of a few boards may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn signed_firmware_reaches_every_board_and_each_proves_it() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (old, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let (_, new) = world.firmware(&Kiosk::new("kiosk", "1.1.0")).await?;
    let boards = world.boards(3, &old, "1.0.0").await?;
    world.deploy("all", &new, 2).await?;
    for (board, _) in &boards {
        board.until_runs(&world.api, &world.product, "1.1.0", PATIENCE).await?;
        assert_eq!(board.version_on_disk()?, "1.1.0");
        assert_eq!(world.until_ended(board, PATIENCE).await?.0, "succeeded");
    }
    for (board, power) in boards {
        eventually("validation on the disk", PATIENCE, || async {
            Ok((board.environment()?.get("nerves_fw_validated") == Some("1")).then_some(()))
        })
        .await?;
        power.stop()?;
    }
    world.server.stop()
}

#[tokio::test]
async fn stopped_deployment_tells_nobody_and_goes_on_when_started() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (old, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let (_, new) = world.firmware(&Kiosk::new("kiosk", "1.1.0")).await?;
    world.deploy("all", &new, 10).await?;
    let path = format!("{}/deployments/all", world.product);
    world
        .api
        .put(&path, json!({ "deployment": { "state": "off" } }))
        .await?;
    let boards = world.boards(2, &old, "1.0.0").await?;
    for (board, _) in &boards {
        assert_eq!(
            world.updates(board).await?.len(),
            0,
            "{} was told while stopped",
            board.identifier
        );
    }
    world.api.put(&path, json!({ "deployment": { "state": "on" } })).await?;
    for (board, _) in &boards {
        board.until_runs(&world.api, &world.product, "1.1.0", PATIENCE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn board_that_asks_for_later_is_told_again_then() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (old, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let (_, new) = world.firmware(&Kiosk::new("kiosk", "1.1.0")).await?;
    let policy = r#"if [ "$MUSTER_UPDATE_RESCHEDULES" = 0 ]; then echo "reschedule 1s busy"; else echo apply; fi"#;
    let board = world.board_with_policy("kiosk-0001", &old, policy).await?;
    let _power = board.power_on()?;
    world.deploy("all", &new, 1).await?;
    board.until_runs(&world.api, &world.product, "1.1.0", PATIENCE).await?;
    world.until_ended(&board, PATIENCE).await?;
    let updates = world.updates(&board).await?;
    let (first, last) = (&updates[updates.len() - 1], &updates[0]);
    assert_eq!(
        (first["status"].as_str(), first["reason"].as_str()),
        (Some("rescheduled"), Some("busy"))
    );
    assert_eq!(last["status"], "succeeded");
    Ok(())
}
