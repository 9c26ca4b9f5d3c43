//! What devices prove themselves by, and that it ends when it ends: on every node, for links that are open, and for TLS
//! sessions that are resumed.

use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_link::credential::Signed;
use muster_tests::certificates::Issued;
use muster_tests::wire::{Wire, dial, dial_by, request, tls};
use muster_tests::{Kiosk, Server, World, eventually};
use reqwest::Method;
use rustls::HandshakeKind;
use serde_json::json;

const PATIENCE: Duration = Duration::from_mins(1);
/// How soon a link ends whose credential is gone.
const CUT: Duration = Duration::from_secs(2);
const UPGRADE: &str = "GET /device-socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
    connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: 7uul3C8MqLJlXEoic0RM0w==\r\n";

fn upgrade(signed: Option<&Signed>) -> String {
    let headers = signed.map(Signed::headers).into_iter().flatten();
    let request = headers.fold(UPGRADE.to_owned(), |request, (name, value)| {
        request + name + ": " + value + "\r\n"
    });
    request + "\r\n"
}

async fn is_cut(wire: &mut Wire) -> anyhow::Result<()> {
    let code = tokio::time::timeout(CUT, wire.closed()).await??;
    anyhow::ensure!(code.is_none_or(|code| code == 1001), "{code:?}");
    Ok(())
}

async fn remove(world: &World, path: &str) -> anyhow::Result<()> {
    let answer = world.api.call(Method::DELETE, path, None).await?;
    anyhow::ensure!(answer.status.is_success(), "{path}: {answer:?}");
    Ok(())
}

async fn is_seen(world: &World, identifier: &str, state: &str) -> anyhow::Result<()> {
    let path = format!("{}/devices/{identifier}", world.product);
    eventually(
        &format!("{identifier} to be {state}"),
        Duration::from_secs(10),
        || async {
            let seen = world.api.get(&path).await?;
            Ok((seen["connection_status"] == state).then_some(()))
        },
    )
    .await
}

/// The answer to an upgrade on the device listener that shows this.
async fn answer(world: &World, cert: Option<&Issued>, signed: Option<&Signed>) -> anyhow::Result<String> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    let stream = dial(world.server.devices, &ca, cert).await?;
    Ok(request(stream, &upgrade(signed)).await?.to_lowercase())
}

#[tokio::test]
async fn what_ends_on_one_node_cuts_links_on_the_other() -> anyhow::Result<()> {
    let (world, first) = World::on_two_nodes(None).await?;
    a_deactivated_secret_cuts_every_link_that_came_by_it(&world, &first).await?;
    a_removed_certificate_cuts_its_link_and_is_refused_when_resumed(&world).await?;
    a_deleted_product_cuts_its_devices(&world).await
}

async fn a_deactivated_secret_cuts_every_link_that_came_by_it(world: &World, first: &Server) -> anyhow::Result<()> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    let (secret, other) = (world.secret(None).await?, world.secret(None).await?);
    let (far, near) = (world.server.devices, first.web()?);
    let mut by_tls = Wire::open_signed(far, Some(&ca), &secret.sign("tls-1")?)
        .await?
        .join()
        .await?;
    let mut by_web = Wire::open_signed(near, None, &secret.sign("web-1")?)
        .await?
        .join()
        .await?;
    let mut stays = Wire::open_signed(far, Some(&ca), &other.sign("stays-1")?)
        .await?
        .join()
        .await?;
    for identifier in ["tls-1", "web-1", "stays-1"] {
        is_seen(world, identifier, "connected").await?;
    }
    let listed = world.api.get(&format!("{}/shared_secrets", world.product)).await?;
    assert!(listed[0]["last_used"].is_string(), "{listed}");
    remove(world, &secret.path).await?;
    is_cut(&mut by_tls).await?;
    is_cut(&mut by_web).await?;
    stays.heartbeat().await?;
    is_seen(world, "tls-1", "disconnected").await?;
    let refused = answer(world, None, Some(&secret.sign("tls-1")?)).await?;
    assert!(refused.starts_with("http/1.1 401"), "{refused}");
    Ok(())
}

