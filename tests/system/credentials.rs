//! What devices prove themselves by, and that it ends when it ends: on every node, for links that are open, and for TLS
//! sessions that are resumed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_link::credential::Signed;
use muster_tests::certificates::Issued;
use muster_tests::wire::{Wire, dial, dial_by, request, tls};
use muster_tests::{Server, World, eventually};
use reqwest::Method;
use rustls::HandshakeKind;
use serde_json::json;

/// How soon a link ends whose credential is gone.
const CUT: Duration = Duration::from_secs(2);
const UPGRADE: &str = "GET /device-socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
    connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: 7uul3C8MqLJlXEoic0RM0w==\r\n";

fn upgrade(signed: Option<&Signed>) -> String {
    let headers = signed.map(Signed::headers).into_iter().flatten();
    let lines: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{UPGRADE}{lines}\r\n")
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

#[tokio::test]
async fn a_registered_ca_introduces_devices_with_or_without_its_certificate_behind_theirs() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
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
