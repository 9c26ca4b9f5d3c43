use std::io::Cursor;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    ApplyOptions, Archive, CreateOptions, ErrorKind, MemoryTarget, PrivateKey, create_from_str,
    fat::Volumes,
    target::{BLOCK, Cache, WriteMode},
};

/// A board with two slots: a kernel in a volume of each, a root written raw to each, and a splash that only a whole
/// image has.
const BOARD: &str = r#"
define(BOOT_A, 64)
define(BOOT_B, 3000)
define(ROOT_A, 8000)
define(ROOT_B, 40000)
meta-product = "board"
meta-version = "${VERSION}"
file-resource kernel { host-path = "kernel" }
file-resource splash { host-path = "splash" }
file-resource root { host-path = "root" }
task complete {
    on-init { fat_mkfs(${BOOT_A}, 2900) }
    on-resource kernel { fat_write(${BOOT_A}, "kernel") }
    on-resource splash { raw_write(7990) }
    on-resource root { raw_write(${ROOT_A}) }
}
task upgrade.b {
    on-init { fat_mkfs(${BOOT_B}, 2900) }
    on-resource kernel {
        delta-source-fat-offset = ${BOOT_A}
        delta-source-fat-path = "kernel"
        fat_write(${BOOT_B}, "kernel")
    }
    on-resource root {
        delta-source-raw-offset = ${ROOT_A}
        delta-source-raw-count = 32000
        raw_write(${ROOT_B})
    }
}
"#;
const BOOT_B: u64 = 3000;
const ROOT_B: usize = 40_000 * BLOCK;

/// What goes into an archive of the board.
#[derive(Clone, Debug)]
struct Firmware {
    version: &'static str,
    kernel: Vec<u8>,
    splash: Vec<u8>,
    root: Vec<u8>,
}

impl Firmware {
    fn archive(&self, key: Option<&PrivateKey>) -> Vec<u8> {
        self.archive_of(BOARD, key)
    }

    fn archive_of(&self, config: &str, key: Option<&PrivateKey>) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("kernel", &self.kernel), ("splash", &self.splash), ("root", &self.root)] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let options = CreateOptions {
            compression: 6,
            signing_key: key,
            ..CreateOptions::default()
        };
        let mut env = Env::new();
        env.set("VERSION", self.version);
        let mut archive = Vec::new();
        create_from_str(config, folder.path(), &env, &options, &mut archive).unwrap();
        archive
    }
}

/// Bytes that deflate cannot make smaller.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn one() -> Firmware {
    Firmware {
        version: "1",
        kernel: noise(1, 30_000),
        splash: noise(2, 3000),
        root: noise(3, 300_000),
    }
}

/// The next version: some bytes of the root moved, the kernel as it was.
fn two() -> Firmware {
    let mut two = Firmware { version: "2", ..one() };
    two.root.splice(1000..1000, *b"what is new");
    two
}

fn made(old: &[u8], new: &[u8], options: &DeltaOptions) -> Result<(Vec<u8>, DeltaReport), Error> {
    let mut out = Vec::new();
    let report = delta(Cursor::new(old), Cursor::new(new), &mut out, options)?;
    assert_eq!((report.full, report.packed), (new.len() as u64, out.len() as u64));
    Ok((out, report))
}

fn reason(old: &[u8], new: &[u8]) -> String {
    let error = made(old, new, &DeltaOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoDelta, "{error}");
    error.to_string()
}

fn apply(archive: &[u8], disk: &mut MemoryTarget, task: &str) {
    let archive = Archive::open(archive, &[], &Env::new()).unwrap();
    archive
        .apply(disk, task, &ApplyOptions::default(), &mut |_| {})
        .unwrap();
}

/// The kernel and the root of slot B.
fn slot_b(disk: &mut MemoryTarget, root: usize) -> (Vec<u8>, Vec<u8>) {
    let root = disk.bytes[ROOT_B..ROOT_B + root].to_vec();
    let mut cache = Cache::new(disk, WriteMode::default()).unwrap();
    let mut volumes = Volumes::default();
    let volume = volumes.at(&mut cache, BOOT_B).unwrap();
    let mut reader = volume.lookup(&mut cache, b"kernel").unwrap();
    let mut kernel = vec![0; 1 << 20];
    let count = volume.read(&mut cache, &mut reader, &mut kernel).unwrap();
    kernel.truncate(count);
    (kernel, root)
}

