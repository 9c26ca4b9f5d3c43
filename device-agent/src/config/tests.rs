use std::path::Path;
use std::time::Duration;

use super::{ConfigError, PlatformKind, Settings, TlsVersions};
use crate::identity::Proof;

const MINIMAL: &str = r#"
[server]
url = "wss://127.0.0.1:4001"
ca = "ca.pem"
[identity]
identifier = "kiosk-0001"
cert = "device.pem"
key = "/keys/device.key"
[firmware]
disk = "disk.img"
fw_env_config = "fw_env.config"
public_keys = ["NpjkAsCCtnGM7+CqyHNlpdMXpf/HF4bGxY6LSsgmHh0="]
task = "upgrade"
[agent]
state_dir = "state"
platform = "virtual"
"#;

fn parse(text: &str) -> Result<Settings, ConfigError> {
    Settings::parse(text, Path::new("/etc/muster/agent.toml"))
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn minimal_file_gets_the_documented_defaults() {
    let settings = parse(MINIMAL).unwrap();
    assert_eq!(
        settings.server.url.to_string(),
        "wss://127.0.0.1:4001/socket/websocket?vsn=2.0.0"
    );
    assert_eq!(settings.server.tls, TlsVersions::Both);
    assert_eq!(settings.server.ca, Path::new("/etc/muster/ca.pem"));
    let Proof::Certificate { cert, key } = &settings.identity.proof else {
        panic!("{:?}", settings.identity.proof);
    };
    assert_eq!(cert, Path::new("/etc/muster/device.pem"));
    assert_eq!(key.as_deref(), Some(Path::new("/keys/device.key")));
    assert_eq!(settings.agent.platform, PlatformKind::Virtual);
    assert_eq!(settings.agent.backoff.len(), 7);
    assert_eq!(settings.agent.heartbeat, Duration::from_secs(30));
    assert_eq!(settings.download.max_disconnects, 10);
    assert_eq!(settings.download.idle_timeout, Duration::from_mins(1));
    assert_eq!(settings.firmware.public_keys.len(), 1);
}

#[test]
fn unknown_key_is_named() {
    let text = refusal(&MINIMAL.replace("task =", "tsak ="));
    assert!(
        text.contains("/etc/muster/agent.toml") && text.contains("tsak"),
        "{text}"
    );
}

#[test]
fn missing_key_is_named() {
    let text = refusal(&MINIMAL.replace("state_dir = \"state\"", ""));
    assert!(text.contains("state_dir"), "{text}");
}

#[test]
fn impossible_values_are_refused_with_their_key() {
    for (from, to, key) in [
        ("wss://127.0.0.1:4001", "https://127.0.0.1", "server.url"),
        ("platform = \"virtual\"", "platform = \"esp\"", "agent.platform"),
        ("NpjkAsCC", "!!", "firmware.public_keys"),
        ("ca = \"ca.pem\"", "ca = \"ca.pem\"\ntls = \"1.1\"", "server.tls"),
        ("platform =", "backoff = []\nplatform =", "agent.backoff"),
        ("platform =", "heartbeat = 0\nplatform =", "agent.heartbeat"),
        (
            "identifier = \"kiosk-0001\"",
            "identifier = \"\"",
            "identity.identifier",
        ),
    ] {
        let text = refusal(&MINIMAL.replace(from, to));
        assert!(text.contains(key), "{key}: {text}");
    }
}

#[test]
fn own_path_is_kept_and_durations_are_read() {
    let text = MINIMAL
        .replace("127.0.0.1:4001", "hub.example.com/device-socket/websocket")
        .replace("platform =", "backoff = [\"100ms\", 2]\nplatform =");
    let settings = parse(&text).unwrap();
    assert_eq!(
        settings.server.url.to_string(),
        "wss://hub.example.com/device-socket/websocket?vsn=2.0.0"
    );
    assert_eq!(
        settings.agent.backoff,
        [Duration::from_millis(100), Duration::from_secs(2)]
    );
}

const CERTIFICATE: &str = "cert = \"device.pem\"\nkey = \"/keys/device.key\"";

#[test]
fn shared_secret_takes_the_place_of_a_certificate_and_is_not_shown() {
    let text = MINIMAL.replace(CERTIFICATE, "shared_key = \"nhp_x\"\nshared_secret = \"sesame\"");
    let settings = parse(&text).unwrap();
    assert_eq!(
        settings.server.url.to_string(),
        "wss://127.0.0.1:4001/device-socket/websocket?vsn=2.0.0"
    );
    assert!(!format!("{settings:?}").contains("sesame"));
    let file = text.replace("shared_secret =", "shared_secret_file =");
    assert!(parse(&file).is_ok());
}

#[test]
fn proofs_that_are_none_or_two_are_refused() {
    for (with, key) in [
        ("", "identity.cert"),
        ("shared_key = \"nhp_x\"", "identity.shared_key"),
        ("shared_secret = \"s\"", "identity.shared_secret"),
        ("shared_key = \"\"\nshared_secret = \"s\"", "identity.shared_key"),
        (
            "cert = \"c\"\nshared_key = \"nhp_x\"\nshared_secret = \"s\"",
            "identity.cert",
        ),
        (
            "shared_key = \"nhp_x\"\nshared_secret = \"s\"\nshared_secret_file = \"f\"",
            "identity.shared_secret",
        ),
    ] {
        let text = refusal(&MINIMAL.replace(CERTIFICATE, with));
        assert!(text.contains(key), "{with}: {text}");
    }
}

#[test]
fn messagepack_is_asked_for_by_its_version() {
    let text = MINIMAL.replace("ca = \"ca.pem\"", "ca = \"ca.pem\"\nencoding = \"msgpack\"");
    let settings = parse(&text).unwrap();
    assert!(settings.server.url.to_string().ends_with("?vsn=3.0.0"));
}

const EXAMPLE: &str = include_str!("../../agent.example.toml");

#[test]
fn example_holds_every_key_there_is() {
    let keys = include_str!("raw.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("    pub ")?.split(':').next());
    let mut count = 0;
    for key in keys {
        let (assigned, table) = (format!("{key} = "), format!("\n[{key}]"));
        assert!(EXAMPLE.contains(&assigned) || EXAMPLE.contains(&table), "{key}");
        count += 1;
    }
    assert!(count > 60, "{count}");
}

/// What the example shows behind a `#` is tried one line at a time, in its place.
#[test]
fn example_is_good_and_so_is_each_line_that_it_shows() {
    parse(EXAMPLE).unwrap();
    let shown = |line: &str| {
        let rest = line.strip_prefix("# ")?;
        let key = rest
            .split(" = ")
            .next()
            .filter(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))?;
        rest.contains(" = ").then(|| key.to_owned())
    };
    let mut count = 0;
    for (index, line) in EXAMPLE.lines().enumerate() {
        let Some(key) = shown(line) else { continue };
        let lines = EXAMPLE.lines().enumerate();
        let text: Vec<&str> = lines
            .map(|(at, line)| if at == index { &line[2..] } else { line })
            .collect();
        match parse(&text.join("\n")) {
            // A shared secret stands in place of a certificate.
            Ok(_)
            | Err(ConfigError::Invalid {
                key: "identity.cert", ..
            }) => {}
            Err(cause) => panic!("{key}: {cause}"),
        }
        count += 1;
    }
    assert!(count > 40, "{count}");
}