async fn a_removed_certificate_cuts_its_link_and_is_refused_when_resumed(world: &World) -> anyhow::Result<()> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    for (identifier, version) in [
        ("old-tls", &rustls::version::TLS12),
        ("new-tls", &rustls::version::TLS13),
    ] {
        let cert = world.device(identifier).await?;
        let config = tls(&ca, Some(&cert), &[version])?;
        let mut wire = Wire::over(dial_by(config.clone(), world.server.devices).await?)
            .await?
            .join()
            .await?;
        wire.heartbeat().await?;
        let resumed = dial_by(config.clone(), world.server.devices).await?;
        assert_eq!(
            resumed.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Resumed),
            "{identifier}"
        );
        let mut again = Wire::over(resumed).await?.join().await?;
        is_cut(&mut wire).await?;
        let path = format!("{}/devices/{identifier}/certificates", world.product);
        let pinned = world.api.get(&path).await?;
        assert!(pinned[0]["last_used"].is_string(), "{pinned}");
        remove(
            world,
            &format!("{path}/{}", pinned[0]["serial"].as_str().unwrap_or_default()),
        )
        .await?;
        is_cut(&mut again).await?;
        let resumed = dial_by(config, world.server.devices).await?;
        assert_eq!(
            resumed.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Resumed),
            "{identifier}"
        );
        let refused = request(resumed, &upgrade(None)).await?.to_lowercase();
        assert!(refused.starts_with("http/1.1 401"), "{refused}");
    }
    Ok(())
}

async fn a_deleted_product_cuts_its_devices(world: &World) -> anyhow::Result<()> {
    let ca = std::fs::read_to_string(world.server.ca())?;
    let cert = world.device("last-1").await?;
    let mut wire = Wire::joined(world.server.devices, &ca, &cert).await?;
    remove(world, &world.product).await?;
    is_cut(&mut wire).await?;
    assert!(answer(world, Some(&cert), None).await?.starts_with("http/1.1 401"));
    Ok(())
}

/// Registers the world's CA; unknown devices of it are made.
async fn register_ca(world: &World) -> anyhow::Result<()> {
    let cas = "/orgs/default/ca_certificates";
    let token = world.api.get(&format!("{cas}/verification_token")).await?;
    let token = token["verification_token"].as_str().unwrap_or_default();
    let pack = |pem: &str| STANDARD.encode(pem);
    let registration = json!({
        "cert": pack(world.authority.pem()),
        "verification_cert": pack(&world.authority.verification(token)?.cert),
        "jitp": { "product_name": "kiosk", "tags": ["factory"], "description": "by its CA" },
    });
    world.api.post(cas, registration).await?;
    Ok(())
}

#[tokio::test]
async fn agents_come_and_are_updated_by_every_kind_of_credential() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (old, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let (_, new) = world.firmware(&Kiosk::new("kiosk", "1.1.0")).await?;
    let pinned = world.board("pinned-1", &old, "").await?;
    register_ca(&world).await?;
    let introduced = world.unregistered_board("ca-1", &old, "")?;
    let of_product = world.board_by("product-1", &old, &world.secret(None).await?, "")?;
    let devices = format!("{}/devices", world.product);
    world.api.post(&devices, json!({ "identifier": "device-1" })).await?;
    let of_device = world.board_by("device-1", &old, &world.secret(Some("device-1")).await?, "")?;
    let boards = [&pinned, &introduced, &of_product, &of_device];
    let mut powers = Vec::new();
    for board in boards {
        powers.push(board.power_on()?);
    }
    for board in boards {
        board.until_runs(&world.api, &world.product, "1.0.0", PATIENCE).await?;
    }
    world.deploy("all", &new, 4).await?;
    for board in boards {
        board.until_runs(&world.api, &world.product, "1.1.0", PATIENCE).await?;
        assert_eq!(world.until_ended(board, PATIENCE).await?.0, "succeeded");
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_renews_its_certificate_and_the_old_one_ends_with_its_first_use() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let (archive, _) = world.firmware(&Kiosk::new("kiosk", "1.0.0")).await?;
    let cas = "/orgs/default/ca_certificates";
    let own = world.api.get(cas).await?;
    let path = format!("{cas}/{}", own[0]["serial"].as_str().unwrap_or_default());
    assert_eq!(world.api.put(&path, json!({ "renews": true })).await?["renews"], true);
    world
        .api
        .post(&format!("{}/devices", world.product), json!({ "identifier": "ends-1" }))
        .await?;
    let issued = world.server.issue("ends-1", 90)?;
    // Due for the first certificate, which ends in 90 days, and for no other.
    let board = world.board_by("ends-1", &archive, &issued, "renew_before = \"2160h\"")?;
    let power = board.power_on()?;
    let certificates = format!("{}/devices/ends-1/certificates", world.product);
    let first = eventually("the first certificate to be pinned", PATIENCE, || async {
        let shown = world.api.get(&certificates).await.unwrap_or_default();
        Ok(shown[0]["serial"].as_str().map(str::to_owned))
    })
    .await?;
    let waited = eventually(
        "the certificate to be renewed and the old one to end",
        PATIENCE,
        || async {
            let shown = world.api.get(&certificates).await?;
            let is_only = shown.as_array().is_some_and(|shown| shown.len() == 1);
            Ok((is_only && shown[0]["serial"] != first.as_str() && !shown[0]["last_used"].is_null()).then_some(()))
        },
    );
    waited.await.with_context(|| board.log_tail())?;
    is_seen(&world, "ends-1", "connected").await?;
    let refused = answer(&world, Some(&issued), None).await?;
    assert!(refused.starts_with("http/1.1 401"), "{refused}");
    let current = std::fs::read_to_string(board.folder.join("state/identity/current.pem"))?;
    assert!(!current.contains(issued.cert.trim()));
    drop(power);
    let _again = board.power_on()?;
    is_seen(&world, "ends-1", "connected").await
}

#[tokio::test]
async fn a_registered_ca_introduces_devices_with_or_without_its_certificate_behind_theirs() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    register_ca(&world).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let alone = world.authority.device("alone-1")?;
    let mut with_signer = world.authority.device("chain-1")?;
    with_signer.cert.push_str(world.authority.pem());
    for (identifier, cert) in [("alone-1", &alone), ("chain-1", &with_signer)] {
        let mut wire = Wire::joined(world.server.devices, &ca, cert).await?;
        wire.heartbeat().await?;
        is_seen(&world, identifier, "connected").await?;
        let seen = world
            .api
            .get(&format!("{}/devices/{identifier}", world.product))
            .await?;
        assert_eq!(seen["tags"], json!(["factory"]));
    }
    let impostor = world.authority.device("alone-1")?;
    assert!(answer(&world, Some(&impostor), None).await?.starts_with("http/1.1 401"));
    Ok(())
}

