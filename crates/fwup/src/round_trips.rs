//! What goes into an archive comes out on the disk, whatever it is: properties over random configs and resources.

use std::fmt::Write as _;

use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    ApplyOptions, Archive, CreateOptions, Env, MemoryTarget, PrivateKey, create_from_str,
    fat::Volumes,
    fuzzing::recipe::{Style, entry},
    mbr::to_hex,
    metaconf::{self, Section, Value, schema::Kind},
    target::{BLOCK, Cache, WriteMode},
};

const VOLUME: u64 = 64;
const VOLUME_BLOCKS: u64 = 3000;
/// What the disk holds before.
const OLD: u8 = 0xa7;

/// Bytes in runs, so that some of them compress well and some do not.
fn content() -> impl Strategy<Value = Vec<u8>> {
    vec((any::<u8>(), 1..900_usize, any::<bool>()), 0..40).prop_map(|runs| {
        let run = |(byte, len, same): (u8, usize, bool)| {
            (0..len).map(move |at| if same { byte } else { (at * at) as u8 ^ byte })
        };
        runs.into_iter().flat_map(run).collect()
    })
}

fn applied(archive: &[u8], before: Vec<u8>, options: &ApplyOptions) -> MemoryTarget {
    let mut disk = MemoryTarget { bytes: before };
    let archive = Archive::open(archive, &[], &Env::new()).unwrap();
    let mut last = 0;
    let mut observer = |event| {
        if let crate::Event::Progress(percent) = event {
            last = percent;
        }
    };
    archive.apply(&mut disk, "complete", options, &mut observer).unwrap();
    assert_eq!(last, 100);
    disk
}

fn fat_file(disk: &mut MemoryTarget, path: &str) -> Vec<u8> {
    let mut cache = Cache::new(disk, WriteMode::default()).unwrap();
    let mut volumes = Volumes::default();
    let volume = volumes.at(&mut cache, VOLUME).unwrap();
    let mut reader = volume.lookup(&mut cache, path.as_bytes()).unwrap();
    let mut content = vec![0; 1 << 20];
    let count = volume.read(&mut cache, &mut reader, &mut content).unwrap();
    content.truncate(count);
    content
}

