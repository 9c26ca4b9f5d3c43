//! What is refused at the door: unknown devices, unsigned and foreign firmware.

use std::time::{Duration, Instant};

use muster_fwup::PrivateKey;
use muster_tests::wire::{dial, request};
use muster_tests::{Kiosk, World, eventually};
use reqwest::{Method, StatusCode};

/// A refused device is answered and its connection ended within this time: HTTP would wait longer for the device.
const ENDED: Duration = Duration::from_secs(1);
const UPGRADE: &str = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
    connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: 7uul3C8MqLJlXEoic0RM0w==\r\n\r\n";

#[tokio::test]
async fn unknown_certificate_is_answered_401_with_the_time_and_counted() -> anyhow::Result<()> {
    let world = World::new(&["--metrics-token", "figures-of-this-test"]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let stranger = world.authority.device("stranger")?;
    let answer = request(dial(world.server.devices, &ca, Some(&stranger)).await?, UPGRADE)
        .await?
        .to_lowercase();
    assert!(answer.starts_with("http/1.1 401"), "{answer}");
    assert!(answer.contains("\r\ndate: "), "{answer}");
    let nobody = request(dial(world.server.devices, &ca, None).await?, UPGRADE)
        .await?
        .to_lowercase();
    assert!(
        nobody.starts_with("http/1.1 401") && nobody.contains("nh-connection-error-reason: no certificate"),
        "{nobody}"
    );
    for reason in ["unknown_ca", "no_credential"] {
        let figure = format!("muster_links_refused_total{{reason=\"{reason}\"}}");
        assert!(
            (world.server.figure("figures-of-this-test", &figure).await? - 1.0).abs() < f64::EPSILON,
            "{reason}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn other_protocol_levels_are_answered_403() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let device = world.authority.device("any")?;
    for query in ["", "?vsn=1.0.0", "?vsn=4.0.0"] {
        let upgrade = UPGRADE.replace("?vsn=2.0.0", query);
        let answer = request(dial(world.server.devices, &ca, Some(&device)).await?, &upgrade).await?;
        assert!(answer.starts_with("HTTP/1.1 403"), "{query}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn refused_device_does_not_hold_its_connection() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let stranger = world.authority.device("stranger")?;
    let refused = [
        (Some(&stranger), UPGRADE.to_owned(), "401"),
        (None, UPGRADE.to_owned(), "401"),
        (Some(&stranger), UPGRADE.replace("vsn=2", "vsn=1"), "403"),
        (Some(&stranger), UPGRADE.replace("version: 13", "version: 1"), "400"),
    ];
    for (cert, upgrade, status) in refused {
        let tls = dial(world.server.devices, &ca, cert).await?;
        let began = Instant::now();
        // Until the server ends it: this device never does.
        let answer = request(tls, &upgrade).await?;
        let took = began.elapsed();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(took < ENDED, "{status} after {took:?}");
    }
    Ok(())
}

#[tokio::test]
async fn deleted_device_is_refused_until_it_is_restored() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (old, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let boards = world.boards(1, &old, "1.0.0").await?;
    let (board, _power) = &boards[0];
    let path = format!("{}/devices/{}", world.product, board.identifier);
    assert!(world.api.call(Method::DELETE, &path, None).await?.status.is_success());
    eventually("the link to end", Duration::from_secs(20), || async {
        let seen = board.seen(&world.api, &world.product).await?;
        Ok((seen["connection_status"] == "disconnected").then_some(()))
    })
    .await?;
    let create = serde_json::json!({ "identifier": board.identifier });
    let again = world
        .api
        .call(Method::POST, &format!("{}/devices", world.product), Some(create))
        .await?;
    assert!(
        again.status.is_client_error() && again.body.to_string().contains("restore or destroy"),
        "{again:?}"
    );
    Ok(())
}

#[tokio::test]
async fn firmware_that_is_not_trusted_leaves_nothing_behind() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let kiosk = Kiosk::new("kiosk", "1.0.0");
    let good = kiosk.build(&world.key)?;
    let mut tampered = good.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 1;
    let attempts = [
        ("unsigned", kiosk.build_unsigned()?),
        ("foreign key", kiosk.build(&PrivateKey::generate()?)?),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("tampered", tampered),
        ("other product", Kiosk::new("gateway", "1.0.0").build(&world.key)?),
        ("no archive", b"not an archive at all".to_vec()),
    ];
    for (what, archive) in attempts {
        let answer = world.api.upload(&world.product, archive).await?;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{what}: {}",
            answer.body
        );
        let sentence = answer.body["errors"]["detail"].as_str().unwrap_or_default();
        assert!(sentence.len() > 20, "{what}: {}", answer.body);
    }
    assert_eq!(
        world.api.get(&format!("{}/firmwares", world.product)).await?,
        serde_json::json!([])
    );
    assert_eq!(files(&world.server.data.join("blobs"))?, 0, "a blob was left");
    assert_eq!(
        world.api.upload(&world.product, good).await?.status,
        StatusCode::CREATED
    );
    assert_eq!(files(&world.server.data.join("blobs"))?, 1);
    Ok(())
}

fn files(folder: &std::path::Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() {
            files(&entry.path())?
        } else {
            1
        };
    }
    Ok(count)
}
