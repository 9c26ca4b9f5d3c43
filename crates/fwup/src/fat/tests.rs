//! Writing files and reading them back, on volumes of all widths.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::target::{MemoryTarget, WriteMode};

fn read_all(cache: &mut Cache<'_>, volume: &mut Volume, path: &[u8]) -> Result<Vec<u8>, FatError> {
    let mut reader = volume.lookup(cache, path)?;
    let (mut all, mut buf) = (Vec::new(), [0; 700]);
    loop {
        match volume.read(cache, &mut reader, &mut buf)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buf[..count]),
        }
    }
}

fn on_volume<T>(blocks: u64, work: impl FnOnce(&mut Cache<'_>, &mut Volume) -> T) -> T {
    let mut target = MemoryTarget::new(0);
    let mut cache = Cache::new(&mut target, WriteMode::default()).unwrap();
    format(&mut cache, 63, blocks).unwrap();
    let mut volume = Volume::open(&mut cache, 63).unwrap();
    work(&mut cache, &mut volume)
}

#[test]
fn files_and_folders_come_back_on_every_width() {
    for blocks in [128, 3000, 9000, 70_000] {
        on_volume(blocks, |cache, volume| {
            volume.make_folder(cache, b"boot").unwrap();
            assert!(matches!(volume.make_folder(cache, b"BOOT"), Err(FatError::Exists)));
            let content: Vec<u8> = (0..5000).map(|n| n as u8).collect();
            let mut file = volume.create(cache, b"boot/A longer name.txt").unwrap();
            for part in content.chunks(777) {
                volume.append(cache, &mut file, part).unwrap();
            }
            assert_eq!(read_all(cache, volume, b"/BOOT\\a LONGER name.TXT").unwrap(), content);
            assert!(matches!(volume.remove(cache, b"boot"), Err(FatError::Denied)));
            volume
                .rename(cache, b"boot/a longer name.txt", b"short", false)
                .unwrap();
            volume.copy(cache, b"short", b"boot/copy").unwrap();
            volume.remove(cache, b"short").unwrap();
            assert_eq!(read_all(cache, volume, b"boot/copy").unwrap(), content);
            assert!(matches!(volume.lookup(cache, b"short"), Err(FatError::NoFile)));
            assert!(matches!(volume.create(cache, b"no/such"), Err(FatError::NoPath)));
        });
    }
}

#[test]
fn a_full_volume_says_so_and_stays_readable() {
    on_volume(128, |cache, volume| {
        let mut file = volume.create(cache, b"big").unwrap();
        assert!(matches!(
            volume.append(cache, &mut file, &vec![7; 100_000]),
            Err(FatError::Full)
        ));
        assert!(!read_all(cache, volume, b"big").unwrap().is_empty());
        volume.remove(cache, b"big").unwrap();
        volume.touch(cache, b"small").unwrap();
    });
}

#[test]
fn a_file_whose_clusters_go_round_is_damaged() {
    on_volume(9000, |cache, volume| {
        let mut file = volume.create(cache, b"round").unwrap();
        volume.append(cache, &mut file, &[1; 5 * 512]).unwrap();
        let table = (63 + 1) * 512;
        for (from, to) in [(6_u64, 2_u16), (6, 6), (6, 4)] {
            cache.write(table + 2 * from, &to.to_le_bytes(), false).unwrap();
            let root = (63 + 1 + 2 * (9000_u64 * 2 + 4).div_ceil(512)) * 512;
            cache.write(root + 28, &u32::MAX.to_le_bytes(), false).unwrap();
            let searched = volume.contains(cache, b"round", b"not there");
            assert!(matches!(searched, Err(FatError::Damaged(_))), "{searched:?}");
            let copied = volume.copy(cache, b"round", b"copy");
            assert!(matches!(copied, Err(FatError::Damaged(_))), "{copied:?}");
        }
        volume.remove(cache, b"round").unwrap();
    });
}

#[test]
fn a_folder_has_so_many_entries_and_no_more() {
    on_volume(9000, |cache, volume| {
        volume.make_folder(cache, b"folder").unwrap();
        let table = (63 + 1) * 512;
        let data = table + (2 * (9000_u64 * 2 + 4).div_ceil(512) + 32) * 512;
        // its only cluster follows itself, and holds nothing that may be overwritten
        cache.write(table + 4, &[2, 0], false).unwrap();
        for entry in 0..16 {
            cache.write(data + entry * 32, b"LABEL      \x08", false).unwrap();
        }
        assert!(matches!(volume.lookup(cache, b"folder/x"), Err(FatError::NoFile)));
        assert!(
            matches!(volume.touch(cache, b"folder/x"), Err(FatError::Full)),
            "{}",
            caps::FAT_FOLDER_ENTRIES_MAX
        );
    });
}

#[test]
fn impossible_sizes_are_refused() {
    let mut target = MemoryTarget::new(0);
    let mut cache = Cache::new(&mut target, WriteMode::default()).unwrap();
    for (block, count) in [(0, 127), (0, 4100), (u64::MAX - 5, 200), (0, u64::MAX)] {
        assert!(
            matches!(format(&mut cache, block, count), Err(FatError::Size)),
            "{count}"
        );
    }
    assert!(matches!(Volume::open(&mut cache, u64::MAX), Err(FatError::NoVolume)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_sequence_of_changes_is_read_back(
        steps in proptest::collection::vec((0..4_u8, "[a-c]{1,2}|longer name [a-c]", 0..3000_usize), 1..40)
    ) {
        on_volume(600, |cache, volume| {
            let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            for (kind, name, len) in steps {
                match kind {
                    0 => {
                        let removed = volume.remove(cache, name.as_bytes()).is_ok();
                        prop_assert_eq!(removed, model.remove(&name).is_some());
                    }
                    1 => {
                        volume.touch(cache, name.as_bytes()).unwrap();
                        model.entry(name).or_default();
                    }
                    _ => {
                        let content = vec![name.as_bytes()[0]; len];
                        let mut file = volume.create(cache, name.as_bytes()).unwrap();
                        volume.append(cache, &mut file, &content).unwrap();
                        model.insert(name, content);
                    }
                }
            }
            for (name, content) in &model {
                prop_assert_eq!(&read_all(cache, volume, name.as_bytes()).unwrap(), content);
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_volume_of_arbitrary_bytes_never_panics(
        head in proptest::collection::vec(any::<u8>(), 512),
        patch in proptest::collection::vec((0..40_000_usize, any::<u8>()), 0..200),
        keep_head in any::<bool>(),
    ) {
        let mut target = MemoryTarget::new(0);
        {
            let mut cache = Cache::new(&mut target, WriteMode::default()).unwrap();
            format(&mut cache, 0, 200).unwrap();
            let mut volume = Volume::open(&mut cache, 0).unwrap();
            volume.make_folder(&mut cache, b"folder").unwrap();
            let mut file = volume.create(&mut cache, b"folder/long file name").unwrap();
            volume.append(&mut cache, &mut file, &[1; 3000]).unwrap();
            cache.flush().unwrap();
        }
        if !keep_head {
            target.bytes[36..500].copy_from_slice(&head[36..500]);
        }
        for (at, byte) in patch {
            target.bytes[at] ^= byte;
        }
        let mut cache = Cache::new(&mut target, WriteMode::default()).unwrap();
        if let Ok(mut volume) = Volume::open(&mut cache, 0) {
            let _ = read_all(&mut cache, &mut volume, b"folder/long file name");
            let _ = volume.create(&mut cache, b"folder/long file name").and_then(|mut file| volume.append(&mut cache, &mut file, &[2; 5000]));
            let _ = volume.make_folder(&mut cache, b"folder/x");
            let _ = volume.rename(&mut cache, b"folder", b"other", false);
            let _ = volume.remove(&mut cache, b"folder/long file name");
            let _ = volume.set_label(&mut cache, b"label");
        }
    }
}
