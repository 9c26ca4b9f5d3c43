//! Extensions are switched while devices are connected: on every node, at once, without a reconnect.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use muster_tests::wire::Wire;
use muster_tests::{Board, Kiosk, World, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::{Mutex, Notify};

const PATIENCE: Duration = Duration::from_mins(1);
/// How soon a link knows of a switch.
const SWITCHED: Duration = Duration::from_secs(2);
/// What is written in batches is there after this time.
const WRITTEN: Duration = Duration::from_secs(10);
const OFFER: &str = r#"["3","3","extensions","phx_join",{"health":"0.0.1","geo":"0.0.1"}]"#;

async fn switch(world: &World, path: &str, extensions: Value) -> anyhow::Result<()> {
    let path = format!("{}{path}", world.product);
    world.api.put(&path, json!({ "extensions": extensions })).await?;
    Ok(())
}

/// Waits until the agent logged this of the extension.
async fn until_logged(board: &Board, said: &str, extension: &str) -> anyhow::Result<()> {
    eventually(&format!("{extension}: {said}"), SWITCHED, || async {
        let mut lines = board.log();
        Ok(lines
            .find(|line| line["message"] == said && line["extension"] == extension)
            .map(drop))
    })
    .await
    .with_context(|| board.log_tail())
}

#[tokio::test]
async fn a_switch_reaches_a_connected_agent_and_what_it_reports_is_kept() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (old, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let extensions = "\n[extensions]\nlogging = true\n\
        network_identity = [{ service = \"wireguard\", identifier = \"KEY\", instance = \"wg0\", details = { ip = \"10.8.0.4\" } }]";
    let board = world.board("kiosk-0001", &old, extensions).await?;
    let _power = board.power_on()?;
    board.until_runs(&world.api, &world.product, "1.0.0", PATIENCE).await?;
    let database = Mutex::new(PgConnection::connect(&world.server.database_url()?).await?);

    switch(
        &world,
        "",
        json!({ "health": true, "logging": true, "network_identity": true }),
    )
    .await?;
    for extension in ["health", "logging", "network_identity"] {
        until_logged(&board, "extension attached", extension).await?;
    }
    let device = format!("{}/devices/kiosk-0001", world.product);
    let keys = eventually("its key", WRITTEN, || async {
        let keys = world
            .api
            .get(&format!("{device}/network_identities?service=wireguard"))
            .await?;
        Ok(keys.get(0).cloned())
    })
    .await?;
    assert_eq!(
        (&keys["identifier"], &keys["details"]["ip"]),
        (&json!("KEY"), &json!("10.8.0.4"))
    );
    for table in [
        "device_reports WHERE kind = 'health' AND report->'metrics' ? 'load_1min'",
        "device_log_lines",
    ] {
        eventually(table, WRITTEN, || async {
            let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
            let rows: i64 = sqlx::query_scalar(sql).fetch_one(&mut *database.lock().await).await?;
            Ok((rows > 0).then_some(()))
        })
        .await?;
    }

    switch(&world, "", json!({ "health": false })).await?;
    until_logged(&board, "extension detached", "health").await?;
    switch(&world, "/devices/kiosk-0001", json!({ "logging": false })).await?;
    until_logged(&board, "extension detached", "logging").await?;
    let links = world.api.get(&format!("{device}/links")).await?;
    assert_eq!(
        (&links["last_hour"], &links["ended"]),
        (&json!(1), &json!([])),
        "it did not reconnect"
    );
    Ok(())
}

/// The next message, which must come in time.
async fn next(wire: &mut Wire, patience: Duration) -> anyhow::Result<Value> {
    let next = tokio::time::timeout(patience, wire.next())
        .await
        .context("nothing came")??;
    next.context("the link ended")
}

#[tokio::test]
async fn a_switch_on_one_node_reaches_links_of_the_other() -> anyhow::Result<()> {
    let (world, first) = World::on_two_nodes(None).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let (near, far) = (world.device("near").await?, world.device("far").await?);
    let mut wires = [
        Wire::joined(first.devices, &ca, &near).await?,
        Wire::joined(world.server.devices, &ca, &far).await?,
    ];
    for wire in &mut wires {
        wire.send(OFFER).await?;
        assert_eq!(next(wire, SWITCHED).await?[4]["response"], json!([]));
    }
    switch(&world, "", json!({ "geo": true })).await?;
    for wire in &mut wires {
        let attach = next(wire, SWITCHED).await?;
        assert_eq!(
            (&attach[3], &attach[4]["extensions"]),
            (&json!("attach"), &json!(["geo"]))
        );
        wire.send(r#"["3","4","extensions","geo:attached",{}]"#).await?;
        assert_eq!(next(wire, SWITCHED).await?[3], "geo:location:request");
    }
    // Of one device: the other hears nothing of it.
    switch(&world, "/devices/far", json!({ "geo": false })).await?;
    assert_eq!(next(&mut wires[1], SWITCHED).await?[3], "detach");
    wires[0].heartbeat().await?;
    switch(&world, "", json!({ "geo": false, "health": true })).await?;
    for wire in &mut wires {
        let mut said = Vec::new();
        while said.last() != Some(&json!("attach")) {
            said.push(next(wire, SWITCHED).await?[3].clone());
        }
        wire.heartbeat().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_device_that_logs_too_much_is_cut_short_and_nothing_else() -> anyhow::Result<()> {
    let world = World::new(&["--metrics-token", "figures-of-this-test"]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let cert = world.device("chatty").await?;
    switch(&world, "", json!({ "logging": true })).await?;
    let mut wire = Wire::joined(world.server.devices, &ca, &cert).await?;
    wire.send(r#"["3","3","extensions","phx_join",{"logging":"0.0.1"}]"#)
        .await?;
    assert_eq!(next(&mut wire, WRITTEN).await?[4]["response"], json!(["logging"]));
    wire.send(r#"["3","4","extensions","logging:attached",{}]"#).await?;
    let began = Instant::now();
    for number in 0..100 {
        let line =
            json!({ "level": "info", "message": format!("line {number}"), "meta": { "time": "1760000000123456" } });
        wire.send(&json!(["3", "5", "extensions", "logging:send", line]).to_string())
            .await?;
    }
    wire.heartbeat().await?;
    let most = 10.0 + 5.0 * began.elapsed().as_secs_f64().ceil();
    let name = "muster_device_log_lines_dropped_total{reason=\"rate\"}";
    let dropped = world.server.figure("figures-of-this-test", name).await?;
    assert!(dropped >= 100.0 - most && dropped <= 90.0, "{dropped} were dropped");
    let database = Mutex::new(PgConnection::connect(&world.server.database_url()?).await?);
    eventually("the others", WRITTEN, || async {
        let sql = "SELECT count(*) FROM device_log_lines WHERE message LIKE 'line %' AND level = 'info'";
        let kept: i64 = sqlx::query_scalar(sql).fetch_one(&mut *database.lock().await).await?;
        Ok((kept == 100 - dropped as i64).then_some(()))
    })
    .await
}

/// Reads until the join is over and the device may, or may not, use `health`.
async fn until_settled(mut wire: Wire, on: bool) -> anyhow::Result<()> {
    let (mut may, mut is_joined) = (false, false);
    while !is_joined || may != on {
        let said = next(&mut wire, WRITTEN)
            .await
            .with_context(|| format!("it may: {may}, joined: {is_joined}"))?;
        match said[3].as_str() {
            Some("phx_reply") if said[2] == "extensions" => may = said[4]["response"] == json!(["health"]),
            Some("attach") => may = true,
            Some("detach") => may = false,
            // The last that a join brings.
            Some("extensions:get") => is_joined = true,
            _ => {}
        }
    }
    Ok(())
}

#[tokio::test]
async fn devices_that_join_while_it_is_switched_end_up_right() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let mut certs = Vec::new();
    for number in 0..24 {
        certs.push(world.device(&format!("d-{number}")).await?);
    }
    for round in 0..4 {
        let on = round % 2 == 0;
        let halfway = Notify::new();
        let come = async {
            let mut wires = Vec::new();
            for (number, cert) in certs.iter().enumerate() {
                let mut wire = Wire::open(world.server.devices, &ca, cert).await?;
                wire.send(r#"["1","1","device","phx_join",{"device_api_version":"2.3.0"}]"#)
                    .await?;
                wire.send(OFFER).await?;
                wires.push(wire);
                if number == 5 * round {
                    halfway.notify_one();
                }
            }
            anyhow::Ok(wires)
        };
        let act = async {
            halfway.notified().await;
            switch(&world, "", json!({ "health": on })).await
        };
        let (wires, ()) = tokio::try_join!(come, act)?;
        let settled = wires.into_iter().map(|wire| until_settled(wire, on));
        try_join_all(settled).await.with_context(|| format!("round {round}"))?;
    }
    Ok(())
}
