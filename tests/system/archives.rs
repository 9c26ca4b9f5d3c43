//! What devices get beside their firmware: the archive of their deployment's release, verified and handed to the product's
//! program, once; and the code that runs at each connect.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use muster_tests::wire::Wire;
use muster_tests::{Board, Kiosk, World, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(1);
/// Tables of an agent that takes archives and runs scripts. A program notes what it got where the test finds it.
const TABLES: &str = r#"
[hooks]
archive = ["/bin/sh", "-c", "cp $MUSTER_ARCHIVE_FILE $MUSTER_STATE_DIR/$MUSTER_ARCHIVE_UUID && echo $MUSTER_ARCHIVE_UUID $MUSTER_ARCHIVE_VERSION >> $MUSTER_STATE_DIR/taken"]

[scripts]
interpreter = ["/bin/sh"]
"#;

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until a file of the board's has so many lines, and gives them.
async fn until_lines(board: &Board, file: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let path = board.folder.join("state").join(file);
    let what = format!("{count} lines in {file}");
    let waited = eventually(&what, PATIENCE, || async {
        let lines = lines(&path);
        Ok((lines.len() >= count).then_some(lines))
    });
    waited.await.with_context(|| board.log_tail())
}

async fn put(world: &World, path: &str, body: Value) -> anyhow::Result<Value> {
    world.api.put(&format!("{}/{path}", world.product), body).await
}

/// The API is of one node and the devices' links are on the other: all that is live crosses.
#[tokio::test]
async fn an_archive_of_a_release_reaches_the_agents_program_once() -> anyhow::Result<()> {
    let (world, _first) = World::on_two_nodes(None).await?;
    let (old, firmware) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let (archive, uuid) = world.archive("0.1.0").await?;
    let board = world.board("kiosk-0001", &old, TABLES).await?;
    let note = |word: &str| format!("echo {word} >> {}", board.folder.join("state/connects").display());
    world.deploy("all", &firmware, 1).await?;
    put(&world, "deployments/all", json!({ "connecting_code": note("group") })).await?;
    put(
        &world,
        "devices/kiosk-0001",
        json!({ "connecting_code": note("device") }),
    )
    .await?;
    let parts = json!({ "deployment": { "firmware": firmware, "archive": uuid } });
    assert_eq!(
        put(&world, "deployments/all", parts).await?["archive_uuid"],
        uuid.as_str()
    );

    // It comes into the group after its first join, and is sent the archive then.
    let power = board.power_on()?;
    assert_eq!(until_lines(&board, "taken", 1).await?, [format!("{uuid} 0.1.0")]);
    assert!(
        std::fs::read(board.folder.join("state").join(&uuid))? == archive,
        "the bytes that were uploaded"
    );
    assert_eq!(until_lines(&board, "connects", 1).await?, ["device"]);
    let what = "the agent to have noted it";
    eventually(what, PATIENCE, || async {
        Ok(board.log().any(|line| line["message"] == "archive taken").then_some(()))
    })
    .await?;
    power.cut();

    // The second join brings it again, before the code of connects: what that writes comes after.
    let power = board.power_on()?;
    assert_eq!(until_lines(&board, "connects", 3).await?, ["device", "group", "device"]);
    assert_eq!(until_lines(&board, "taken", 1).await?.len(), 1, "it is taken once");

    // Another release, while the link stands.
    let (_, newer) = world.archive("0.2.0").await?;
    let parts = json!({ "deployment": { "firmware": firmware, "archive": newer } });
    put(&world, "deployments/all", parts).await?;
    assert_eq!(until_lines(&board, "taken", 2).await?[1], format!("{newer} 0.2.0"));
    let used = world
        .api
        .call(
            reqwest::Method::DELETE,
            &format!("{}/archives/{uuid}", world.product),
            None,
        )
        .await?;
    assert_eq!(used.status, 422, "{}", used.body);
    power.stop()
}

#[tokio::test]
async fn code_of_connects_that_fails_is_counted_and_old_devices_get_it_typed() -> anyhow::Result<()> {
    let world = World::new(&["--metrics-token", "figures-of-this-test"]).await?;
    let (old, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let board = world.board("kiosk-0001", &old, TABLES).await?;
    put(&world, "devices/kiosk-0001", json!({ "connecting_code": "exit 3" })).await?;
    let power = board.power_on()?;
    eventually("the failure to be counted", PATIENCE, || async {
        let name = "muster_connecting_codes_total{outcome=\"failed\"}";
        let failed = world.server.figure("figures-of-this-test", name).await?;
        Ok((failed >= 1.0).then_some(()))
    })
    .await
    .with_context(|| board.log_tail())?;
    power.stop()?;

    let cert = world.device("old-0001").await?;
    put(
        &world,
        "devices/old-0001",
        json!({ "connecting_code": "Toolshed.hi()" }),
    )
    .await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let mut wire = Wire::open(world.server.devices, &ca, &cert).await?;
    wire.send(r#"["1","1","device","phx_join",{"device_api_version":"2.0.0"}]"#)
        .await?;
    wire.send(r#"["2","2","console","phx_join",{"console_version":"2.0.0"}]"#)
        .await?;
    let typed = json!(["2", null, "console", "dn", { "data": "Toolshed.hi()\n\r" }]);
    let heard = tokio::time::timeout(PATIENCE, async {
        loop {
            let message = wire.next().await?.context("the link ended")?;
            anyhow::ensure!(message[3] != "scripts/run", "{message}");
            if message == typed {
                return anyhow::Ok(());
            }
        }
    });
    heard.await?
}
