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

/// What a path names.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    File(Vec<u8>),
    Folder,
}

/// The tree as it should be: paths without a leading slash; the root is not listed.
#[derive(Default)]
struct Model(BTreeMap<String, Node>);

/// What an operation should say.
type Told = Result<(), &'static str>;

fn told(done: Result<(), FatError>) -> Told {
    done.map_err(|error| match error {
        FatError::NoFile => "no file",
        FatError::NoPath => "no path",
        FatError::Exists => "exists",
        FatError::Denied => "denied",
        other => panic!("{other}"),
    })
}

impl Model {
    fn get(&self, path: &str) -> Result<Option<&Node>, &'static str> {
        if let Some((parent, _)) = path.rsplit_once('/')
            && self.0.get(parent) != Some(&Node::Folder)
        {
            return Err("no path");
        }
        Ok(self.0.get(path))
    }

    fn write(&mut self, path: &str, content: Option<&[u8]>) -> Told {
        match (self.get(path)?, content) {
            (Some(Node::Folder), _) => return Err("denied"),
            (Some(Node::File(_)), None) => return Ok(()),
            _ => {}
        }
        self.0
            .insert(path.into(), Node::File(content.unwrap_or_default().to_vec()));
        Ok(())
    }

    fn make_folder(&mut self, path: &str) -> Told {
        if self.get(path)?.is_some() {
            return Err("exists");
        }
        self.0.insert(path.into(), Node::Folder);
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Told {
        self.get(path)?.ok_or("no file")?;
        if self.0.keys().any(|other| other.starts_with(&format!("{path}/"))) {
            return Err("denied");
        }
        self.0.remove(path);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str, replace: bool) -> Told {
        if replace {
            match self.remove(to) {
                Ok(()) | Err("no file") => {}
                Err(other) => return Err(other),
            }
        }
        self.get(from)?.ok_or("no file")?;
        if self.get(to)?.is_some() && from != to {
            return Err("exists");
        }
        let below = format!("{from}/");
        let moved: Vec<String> = self
            .0
            .keys()
            .filter(|path| *path == from || path.starts_with(&below))
            .cloned()
            .collect();
        for old in moved {
            let node = self.0.remove(&old).unwrap();
            self.0.insert(format!("{to}{}", &old[from.len()..]), node);
        }
        Ok(())
    }

    fn copy(&mut self, from: &str, to: &str) -> Told {
        match self.get(from)?.cloned() {
            Some(Node::File(content)) => self.write(to, Some(&content)),
            _ => Err("no file"),
        }
    }
}

/// What is done to a volume.
#[derive(Clone, Debug)]
enum Step {
    Write(String, usize),
    Touch(String),
    Folder(String),
    Remove(String),
    Rename(String, String, bool),
    Copy(String, String),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || {
        let inside = "(one|a longer folder name)/(B[.]TXT|x|a long name [+] more[.]dots|two)";
        proptest::string::string_regex(&format!(
            "{inside}|(two|one/two)/(deep|[.]hidden)|[a-e]|one|two|a longer folder name"
        ))
        .unwrap()
    };
    let step = prop_oneof![
        4 => (name(), 0..4000_usize).prop_map(|(path, len)| Step::Write(path, len)),
        1 => name().prop_map(Step::Touch),
        4 => name().prop_map(Step::Folder),
        2 => name().prop_map(Step::Remove),
        3 => (name(), name(), any::<bool>()).prop_map(|(from, to, replace)| Step::Rename(from, to, replace)),
        2 => (name(), name()).prop_map(|(from, to)| Step::Copy(from, to)),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

fn same_as_model(cache: &mut Cache<'_>, volume: &mut Volume, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    for step in steps {
        let (got, want) = match step {
            // a folder within itself would be lost
            Step::Rename(from, to, _) if to.starts_with(&format!("{from}/")) => continue,
            Step::Write(path, len) => {
                let content: Vec<u8> = (0..*len).map(|at| (at % 251 + path.len()) as u8).collect();
                let file = volume.create(cache, path.as_bytes());
                let done = file.and_then(|mut file| {
                    content
                        .chunks(*len / 3 + 1)
                        .try_for_each(|part| volume.append(cache, &mut file, part))
                });
                (done, model.write(path, Some(&content)))
            }
            Step::Touch(path) => (volume.touch(cache, path.as_bytes()), model.write(path, None)),
            Step::Folder(path) => (volume.make_folder(cache, path.as_bytes()), model.make_folder(path)),
            Step::Remove(path) => (volume.remove(cache, path.as_bytes()), model.remove(path)),
            Step::Rename(from, to, replace) => (
                volume.rename(cache, from.as_bytes(), to.as_bytes(), *replace),
                model.rename(from, to, *replace),
            ),
            Step::Copy(from, to) => (volume.copy(cache, from.as_bytes(), to.as_bytes()), model.copy(from, to)),
            Step::Reopen => {
                *volume = Volume::open(cache, 63).unwrap();
                (Ok(()), Ok(()))
            }
        };
        prop_assert_eq!(told(got), want, "{:?}", step);
    }
    for (path, node) in &model.0 {
        match node {
            Node::File(content) => prop_assert_eq!(&read_all(cache, volume, path.as_bytes()).unwrap(), content),
            Node::Folder => prop_assert!(matches!(
                volume.make_folder(cache, path.as_bytes()),
                Err(FatError::Exists)
            )),
        }
    }
    for path in ["a", "b", "c", "d", "e", "one/x", "two/deep", "one/two/deep"] {
        let there = matches!(model.0.get(path), Some(Node::File(_)));
        prop_assert_eq!(volume.lookup(cache, path.as_bytes()).is_ok(), there, "{}", path);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_sequence_of_changes_gives_what_a_model_gives(steps in steps(), blocks in prop_oneof![Just(1500_u64), Just(9000), Just(70_000)]) {
        on_volume(blocks, |cache, volume| same_as_model(cache, volume, &steps))?;
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
