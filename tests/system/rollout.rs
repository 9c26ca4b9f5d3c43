//! The main job, end to end.

use std::time::Duration;

use muster_tests::proxy::{Proxy, free_port};
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

#[tokio::test]
async fn download_whose_url_expired_goes_on_with_a_fresh_one_and_the_bytes_it_has() -> anyhow::Result<()> {
    /// What the URLs of this server are good for, in seconds.
    const LIFETIME: u64 = 2;
    let devices = format!("127.0.0.1:{}", free_port()?);
    let wire = Proxy::to(devices.parse()?).await?;
    let (firmware_url, lifetime) = (format!("https://{}", wire.addr()), format!("{LIFETIME}s"));
    let world = World::new(&[
        "--devices",
        &devices,
        "--firmware-url",
        &firmware_url,
        "--firmware-url-lifetime",
        &lifetime,
    ])
    .await?;
    let large = |version| Kiosk {
        root_bytes: 2_000_000,
        ..Kiosk::new("kiosk", version)
    };
    let (old, _) = world.firmware(&large("1.0.0")).await?;
    let (archive, new) = world.firmware(&large("1.1.0")).await?;
    let board = world.board("kiosk-0001", &old, "").await?;
    let _power = board.power_on()?;
    wire.cut_and_hold(archive.len() as u64 / 2);
    world.deploy("all", &new, 1).await?;
    eventually("the download to be cut", PATIENCE, || async {
        Ok((wire.cuts_made() == 1).then_some(()))
    })
    .await?;
    // The server's clock is the machine's: the URL ends when it ends.
    tokio::time::sleep(Duration::from_secs(LIFETIME + 1)).await;
    wire.release();
    board.until_runs(&world.api, &world.product, "1.1.0", PATIENCE).await?;
    assert_eq!(world.until_ended(&board, PATIENCE).await?.0, "succeeded");
    assert_eq!(world.updates(&board).await?.len(), 1, "the attempt that began went on");
    let kept: Vec<u64> = board
        .log()
        .filter(|line| line["message"] == "download URL expired")
        .filter_map(|line| line["at_byte"].as_u64())
        .collect();
    assert!(
        kept.iter().any(|bytes| *bytes > archive.len() as u64 / 4),
        "went on with {kept:?} of {} bytes\n{}",
        archive.len(),
        board.log_tail()
    );
    Ok(())
}
