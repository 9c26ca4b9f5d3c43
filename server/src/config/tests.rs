//! Tests of the configuration.

use std::path::Path;

use super::*;

fn inputs(pairs: &[(&'static str, &str)]) -> Inputs {
    let mut inputs = Inputs::default();
    for (key, value) in pairs {
        inputs.offer(key, Some((*value).to_owned()), || {
            Source::Env(format!("MUSTER_{}", key.to_uppercase()))
        });
    }
    inputs
}

fn problem(pairs: &[(&'static str, &str)]) -> String {
    Front::read(inputs(pairs)).unwrap_err().to_string()
}

#[test]
fn a_bad_value_names_the_key_its_source_the_problem_and_the_fix() {
    assert_eq!(
        problem(&[("web_addr", "4000")]),
        "web_addr (from MUSTER_WEB_ADDR) is \"4000\", which is no address. Give an IP address and a port, such as \
         127.0.0.1:4000 or 0.0.0.0:4000."
    );
    let text = problem(&[("public_url", "muster.example.com")]);
    assert!(
        text.starts_with("public_url (from MUSTER_PUBLIC_URL) is \"muster.example.com\""),
        "{text}"
    );
    for lifetime in ["24", "h", "0s", "8d", "-1s", "1w", "9999999999d"] {
        let text = problem(&[("firmware_url_lifetime", lifetime)]);
        assert!(text.contains("from 1s to 7d, such as 24h"), "{text}");
    }
    let text = problem(&[("public_url", "https://a.example/muster")]);
    assert!(text.contains("something stands behind the host"), "{text}");
}

#[test]
fn all_problems_are_told_at_once() {
    let error = Settings::read(inputs(&[("web_addr", "x"), ("store", "ftp://x")]))
        .unwrap_err()
        .to_string();
    for key in [
        "web_addr",
        "store",
        "database_url is missing",
        "master_key is missing",
        "--device-cert",
    ] {
        assert!(error.contains(key), "{key} in {error}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let error = Settings::read(inputs(&[
        ("master_key", "sesame-open-sesame"),
        ("database_url", "mysql://me:hunter2@h/d"),
    ]))
    .unwrap_err()
    .to_string();
    assert!(!error.contains("sesame-open") && !error.contains("hunter2"), "{error}");
    assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "(secret)");
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("muster.toml");
    std::fs::write(
        &file,
        "web_addr = \"127.0.0.1:1\"\ndevice_addr = \"127.0.0.1:2\"\nlog = \"warn\"\n",
    )
    .unwrap();
    let flags = FrontFlags {
        web_addr: Some("127.0.0.1:11".to_owned()),
        ..FrontFlags::default()
    };
    let env = |name: &str| match name {
        "MUSTER_WEB_ADDR" => Some("127.0.0.1:21".to_owned()),
        "MUSTER_DEVICE_ADDR" => Some("127.0.0.1:22".to_owned()),
        _ => None,
    };
    let inputs = Inputs::gather(&[&flags], env, Some(&file)).unwrap();
    let front = Front::read(inputs.clone()).unwrap();
    assert_eq!((front.web_addr.port(), front.device_addr.port()), (11, 22));
    assert_eq!(Logging::read(inputs).unwrap().filter, "warn");
}

#[test]
fn a_key_that_does_not_exist_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("muster.toml");
    std::fs::write(&file, "web_adr = \"127.0.0.1:1\"\n").unwrap();
    let error = Inputs::gather(&[], |_| None, Some(&file)).unwrap_err().to_string();
    assert!(
        error.contains("web_adr, which does not exist. Keys are: database_url"),
        "{error}"
    );
    let error = Inputs::gather(&[], |_| None, Some(Path::new("/nowhere.toml")))
        .unwrap_err()
        .to_string();
    assert!(error.contains("--config /nowhere.toml cannot be read"), "{error}");
}

#[test]
fn the_master_key_is_hex_or_base64_or_a_file() {
    let key: Vec<u8> = (0..32).collect();
    let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let dir = tempfile::tempdir().unwrap();
    let (text, raw, short) = (
        dir.path().join("text"),
        dir.path().join("raw"),
        dir.path().join("short"),
    );
    std::fs::write(&text, format!("{base64}\n")).unwrap();
    std::fs::write(&raw, &key).unwrap();
    std::fs::write(&short, "abc").unwrap();
    for given in [hex, base64, text.to_str().unwrap(), raw.to_str().unwrap()] {
        assert_eq!(read_master_key(given).unwrap().as_slice(), key, "{given}");
    }
    for given in ["abc", short.to_str().unwrap(), "/nowhere/key"] {
        assert!(read_master_key(given).is_err(), "{given}");
    }
}

#[test]
fn urls_are_shown_without_the_scheme_s_own_port() {
    let shown = |text: &str| text.parse::<BaseUrl>().unwrap().to_string();
    assert_eq!(shown("https://muster.example.com:443/"), "https://muster.example.com");
    assert_eq!(shown("http://[::1]:4000"), "http://[::1]:4000");
    assert!("https://user@host".parse::<BaseUrl>().is_err());
}

#[test]
fn a_nats_url_is_taken_and_a_bad_one_is_not_repeated() {
    for good in [
        "nats://127.0.0.1:4222",
        "tls://user:secret@nats.example:4222",
        "nats://nats",
    ] {
        let url: NatsUrl = good.parse().unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }
    for bad in ["", "nats.example:4222", "http://nats.example", "nats://:secret@:x"] {
        let problem = bad.parse::<NatsUrl>().unwrap_err();
        assert!(
            problem.contains("nats://host:4222") && !problem.contains("secret"),
            "{problem}"
        );
    }
}