#[tokio::test]
async fn refusals_say_no_more_than_they_must_and_always_the_time() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let secret = world.secret(None).await?;
    world
        .api
        .post(&format!("{}/devices", world.product), json!({ "identifier": "own-1" }))
        .await?;
    let own = world.secret(Some("own-1")).await?;
    let skewed = |identifier: &str, seconds: i64| {
        let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
        secret.sign_at(identifier, now.saturating_add_signed(seconds))
    };
    let mut forged = secret.sign("any-1")?;
    forged.signature.push('A');
    let mut unknown = secret.clone();
    unknown.key = format!("nhp_{}", "A".repeat(43));
    for (what, signed) in [
        ("another secret's signature", forged),
        ("an unknown key", unknown.sign("any-1")?),
        ("another device's secret", own.sign("any-1")?),
        ("a clock that is behind", skewed("any-1", -100)?),
        ("a clock that is ahead", skewed("any-1", 130)?),
        ("no identifier", secret.sign("")?),
    ] {
        let refused = answer(&world, None, Some(&signed)).await?;
        let (head, body) = refused.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with("http/1.1 401"), "{what}: {refused}");
        assert!(head.contains("\r\ndate: "), "{what}: {refused}");
        assert!(
            !head.contains("nh-connection-error-reason") && body.is_empty(),
            "{what}: {refused}"
        );
    }
    let ca = std::fs::read_to_string(world.server.ca())?;
    for (identifier, seconds) in [("behind-1", -60), ("ahead-1", 60)] {
        let good = skewed(identifier, seconds)?;
        let open = Wire::open_signed(world.server.devices, Some(&ca), &good).await?;
        open.join().await?.heartbeat().await?;
    }
    let open = Wire::open_signed(world.server.devices, Some(&ca), &own.sign("own-1")?).await?;
    open.join().await?.heartbeat().await?;
    // A certificate decides alone: one that is refused is not helped by a good signature.
    let stranger = world.authority.device("any-1")?;
    let refused = answer(&world, Some(&stranger), Some(&secret.sign("any-1")?)).await?;
    assert!(refused.starts_with("http/1.1 401"), "{refused}");
    for text in [
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        &upgrade(None).replace("GET ", "POST "),
    ] {
        let bad = request(dial(world.server.devices, &ca, None).await?, text).await?;
        assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");
    }
    Ok(())
}
