//! Broken sources and hostile archives, on the archives of the test set.

use super::stream::read_full;
use std::{
    io,
    path::{Path, PathBuf},
};

use super::*;
use crate::{Archive, Env, ErrorKind, MemoryTarget, PublicKey, fat::Volumes, uboot_env};

const ENV: std::ops::Range<usize> = 8192..16384;
const BOOT_BLOCK: u64 = 63;
const ROOTFS_A: usize = 1112 * 512;
const ROOTFS_B: usize = 1624 * 512;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/fwup")
}

fn firmware(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join("fw").join(name)).unwrap()
}

fn alpha() -> PublicKey {
    std::fs::read_to_string(fixtures().join("keys/alpha.pub"))
        .unwrap()
        .parse()
        .unwrap()
}

fn resource(archive: &[u8], name: &str) -> Vec<u8> {
    let mut zip = ZipReader::new(archive);
    while let Some(entry) = zip.next_entry().unwrap() {
        if entry.name == format!("data/{name}") {
            let mut bytes = vec![0; 1 << 20];
            let count = read_full(&mut zip, &mut bytes).unwrap();
            bytes.truncate(count);
            return bytes;
        }
    }
    panic!("no {name}");
}

fn run(archive: &[u8], target: &mut dyn BlockTarget, task: &str) -> Result<Applied, Error> {
    let mut target = target;
    let archive = Archive::open(archive, &[alpha()], &Env::new())?;
    archive.apply(&mut target, task, &ApplyOptions::default(), &mut |_| ())
}

/// A disk with version 1.0.0 in slot a.
fn installed() -> Vec<u8> {
    let mut disk = MemoryTarget::new(2400 * 512);
    run(&firmware("kiosk-1.0.0.fw"), &mut disk, "complete").unwrap();
    disk.bytes
}

fn fat_file(disk: &[u8], path: &[u8]) -> Vec<u8> {
    let mut target = MemoryTarget { bytes: disk.to_vec() };
    let mut cache = Cache::new(&mut target, WriteMode::default()).unwrap();
    let mut volumes = Volumes::default();
    let volume = volumes.at(&mut cache, BOOT_BLOCK).unwrap();
    let mut reader = volume.lookup(&mut cache, path).unwrap();
    let mut bytes = vec![0; 1 << 20];
    let count = volume.read(&mut cache, &mut reader, &mut bytes).unwrap();
    bytes.truncate(count);
    bytes
}

/// Checks that the disk boots a whole firmware; tells which slot.
fn boots(disk: &[u8], old: &[u8], new: &[u8]) -> String {
    let env = uboot_env::parse(&disk[ENV]).expect("the environment must stay readable");
    let active = env.get("nerves_fw_active").unwrap().to_owned();
    let (firmware, offset, kernel) = match active.as_str() {
        "a" => (old, ROOTFS_A, &b"bzImage.a"[..]),
        "b" => (new, ROOTFS_B, &b"bzImage.b"[..]),
        other => panic!("slot {other}"),
    };
    let rootfs = resource(firmware, "rootfs.img");
    assert!(
        disk[offset..offset + rootfs.len()] == rootfs,
        "the root filesystem of slot {active}"
    );
    assert!(
        fat_file(disk, kernel) == resource(firmware, "bzImage"),
        "the kernel of slot {active}"
    );
    assert_eq!(&disk[510..512], &[0x55, 0xaa]);
    let version = env.get(&format!("{active}.nerves_fw_version")).unwrap();
    assert_eq!(version, if active == "a" { "1.0.0" } else { "1.1.0" });
    active
}

#[test]
fn refusals_do_not_touch_the_disk() {
    let (old, new) = (firmware("kiosk-1.0.0.fw"), firmware("kiosk-1.1.0.fw"));
    let mut disk = MemoryTarget { bytes: installed() };
    run(&new, &mut disk, "upgrade").unwrap();
    let upgraded = disk.bytes.clone();
    let error = run(&new, &mut disk, "upgrade").unwrap_err();
    assert_eq!((error.kind(), error.target_was_written()), (ErrorKind::Refused, false));
    let error = run(&old, &mut disk, "downgrade").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoApplicableTask);
    assert!(disk.bytes == upgraded);
}

#[test]
fn every_cut_of_the_source_is_an_error_that_leaves_slot_a() {
    let (old, new) = (firmware("kiosk-1.0.0.fw"), firmware("kiosk-1.1.0.fw"));
    let disk = installed();
    for cut in (0..new.len() - 1000).step_by(4001) {
        let mut target = MemoryTarget { bytes: disk.clone() };
        let error = run(&new[..cut], &mut target, "upgrade").unwrap_err();
        let kinds = [ErrorKind::NotAnArchive, ErrorKind::Truncated, ErrorKind::BadMetadata];
        assert!(kinds.contains(&error.kind()), "{cut}: {error}");
        assert_eq!(boots(&target.bytes, &old, &new), "a");
    }
}

#[test]
fn an_error_of_the_source_is_told_from_one_of_the_target() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(io::Error::other("the network is gone")),
                count => Ok(count),
            }
        }
    }
    let new = firmware("kiosk-1.1.0.fw");
    let archive = Archive::open(Failing(&new[..40_000]), &[alpha()], &Env::new()).unwrap();
    let mut disk = MemoryTarget { bytes: installed() };
    let error = archive
        .apply(&mut disk, "upgrade", &ApplyOptions::default(), &mut |_| ())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
}

#[test]
fn flipped_bytes_never_panic_and_never_switch_the_slot_to_something_else() {
    let (old, new) = (firmware("kiosk-1.0.0.fw"), firmware("kiosk-1.1.0.fw"));
    let disk = installed();
    for at in (0..new.len()).step_by(997) {
        let mut bad = new.clone();
        bad[at] ^= 0x10;
        let mut target = MemoryTarget { bytes: disk.clone() };
        let done = run(&bad, &mut target, "upgrade").is_ok();
        assert_eq!(
            boots(&target.bytes, &old, &new),
            if done { "b" } else { "a" },
            "byte {at}"
        );
    }
}