/// A change of some bytes: where, how many go, what comes, and whether it comes from elsewhere in the same.
type Edit = (prop::sample::Index, usize, Vec<u8>, Option<prop::sample::Index>);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let bytes = vec(any::<u8>(), 0..300);
    vec(
        (
            any::<prop::sample::Index>(),
            0..2000_usize,
            bytes,
            any::<Option<prop::sample::Index>>(),
        ),
        0..6,
    )
}

fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut new = bytes.to_vec();
    for (at, gone, come, from) in edits {
        let at = at.index(new.len() + 1);
        let end = (at + gone).min(new.len());
        let come = match from {
            Some(from) => {
                let from = from.index(bytes.len() + 1);
                bytes[from..(from + 5000).min(bytes.len())].to_vec()
            }
            None => come.clone(),
        };
        new.splice(at..end, come);
    }
    new
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_delta_on_the_old_firmware_gives_the_new_one(
        (seed, len) in (any::<u64>(), 0..200_000_usize),
        root_edits in edits(),
        kernel_edits in edits(),
    ) {
        let old = Firmware { root: noise(seed, len), ..one() };
        let new = Firmware {
            version: "2",
            root: edited(&old.root, &root_edits),
            kernel: edited(&old.kernel, &kernel_edits),
            splash: noise(9, 10),
        };
        let (old_archive, new_archive) = (old.archive(None), new.archive(None));
        match made(&old_archive, &new_archive, &DeltaOptions::default()) {
            Ok((delta, _)) => {
                let mut disk = MemoryTarget::default();
                apply(&old_archive, &mut disk, "complete");
                apply(&delta, &mut disk, "upgrade.b");
                let (kernel, root) = slot_b(&mut disk, new.root.len());
                prop_assert!(kernel == new.kernel && root == new.root);
                prop_assert!(delta.len() < new_archive.len());
            }
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::NoDelta, "{}", error),
        }
    }
}

#[test]
fn what_a_delta_says_of_itself_is_what_the_new_firmware_says() {
    let key = PrivateKey::generate().unwrap();
    let (old, new) = (one().archive(None), two().archive(Some(&key)));
    let (delta, report) = made(&old, &new, &DeltaOptions::default()).unwrap();
    let verified = |archive| {
        Archive::open(archive, &[key.public()], &Env::new())
            .unwrap()
            .verify()
            .unwrap()
    };
    let (of_delta, of_new) = (verified(&delta[..]), verified(&new[..]));
    assert_eq!(of_delta.metadata, of_new.metadata);
    assert_eq!(report.metadata, of_new.metadata);
    assert_eq!(report.fwup_version, "1.10.0");
    let [kernel, splash, root] = &report.resources[..] else {
        panic!("{report:?}")
    };
    assert!(matches!(kernel.choice, DeltaChoice::Patch { .. }));
    assert_eq!(splash.choice, whole("no task of a device uses it"));
    assert!(
        matches!(root.choice, DeltaChoice::Patch { size } if size < 2000),
        "{root:?}"
    );
    assert_eq!((root.size, splash.packed), (300_011, splash.full));
    // what stays whole is packed as it was
    let packed = |archive: &[u8]| {
        let name = archive.windows(11).position(|bytes| bytes == b"data/splash").unwrap();
        archive[name + 11..]
            .iter()
            .copied()
            .take(splash.packed as usize)
            .collect::<Vec<_>>()
    };
    assert_eq!(packed(&delta), packed(&new));
    // the same again is the same to the byte
    assert_eq!(made(&old, &new, &DeltaOptions::default()).unwrap().0, delta);
}

#[test]
fn what_no_device_uses_is_left_out_when_that_is_wanted() {
    let (old, new) = (one().archive(None), two().archive(None));
    let options = DeltaOptions {
        drop_unused: true,
        ..DeltaOptions::default()
    };
    let (delta, report) = made(&old, &new, &options).unwrap();
    let splash = &report.resources[1];
    assert_eq!((splash.choice.clone(), splash.packed), (DeltaChoice::Dropped, 0));
    assert!(!delta.windows(11).any(|bytes| bytes == b"data/splash"));
    let mut disk = MemoryTarget::default();
    apply(&old, &mut disk, "complete");
    apply(&delta, &mut disk, "upgrade.b");
    let (kernel, root) = slot_b(&mut disk, two().root.len());
    assert!(kernel == two().kernel && root == two().root);
}

