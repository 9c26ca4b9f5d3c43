//! Two nodes on one database and one store: to devices and operators they are one server.

use std::time::Duration;

use anyhow::Context as _;
use muster_tests::nodes::Nats;
use muster_tests::wire::Wire;
use muster_tests::{Kiosk, World, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(1);
/// How soon a link ends whose credential is gone.
const CUT: Duration = Duration::from_secs(2);
/// How soon the death of a node is noticed.
const BURIED: Duration = Duration::from_secs(30);

#[tokio::test]
async fn two_nodes_woken_by_postgres_are_one_server() -> anyhow::Result<()> {
    let (world, first) = World::on_two_nodes(None).await?;
    rolls_out_across_nodes(&world, "1.1.0").await?;
    newest_link_wins(&world, &first).await?;
    commands_reach_who_is_connected(&world).await?;
    deleted_device_is_cut_off(&world).await?;
    moved_device_comes_back_in_its_new_product(&world).await?;
    dead_node_is_noticed(world).await
}

#[tokio::test]
async fn two_nodes_woken_by_nats_are_one_server_even_while_nats_is_away() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut nats = Nats::start(folder.path()).await?;
    let (world, first) = World::on_two_nodes(Some(&nats)).await?;
    rolls_out_across_nodes(&world, "1.1.0").await?;
    newest_link_wins(&world, &first).await?;
    commands_reach_who_is_connected(&world).await?;
    deleted_device_is_cut_off(&world).await?;
    nats.kill();
    rolls_out_across_nodes(&world, "1.2.0").await?;
    let _nats = nats.replace().await?;
    rolls_out_across_nodes(&world, "1.3.0").await?;
    dead_node_is_noticed(world).await
}

/// What is said to the first node reaches devices of the second.
async fn rolls_out_across_nodes(world: &World, version: &str) -> anyhow::Result<()> {
    let (old, _) = world.firmware(&Kiosk::new("kiosk", &format!("{version}-rc.1"))).await?;
    let (_, new) = world.firmware(&Kiosk::new("kiosk", version)).await?;
    let board = world.board(&format!("kiosk-{version}"), &old, "").await?;
    let _power = board.power_on()?;
    board
        .until_runs(&world.api, &world.product, &format!("{version}-rc.1"), PATIENCE)
        .await?;
    world.deploy(&format!("all-{version}"), &new, 1).await?;
    board.until_runs(&world.api, &world.product, version, PATIENCE).await?;
    assert_eq!(world.until_ended(&board, PATIENCE).await?.0, "succeeded");
    let stop = json!({ "deployment": { "state": "off" } });
    world
        .api
        .put(&format!("{}/deployments/all-{version}", world.product), stop)
        .await?;
    Ok(())
}

async fn newest_link_wins(world: &World, first: &muster_tests::Server) -> anyhow::Result<()> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    let cert = world.device("wanderer").await?;
    let mut old = Wire::joined(first.devices, &ca, &cert).await?;
    old.heartbeat().await?;
    let mut new = Wire::joined(world.server.devices, &ca, &cert).await?;
    assert!(old.closed().await?.is_none_or(|code| code == 1001));
    new.heartbeat().await?;
    // The goodbye of the old link comes late and changes nothing.
    let path = format!("{}/devices/wanderer", world.product);
    assert_eq!(world.api.get(&path).await?["connection_status"], "connected");
    let mut back = Wire::joined(first.devices, &ca, &cert).await?;
    assert!(new.closed().await?.is_none_or(|code| code == 1001));
    back.heartbeat().await
}

/// What is asked of the first node reaches devices of the second, once; and all of a product by one request.
async fn commands_reach_who_is_connected(world: &World) -> anyhow::Result<()> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    let mut wires = Vec::new();
    for name in ["north", "south", "west"] {
        let cert = world.device(name).await?;
        wires.push(Wire::joined(world.server.devices, &ca, &cert).await?);
    }
    let ask = async |path: &str, body: Option<Value>| {
        let path = format!("{}{path}", world.product);
        world.api.call(reqwest::Method::POST, &path, body).await
    };
    let told = ask("/devices/south/identify", None).await?;
    assert_eq!(told.status, 204, "{told:?}");
    let heard = wires[1].next().await?.context("the link ended")?;
    assert_eq!(
        (&heard[2], &heard[3]),
        (&json!("device"), &json!("identify")),
        "{heard}"
    );

    let told = ask("/commands", Some(json!({ "command": "reboot" }))).await?.data()?;
    assert_eq!(told["command"], "reboot");
    assert!(told["connected"].as_i64() >= Some(3), "{told}");
    for wire in &mut wires {
        let heard = wire.next().await?.context("the link ended")?;
        assert_eq!((&heard[3], &heard[4]), (&json!("reboot"), &json!({})), "{heard}");
    }
    let refused = ask("/commands", Some(json!({ "command": "explode" }))).await?;
    assert_eq!(refused.status, 422, "{refused:?}");

    let told = ask("/devices/west/reconnect", None).await?;
    assert_eq!(told.status, 204, "{told:?}");
    let code = tokio::time::timeout(CUT, wires[2].closed()).await??;
    assert!(code.is_none_or(|code| code == 1001), "{code:?}");
    // The others were asked nothing more.
    wires[0].heartbeat().await?;
    wires[1].heartbeat().await
}

async fn deleted_device_is_cut_off(world: &World) -> anyhow::Result<()> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    let cert = world.device("leaver").await?;
    let mut wire = Wire::joined(world.server.devices, &ca, &cert).await?;
    world
        .api
        .call(
            reqwest::Method::DELETE,
            &format!("{}/devices/leaver", world.product),
            None,
        )
        .await?;
    let code = tokio::time::timeout(CUT, wire.closed()).await??;
    assert!(code.is_none_or(|code| code == 1001), "{code:?}");
    Ok(())
}

async fn moved_device_comes_back_in_its_new_product(world: &World) -> anyhow::Result<()> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    let cert = world.device("mover").await?;
    let mut wire = Wire::joined(world.server.devices, &ca, &cert).await?;
    let products = world.product.rsplit_once('/').context("no path")?.0;
    world.api.post(products, json!({ "name": "elsewhere" })).await?;
    let path = format!("{}/devices/mover/move?new_product_name=elsewhere", world.product);
    let moved = world.api.post(&path, json!({})).await?;
    assert_eq!(moved["product_name"], "elsewhere");
    let code = tokio::time::timeout(CUT, wire.closed()).await??;
    assert!(code.is_none_or(|code| code == 1001), "{code:?}");
    let mut back = Wire::joined(world.server.devices, &ca, &cert).await?;
    back.heartbeat().await?;
    let shown = world.api.get(&format!("{products}/elsewhere/devices/mover")).await?;
    assert_eq!(shown["connection_status"], "connected");
    Ok(())
}

async fn dead_node_is_noticed(world: World) -> anyhow::Result<()> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    let cert = world.device("orphan").await?;
    let mut wire = Wire::joined(world.server.devices, &ca, &cert).await?;
    wire.heartbeat().await?;
    let path = format!("{}/devices/orphan", world.product);
    let api = world.api.clone();
    assert_eq!(api.get(&path).await?["connection_status"], "connected");
    world.server.kill();
    eventually("the node's death to be noticed", BURIED, || async {
        Ok((api.get(&path).await?["connection_status"] == "disconnected").then_some(()))
    })
    .await
}
