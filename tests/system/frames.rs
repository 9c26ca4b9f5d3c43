//! What no well-behaved device sends: the link of who sends it ends or goes on, and the others feel nothing.

use muster_tests::World;
use muster_tests::wire::Wire;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn malformed_frames_end_their_own_link_only() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let (good, bad) = (world.device("good").await?, world.device("bad").await?);
    let mut calm = Wire::joined(world.server.devices, &ca, &good).await?;
    let large = format!(r#"["1","2","device","fwup_progress",{{"x":"{}"}}]"#, "x".repeat(70_000));
    let oversized = "x".repeat(1024 * 1024 + 100);
    let before_join = [
        ("not json", "hello"),
        ("an object", "{}"),
        ("too large before the join", large.as_str()),
    ];
    for (what, text) in before_join {
        let mut wire = Wire::open(world.server.devices, &ca, &bad).await?;
        wire.send(text).await?;
        assert!(
            wire.closed().await?.is_none_or(|code| code == 1007 || code == 1009),
            "{what}"
        );
        calm.heartbeat().await?;
    }
    let mut wire = Wire::joined(world.server.devices, &ca, &bad).await?;
    wire.send(&large).await?;
    wire.heartbeat().await?;
    let _ = wire.send(&oversized).await;
    assert!(wire.closed().await?.is_none_or(|code| code == 1009));
    calm.heartbeat().await
}

#[tokio::test]
async fn unknown_events_topics_and_binary_frames_are_ignored() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let cert = world.device("odd").await?;
    let mut wire = Wire::joined(world.server.devices, &ca, &cert).await?;
    for text in [
        r#"["1","5","device","no_such_event",{}]"#,
        r#"["1","5","device","status_update",{"status":7}]"#,
        r#"["1","5","device","fwup_progress",{"value":"many"}]"#,
        r#"["1","5","nowhere","event",{}]"#,
        r#"["9","5","device","rebooting",{}]"#,
    ] {
        wire.send(text).await?;
    }
    wire.send_raw(Message::binary(vec![0, 1, 2])).await?;
    wire.heartbeat().await
}

#[tokio::test]
async fn newest_link_of_a_device_wins() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let cert = world.device("twice").await?;
    let mut first = Wire::joined(world.server.devices, &ca, &cert).await?;
    let mut second = Wire::joined(world.server.devices, &ca, &cert).await?;
    assert!(first.closed().await?.is_none_or(|code| code == 1001));
    second.heartbeat().await?;
    let seen = world.api.get(&format!("{}/devices/twice", world.product)).await?;
    assert_eq!(seen["connection_status"], "connected");
    Ok(())
}

#[tokio::test]
async fn certificate_that_is_removed_ends_its_link() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let cert = world.device("gone").await?;
    let mut wire = Wire::joined(world.server.devices, &ca, &cert).await?;
    let path = format!("{}/devices/gone/certificates", world.product);
    let serial = world.api.get(&path).await?[0]["serial"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let removed = world
        .api
        .call(reqwest::Method::DELETE, &format!("{path}/{serial}"), None)
        .await?;
    assert!(removed.status.is_success(), "{removed:?}");
    assert!(wire.closed().await?.is_none_or(|code| code == 1001));
    assert!(Wire::open(world.server.devices, &ca, &cert).await.is_err());
    Ok(())
}