/// A block is filled up with zeros.
fn padded(content: &[u8]) -> Vec<u8> {
    let mut blocks = content.to_vec();
    blocks.resize(content.len().next_multiple_of(BLOCK), 0);
    blocks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_created_is_applied(
        resources in vec((content(), any::<bool>()), 0..6),
        compression in 1..=9_u8,
        (verify_writes, minimize_writes, signed) in any::<(bool, bool, bool)>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut declared, mut used) = (String::new(), String::new());
        let mut block = VOLUME + VOLUME_BLOCKS;
        let mut places = Vec::new();
        for (number, (content, raw)) in resources.iter().enumerate() {
            std::fs::write(folder.path().join(number.to_string()), content).unwrap();
            writeln!(declared, "file-resource \"r {number}.img\" {{ host-path = {number} }}").unwrap();
            let function = if *raw { format!("raw_write({block})") } else { format!("fat_write({VOLUME}, \"File number {number}\")") };
            writeln!(used, "on-resource \"r {number}.img\" {{ {function} }}").unwrap();
            places.push(block);
            block += (content.len() as u64).div_ceil(BLOCK as u64) + 3;
        }
        let config = format!("{declared}task complete {{ on-init {{ fat_mkfs({VOLUME}, {VOLUME_BLOCKS}) }}\n{used} }}");
        let key = PrivateKey::generate().unwrap();
        let options = CreateOptions { compression, signing_key: signed.then_some(&key), ..CreateOptions::default() };
        let mut archive = Vec::new();
        create_from_str(&config, folder.path(), &Env::new(), &options, &mut archive).unwrap();
        let keys = if signed { vec![key.public()] } else { vec![] };
        let verified = Archive::open(&archive[..], &keys, &Env::new()).unwrap().verify().unwrap();
        let sizes: Vec<u64> = verified.resources.iter().map(|resource| resource.size).collect();
        prop_assert_eq!(sizes, resources.iter().map(|(content, _)| content.len() as u64).collect::<Vec<_>>());

        let options = ApplyOptions { verify_writes, minimize_writes, ..ApplyOptions::default() };
        let mut disk = applied(&archive, vec![OLD; (block as usize + 10) * BLOCK], &options);
        prop_assert!(disk.bytes[..VOLUME as usize * BLOCK].iter().all(|byte| *byte == OLD));
        let mut expected = vec![OLD; (block as usize + 10) * BLOCK];
        expected.resize(disk.bytes.len(), 0); // a file grows to a whole segment
        for (number, ((content, raw), place)) in resources.iter().zip(places).enumerate() {
            if *raw {
                let begin = place as usize * BLOCK;
                let blocks = padded(content);
                expected[begin..begin + blocks.len()].copy_from_slice(&blocks);
            } else {
                prop_assert_eq!(&fat_file(&mut disk, &format!("file NUMBER {number}")), content);
            }
        }
        let behind = (VOLUME + VOLUME_BLOCKS) as usize * BLOCK;
        prop_assert!(disk.bytes[behind..] == expected[behind..]);
    }

    #[test]
    fn holes_stay_as_they_are_on_the_disk_and_are_zeros_in_files(
        pieces in vec((0..3000_usize, 0..4000_usize), 1..8),
        hole_at_end in any::<bool>(),
        style in 0..32_u8,
        to_file in any::<bool>(),
    ) {
        let mut lengths: Vec<usize> = pieces.iter().flat_map(|(data, hole)| [*data, *hole]).collect();
        if !hole_at_end {
            lengths.pop();
        }
        let data: Vec<u8> = (0..lengths.iter().step_by(2).sum()).map(|at: usize| (at % 249 + 1) as u8).collect();
        let list = lengths.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let hash = blake2b_simd::Params::new().hash_length(32).hash(&data);
        let hash = metaconf::text(&to_hex(hash.as_bytes()));
        let function = if to_file { format!("3,fat_write,{VOLUME},file") } else { "2,raw_write,4000".to_owned() };
        let meta_conf = format!(
            "file-resource r {{ length={{{list}}} blake2b-256={hash} }}\n\
             task complete {{ on-init {{ funlist={{3,fat_mkfs,{VOLUME},{VOLUME_BLOCKS}}} }} on-resource r {{ funlist={{{function}}} }} }}"
        );
        let style = Style(style);
        prop_assume!(style.is_readable(&data));
        let mut archive = Vec::new();
        entry(&mut archive, b"meta.conf", meta_conf.as_bytes(), Style(3));
        entry(&mut archive, b"data/r", &data, style);
        let begin = 4000 * BLOCK;
        let mut disk = applied(&archive, vec![OLD; begin + 200 * BLOCK], &ApplyOptions::default());

        let (mut at, mut taken) = (0, 0);
        let mut logical = vec![0; lengths.iter().sum()];
        let mut touched = vec![false; (logical.len() / BLOCK) + 2];
        for (index, len) in lengths.iter().enumerate() {
            if index % 2 == 0 {
                logical[at..at + len].copy_from_slice(&data[taken..taken + len]);
                taken += len;
                (at / BLOCK..(at + len).div_ceil(BLOCK)).filter(|_| *len > 0).for_each(|block| touched[block] = true);
            }
            at += len;
        }
        if to_file {
            prop_assert_eq!(fat_file(&mut disk, "file"), logical);
            return Ok(());
        }
        let last_hole = if hole_at_end { *lengths.last().unwrap() } else { 0 };
        if last_hole > 0 {
            // the end of the last hole is written, so that the resource has its length
            let from = logical.len() - last_hole.min(BLOCK);
            (from / BLOCK..logical.len().div_ceil(BLOCK)).for_each(|block| touched[block] = true);
        }
        for (block, want) in padded(&logical).chunks(BLOCK).enumerate() {
            let got = &disk.bytes[begin + block * BLOCK..][..BLOCK];
            if touched[block] {
                prop_assert!(got == want, "block {block}");
            } else {
                prop_assert!(got.iter().all(|byte| *byte == OLD), "block {block} is a hole");
            }
        }
    }
}

