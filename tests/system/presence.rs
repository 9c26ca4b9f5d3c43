//! What is shown of a device's link is true: after the server is killed, Postgres is restarted, the network is cut. No
//! device is shown as connected that has not been for longer than 90 s.

use std::time::{Duration, Instant};

use muster_tests::proxy::Proxy;
use muster_tests::wire::Wire;
use muster_tests::{World, eventually, postgres};
use serde_json::Value;

/// What is written in batches is there after this time.
const WRITTEN: Duration = Duration::from_secs(10);
/// A device may be shown as connected for so long after it was gone.
const UNTRUE_MAX: Duration = Duration::from_secs(90);

async fn status(world: &World, device: &str) -> anyhow::Result<String> {
    let seen = world.api.get(&format!("{}/devices/{device}", world.product)).await?;
    Ok(seen["connection_status"].as_str().unwrap_or_default().to_owned())
}

async fn until(world: &World, device: &str, wanted: &str, patience: Duration) -> anyhow::Result<()> {
    eventually(&format!("{device} to be {wanted}"), patience, || async {
        Ok((status(world, device).await? == wanted).then_some(()))
    })
    .await
}

/// The links that have ended, newest first, and how many were opened in the last hour.
async fn links(world: &World, device: &str) -> anyhow::Result<(Vec<Value>, i64)> {
    let links = world
        .api
        .get(&format!("{}/devices/{device}/links", world.product))
        .await?;
    let ended = links["ended"].as_array().cloned().unwrap_or_default();
    Ok((ended, links["last_hour"].as_i64().unwrap_or_default()))
}

async fn last_reason(world: &World, device: &str) -> anyhow::Result<String> {
    let (ended, _) = links(world, device).await?;
    let reason = ended.first().and_then(|link| link["reason"].as_str());
    Ok(reason.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn killed_server_shows_nobody_as_connected_who_has_not_come_back() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let (back, gone) = (world.device("back").await?, world.device("gone").await?);
    let mut links_of_before = Vec::new();
    for cert in [&back, &gone] {
        links_of_before.push(Wire::joined(world.server.devices, &ca, cert).await?);
    }
    until(&world, "gone", "connected", WRITTEN).await?;
    let world = world.kill_and_restart_server().await?;
    // From the first answer on.
    assert_eq!(status(&world, "gone").await?, "disconnected");
    assert_eq!(last_reason(&world, "gone").await?, "server_stopped");
    let mut wire = Wire::joined(world.server.devices, &ca, &back).await?;
    wire.heartbeat().await?;
    assert_eq!(status(&world, "back").await?, "connected");
    assert_eq!(status(&world, "gone").await?, "disconnected");
    Ok(())
}

#[tokio::test]
async fn restart_of_postgres_ends_no_link_and_loses_no_end_of_one() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let certs = [
        world.device("stays").await?,
        world.device("leaves").await?,
        world.device("comes").await?,
    ];
    let mut stays = Wire::joined(world.server.devices, &ca, &certs[0]).await?;
    let leaves = Wire::joined(world.server.devices, &ca, &certs[1]).await?;
    until(&world, "leaves", "connected", WRITTEN).await?;
    let stopped = postgres::stop(&world.server).await?;
    drop(leaves);
    stays.heartbeat().await?;
    let refused = Wire::open(world.server.devices, &ca, &certs[2]).await;
    assert!(refused.is_err(), "nobody can be known while the database is away");
    let _postgres = stopped.start().await?;
    eventually("the device to come", WRITTEN, || async {
        Ok(Wire::joined(world.server.devices, &ca, &certs[2]).await.ok())
    })
    .await?;
    until(&world, "leaves", "disconnected", WRITTEN).await?;
    assert_eq!(last_reason(&world, "leaves").await?, "lost");
    stays.heartbeat().await?;
    assert_eq!(status(&world, "stays").await?, "connected");
    assert_eq!(
        links(&world, "stays").await?.0,
        Vec::<Value>::new(),
        "its link did not end"
    );
    Ok(())
}

#[tokio::test]
async fn device_whose_network_is_cut_is_shown_so_within_90_seconds() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let (cut, calm) = (world.device("cut").await?, world.device("calm").await?);
    let proxy = Proxy::to(world.server.devices).await?;
    let mut dark = Wire::joined(proxy.addr(), &ca, &cut).await?;
    let mut light = Wire::joined(world.server.devices, &ca, &calm).await?;
    dark.heartbeat().await?;
    until(&world, "cut", "connected", WRITTEN).await?;
    let began = Instant::now();
    proxy.go_dark();
    while status(&world, "cut").await? == "connected" {
        assert!(began.elapsed() < UNTRUE_MAX, "it is still shown as connected");
        light.heartbeat().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(status(&world, "cut").await?, "disconnected");
    assert_eq!(last_reason(&world, "cut").await?, "idle");
    assert_eq!(status(&world, "calm").await?, "connected");
    Ok(())
}

#[tokio::test]
async fn links_come_and_go_and_a_flapping_device_is_seen() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let cert = world.device("flapper").await?;
    assert_eq!(status(&world, "flapper").await?, "not_seen");
    // It opens a link and does not join.
    let silent = Wire::open(world.server.devices, &ca, &cert).await?;
    until(&world, "flapper", "connecting", WRITTEN).await?;
    drop(silent);
    until(&world, "flapper", "disconnected", WRITTEN).await?;
    for _ in 0..5 {
        drop(Wire::joined(world.server.devices, &ca, &cert).await?);
        until(&world, "flapper", "disconnected", WRITTEN).await?;
    }
    let mut bad = Wire::joined(world.server.devices, &ca, &cert).await?;
    until(&world, "flapper", "connected", WRITTEN).await?;
    bad.send("no frame").await?;
    assert_eq!(bad.closed().await?, Some(1007));
    until(&world, "flapper", "disconnected", WRITTEN).await?;
    let (ended, last_hour) = links(&world, "flapper").await?;
    let reasons: Vec<&str> = ended.iter().filter_map(|link| link["reason"].as_str()).collect();
    assert_eq!(reasons, ["malformed", "lost", "lost", "lost", "lost", "lost", "lost"]);
    assert_eq!(last_hour, 7);
    Ok(())
}
