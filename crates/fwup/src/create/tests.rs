//! Making the archives of the test set again.

use std::path::{Path, PathBuf};

use super::*;
use crate::{
    ApplyOptions, Archive, MemoryTarget, Signature, archive::read_head, mbr::from_hex, metaconf::read, sign,
    zip::ZipReader,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/fwup")
}

/// Puts the data files that a kiosk config names into a folder, taken from the archive; returns its `meta.conf`.
fn unpack(archive: &[u8], version: &str, folder: &Path) -> Vec<u8> {
    let mut zip = ZipReader::new(archive);
    let head = read_head(&mut zip).unwrap();
    while let Some(entry) = zip.next_entry().unwrap() {
        let (mut bytes, mut buf) = (Vec::new(), [0; 5000]);
        loop {
            match zip.read(&mut buf).unwrap() {
                0 => break,
                count => bytes.extend_from_slice(&buf[..count]),
            }
        }
        let name = entry.name.strip_prefix("data/").unwrap();
        std::fs::write(folder.join(format!("kiosk-{version}-{name}")), bytes).unwrap();
    }
    let root = read(&head.meta_conf, &Env::new()).unwrap();
    let code = root.find("mbr", b"table").unwrap().text("bootstrap-code").unwrap();
    std::fs::write(folder.join("kiosk-boot.bin"), from_hex(code).unwrap()).unwrap();
    head.meta_conf
}

#[test]
fn kiosk_archives_are_made_again_with_the_same_uuid_and_signature() {
    let key: PrivateKey = std::fs::read_to_string(fixtures().join("keys/alpha.priv"))
        .unwrap()
        .parse()
        .unwrap();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        let folder = tempfile::tempdir().unwrap();
        let original = std::fs::read(fixtures().join(format!("fw/kiosk-{version}.fw"))).unwrap();
        let meta_conf = unpack(&original, version, folder.path());
        let config = folder.path().join("fwup.conf");
        std::fs::copy(fixtures().join(format!("conf/kiosk-{version}.conf")), &config).unwrap();
        let options = CreateOptions {
            signing_key: Some(&key),
            source_date_epoch: Some(1_750_000_000),
            ..Default::default()
        };
        let mut made = Vec::new();
        let metadata = create(&config, &Env::new(), &options, &mut made).unwrap();

        let head = read_head(&mut ZipReader::new(&made[..])).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&head.meta_conf),
            String::from_utf8_lossy(&meta_conf)
        );
        let first = Archive::open(&original[..], &[key.public()], &Env::new()).unwrap();
        let again = Archive::open(&made[..], &[key.public()], &Env::new()).unwrap();
        assert_eq!(again.metadata(), first.metadata());
        assert_eq!(again.metadata(), &metadata);
        assert_eq!(again.signature(), &Signature::Good(key.public()));
        assert_eq!(again.verify().unwrap(), first.verify().unwrap());

        let image = |archive: &[u8]| {
            let mut disk = MemoryTarget::new(2400 * 512);
            let archive = Archive::open(archive, &[], &Env::new()).unwrap();
            archive
                .apply(&mut disk, "complete", &ApplyOptions::default(), &mut |_| ())
                .unwrap();
            disk.bytes
        };
        assert!(image(&made) == image(&original));
    }
}

#[test]
fn signing_replaces_the_signature_and_keeps_the_uuid() {
    let original = std::fs::read(fixtures().join("fw/kiosk-1.0.0.fw")).unwrap();
    let key = PrivateKey::generate().unwrap();
    let mut signed = Vec::new();
    sign(&original[..], &mut signed, &key).unwrap();
    let archive = Archive::open(&signed[..], &[key.public()], &Env::new()).unwrap();
    let before = Archive::open(&original[..], &[], &Env::new()).unwrap();
    assert_eq!(archive.metadata(), before.metadata());
    archive.verify().unwrap();
    assert!(matches!(
        Archive::open(&original[..], &[key.public()], &Env::new()),
        Err(Error::BadSignature)
    ));
}

#[test]
fn a_generated_config_needs_no_files() {
    let config = r#"
        meta-product = "p" meta-version = "${VERSION}" meta-platform = "x" meta-architecture = "y"
        define-eval(BLOCK, "2 * 4")
        file-resource text { contents = "hello" }
        task complete { on-resource text { raw_write(${BLOCK}) } }
    "#;
    let mut env = Env::new();
    env.set("VERSION", "1.2.3");
    let mut made = Vec::new();
    let metadata = create_from_str(config, Path::new("."), &env, &CreateOptions::default(), &mut made).unwrap();
    assert_eq!(metadata.version.as_deref(), Some("1.2.3"));
    let mut disk = MemoryTarget::new(0);
    let archive = Archive::open(&made[..], &[], &Env::new()).unwrap();
    archive
        .apply(&mut disk, "complete", &ApplyOptions::default(), &mut |_| ())
        .unwrap();
    assert_eq!(&disk.bytes[4096..4101], b"hello");
}

#[test]
fn mistakes_in_a_config_are_told_with_their_place() {
    let made = |config: &str| {
        create_from_str(
            config,
            Path::new("."),
            &Env::new(),
            &CreateOptions::default(),
            std::io::sink(),
        )
        .unwrap_err()
    };
    for (config, line) in [
        ("\nmeta-colour = red", 2),
        ("task a { }\ntask a { }", 2),
        ("file-resource x { contents = \"a\" host-path = \"b\" }", 1),
        ("file-resource ../x { contents = \"a\" }", 1),
        ("file-resource x { host-path = \"no-such-file\" }", 1),
        ("task a { require-luck(1) }", 1),
        ("include(\"no-such-file\")", 1),
        ("define-eval(A, \"1 +\")", 1),
        ("define(A)", 1),
        ("frobnicate(1)", 1),
    ] {
        match made(config) {
            Error::Config { line: at, .. } => assert_eq!(at, line, "{config}"),
            other => panic!("{config}: {other}"),
        }
    }
    assert!(matches!(
        made("task a { on-init { raw_wipe(1) } }"),
        Error::BadFunction { .. }
    ));
    assert!(matches!(
        made("task a { on-resource x { raw_write(1) } }"),
        Error::MissingResource { .. }
    ));
}