/// A value of an option, as its kind asks for.
#[derive(Clone, Debug)]
struct Given {
    option: Index,
    text: Vec<u8>,
    number: i64,
    flag: bool,
    list: Vec<Vec<u8>>,
}

fn given() -> impl Strategy<Value = Vec<Given>> {
    // a `${` would be filled in when read
    let text =
        || vec(1_u8.., 0..30).prop_map(|text| text.into_iter().filter(|byte| *byte != b'$').collect::<Vec<u8>>());
    let one = (any::<Index>(), text(), any::<i64>(), any::<bool>(), vec(text(), 0..6));
    vec(
        one.prop_map(|(option, text, number, flag, list)| Given {
            option,
            text,
            number,
            flag,
            list,
        }),
        0..8,
    )
}

impl Given {
    fn put(&self, section: &mut Section) {
        let spec = section.spec.options;
        if spec.is_empty() {
            return;
        }
        let spec = self.option.get(spec);
        let value = match spec.kind {
            Kind::Text(_) => Value::Text(self.text.clone()),
            Kind::Number(_) => Value::Number(self.number),
            Kind::Flag => Value::Flag(self.flag),
            Kind::List => Value::List(self.list.clone()),
            Kind::Numbers => Value::Numbers(self.list.iter().map(|word| word.len() as i64).collect()),
        };
        section.set(spec.name, value);
    }
}

/// The options that are printed, with all that is below; what equals a default counts as not given.
fn said(section: &Section) -> Vec<String> {
    let mut list = Vec::new();
    for (spec, value) in section.options().filter(|(spec, _)| spec.emitted) {
        let Some(value) = value else { continue };
        let default = match (spec.kind, value) {
            (Kind::Text(default), Value::Text(text)) => text.is_empty() || text == default.as_bytes(),
            (Kind::Number(default), Value::Number(number)) => *number == default,
            (_, Value::Flag(flag)) => !flag,
            (_, Value::List(list)) => list.is_empty(),
            (_, Value::Numbers(list)) => list.is_empty(),
            _ => false,
        };
        if !default {
            list.push(format!("{}={value:?}", spec.name));
        }
    }
    for child in &section.children {
        let inside = said(child);
        if !inside.is_empty() || child.spec.keep_empty {
            list.push(format!("{} {:?} {inside:?}", child.spec.name, child.title));
        }
    }
    list.sort();
    list
}

proptest! {
    #[test]
    fn any_config_is_read_as_it_was_printed(
        top in given(),
        sections in vec((any::<Index>(), vec(1_u8.., 1..12), given(), vec((any::<Index>(), given()), 0..4)), 0..6),
    ) {
        let mut root = Section::new(&metaconf::schema::ROOT, Vec::new(), 1);
        for given in &top {
            given.put(&mut root);
        }
        for (kind, title, given, inner) in sections {
            let title: Vec<u8> = title.into_iter().filter(|byte| *byte != b'$').collect();
            let spec = kind.get(root.spec.sections);
            if title.is_empty() || root.find(spec.name, &title).is_some() {
                continue;
            }
            let mut section = Section::new(spec, title, 1);
            for given in &given {
                given.put(&mut section);
            }
            for (number, (kind, given)) in inner.into_iter().enumerate().filter(|_| !spec.sections.is_empty()) {
                let spec = kind.get(spec.sections);
                let title = if spec.titled { number.to_string().into_bytes() } else { Vec::new() };
                if section.find(spec.name, &title).is_none() {
                    let mut inside = Section::new(spec, title, 1);
                    for given in &given {
                        given.put(&mut inside);
                    }
                    section.children.push(inside);
                }
            }
            root.children.push(section);
        }
        let printed = metaconf::print(&root);
        let again = metaconf::read(&printed, &Env::new()).map_err(|problem| TestCaseError::fail(format!("{problem:?}")))?;
        prop_assert_eq!(said(&again), said(&root));
        prop_assert_eq!(metaconf::print(&again), printed);
    }
}