#[test]
fn archives_that_have_no_delta_are_refused_with_the_reason() {
    let (old, new) = (one().archive(None), two().archive(None));
    assert!(reason(&new, &new).contains("no resource has changed"));
    let other = two().archive_of(&BOARD.replace("\"board\"", "\"other\""), None);
    assert!(reason(&old, &other).contains("the product of the old firmware is 'board', that of the new one 'other'"));
    let another = Firmware {
        root: noise(77, 300_000),
        kernel: noise(78, 30_000),
        ..two()
    };
    let reason_of_another = reason(&old, &another.archive(None));
    assert!(
        reason_of_another.contains("root: a patch would not be smaller"),
        "{reason_of_another}"
    );
    let (delta, _) = made(&old, &new, &DeltaOptions::default()).unwrap();
    let mut three = two();
    three.version = "3";
    three.root[7] ^= 1;
    for (old, new) in [(&old, &delta), (&delta, &three.archive(None))] {
        let error = made(old, new, &DeltaOptions::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "resource 'kernel' is a delta: make deltas from full archives",
            "{error:?}"
        );
    }
}

#[test]
fn a_resource_that_the_old_firmware_does_not_have_stays_whole() {
    let without = BOARD
        .replace("file-resource kernel", "file-resource core")
        .replace("on-resource kernel", "on-resource core");
    let old = one().archive_of(&without, None);
    let (_, report) = made(&old, &two().archive(None), &DeltaOptions::default()).unwrap();
    assert_eq!(
        report.resources[0].choice,
        whole("upgrade.b: the old firmware does not have it")
    );
    assert!(matches!(report.resources[2].choice, DeltaChoice::Patch { .. }));
}

#[test]
fn the_order_of_the_old_archive_does_not_matter() {
    let line = "file-resource root { host-path = \"root\" }\n";
    let turned = BOARD
        .replace(line, "")
        .replace("file-resource kernel", &format!("{line}file-resource kernel"));
    let old = one().archive_of(&turned, None);
    let (delta, report) = made(&old, &two().archive(None), &DeltaOptions::default()).unwrap();
    let patches = report
        .resources
        .iter()
        .filter(|resource| matches!(resource.choice, DeltaChoice::Patch { .. }));
    assert_eq!(patches.count(), 2);
    let mut disk = MemoryTarget::default();
    apply(&old, &mut disk, "complete");
    apply(&delta, &mut disk, "upgrade.b");
    assert!(slot_b(&mut disk, two().root.len()) == (two().kernel, two().root));
}

#[test]
fn a_damaged_archive_makes_no_delta() {
    let (old, new) = (one().archive(None), two().archive(None));
    for (what, at) in [("old", old.len() / 2), ("new", new.len() / 2)] {
        let (mut old, mut new) = (old.clone(), new.clone());
        let damaged = if what == "old" { &mut old } else { &mut new };
        damaged[at] ^= 0x10;
        let error = made(&old, &new, &DeltaOptions::default()).unwrap_err();
        assert_ne!(error.kind(), ErrorKind::NoDelta, "{what}: {error}");
    }
    for cut in [0, 10, 200, new.len() / 3, new.len() - 40_000] {
        assert!(
            made(&old[..cut.min(old.len())], &new, &DeltaOptions::default()).is_err(),
            "{cut}"
        );
        assert!(made(&old, &new[..cut], &DeltaOptions::default()).is_err(), "{cut}");
    }
}

#[test]
fn a_patch_that_is_too_large_for_memory_waits_in_a_file() {
    let old = Firmware {
        root: noise(5, 12 << 20),
        ..one()
    };
    let mut new = Firmware {
        version: "2",
        ..old.clone()
    };
    let fresh = noise(6, caps::DELTA_PATCH_HELD + (1 << 20));
    new.root[..fresh.len()].copy_from_slice(&fresh);
    let (old_archive, new_archive) = (old.archive(None), new.archive(None));
    let (delta, report) = made(&old_archive, &new_archive, &DeltaOptions::default()).unwrap();
    assert!(report.resources[2].packed > caps::DELTA_PATCH_HELD as u64);
    let mut disk = MemoryTarget::default();
    apply(&old_archive, &mut disk, "complete");
    apply(&delta, &mut disk, "upgrade.b");
    assert!(slot_b(&mut disk, new.root.len()).1 == new.root);
}
