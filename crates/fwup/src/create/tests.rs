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

/// An archive of a config whose files are in a folder, and its `meta.conf`.
fn made_in(folder: &Path, config: &str, env: &Env) -> (Vec<u8>, String) {
    let mut made = Vec::new();
    create_from_str(config, folder, env, &CreateOptions::default(), &mut made).unwrap();
    let head = read_head(&mut ZipReader::new(&made[..])).unwrap();
    (made, String::from_utf8(head.meta_conf).unwrap())
}

/// A file of `len` bytes that has data only at these offsets.
fn sparse_file(path: &Path, len: u64, data: &[(u64, &[u8])]) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(len).unwrap();
    for (offset, bytes) in data {
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, *offset).unwrap();
    }
    file.sync_all().unwrap();
}

/// Whether the file system of a folder tells holes: a file's reserved bytes are then fewer than its length.
pub(super) fn has_holes(folder: &Path) -> bool {
    let path = folder.join("hole");
    sparse_file(&path, 1 << 20, &[(1 << 19, &[1])]);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    blocks * 512 < 1 << 19
}

#[test]
fn holes_are_left_out_and_left_alone() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (vec![1; 65_536], vec![2; 65_536]);
    sparse_file(&dir.path().join("a"), 3 * MIB, &[(0, &one), (MIB, &two)]);
    sparse_file(&dir.path().join("b"), 2 * MIB, &[(MIB, &one)]);
    let config = r#"
        file-resource r { host-path = "a;b" skip-holes = true assert-size-lte = 10240 assert-size-gte = 10240 }
        meta-misc = "${FWUP_SIZE_r}"
        task t { on-resource r { raw_write(0) } }
    "#;
    let (archive, meta_conf) = made_in(dir.path(), config, &Env::new());
    assert!(meta_conf.contains("meta-misc=5242880\n"), "{meta_conf}");
    if has_holes(dir.path()) {
        let hole = MIB - 65_536;
        // the hole at the end of the first file and that at the beginning of the second are one
        let map = format!(
            "length={{65536,{hole},65536,{},65536,{hole}}}",
            3 * MIB - MIB - 65_536 + MIB
        );
        assert!(meta_conf.contains(&map), "{meta_conf}");
    }
    let mut disk = MemoryTarget {
        bytes: vec![9; 5 * MIB as usize],
    };
    let apply = |archive: &[u8], disk: &mut MemoryTarget| {
        let archive = Archive::open(archive, &[], &Env::new()).unwrap();
        archive.apply(disk, "t", &ApplyOptions::default(), &mut |_| ()).unwrap();
    };
    apply(&archive, &mut disk);
    let files = ["a", "b"]
        .map(|name| std::fs::read(dir.path().join(name)).unwrap())
        .concat();
    let mut blank = MemoryTarget::new(5 * MIB as usize);
    apply(&archive, &mut blank);
    assert!(blank.bytes == files);
    let changed = |(new, old): (&u8, &u8)| *new != 9 && new != old;
    assert!(!disk.bytes.iter().zip(&files).any(changed));

    let whole = config.replace("skip-holes = true", "");
    let (archive, meta_conf) = made_in(dir.path(), &whole, &Env::new());
    assert!(meta_conf.contains("length=5242880\n"), "{meta_conf}");
    apply(&archive, &mut disk);
    assert!(disk.bytes == files);
}

#[test]
fn a_file_that_is_one_hole_has_no_data() {
    let dir = tempfile::tempdir().unwrap();
    sparse_file(&dir.path().join("a"), 1 << 20, &[]);
    let config = "file-resource r { host-path = a skip-holes = true } task t { on-resource r { raw_write(0) } }";
    let (archive, meta_conf) = made_in(dir.path(), config, &Env::new());
    if has_holes(dir.path()) {
        assert!(meta_conf.contains("length={0,1048576}\n"), "{meta_conf}");
        assert!(archive.len() < 2000);
    }
    Archive::open(&archive[..], &[], &Env::new()).unwrap().verify().unwrap();
}

#[test]
fn sizes_are_asserted_in_blocks() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), [1; 1024]).unwrap();
    for (assertion, good) in [
        ("assert-size-lte = 2", true),
        ("assert-size-lte = 1", false),
        ("assert-size-gte = 2", true),
        ("assert-size-gte = 3", false),
    ] {
        let config = format!("file-resource r {{ host-path = a {assertion} }}");
        let options = CreateOptions::default();
        let made = create_from_str(&config, dir.path(), &Env::new(), &options, std::io::sink());
        assert_eq!(made.is_ok(), good, "{assertion}");
    }
}

#[test]
fn variables_are_defined_once_unless_they_must_be() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("inner")).unwrap();
    std::fs::write(
        dir.path().join("inner/more.conf"),
        "define(C, \"from-${A}\")\nfile-resource x.y-z { host-path = data }",
    )
    .unwrap();
    std::fs::write(dir.path().join("inner/data"), [1; 700]).unwrap();
    let mut env = Env::new();
    env.set("A", "outside").set("B", "outside");
    let config = r#"
        define(A, "inside") define!(B, "inside") define-eval(D, "1K + 1") define-eval!(D, "${D} * 2")
        include("inner/more.conf")
        meta-product = "${A} ${B} ${C} ${D} ${E:-none} ${FWUP_SIZE_x_y_z}"
    "#;
    let (_, meta_conf) = made_in(dir.path(), config, &env);
    assert!(
        meta_conf.starts_with("meta-product=\"outside inside from-outside 2050 none 700\"\n"),
        "{meta_conf}"
    );
}

#[test]
fn an_archive_does_not_depend_on_when_or_where_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..2_000_000_u64).map(|n| (n * n / 128) as u8).collect();
    std::fs::write(dir.path().join("a"), noise).unwrap();
    let config = "file-resource r { host-path = a }";
    let (one, _) = made_in(dir.path(), config, &Env::new());
    let (two, _) = made_in(dir.path(), config, &Env::new());
    assert!(one == two);
}
