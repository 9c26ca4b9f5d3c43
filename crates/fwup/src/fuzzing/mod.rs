//! What the fuzz targets in `fuzz/` run: each takes any bytes, must come back, and holds what was promised.
//!
//! The same functions replay the corpora with the tests. They are no part of the crate's face.

mod apply;
mod archive;
mod fat;
pub(crate) mod recipe;
#[cfg(test)]
mod replay;
mod target;
mod vcdiff;

use std::path::Path;

use crate::{
    apply::{check_tasks, resource::Resource},
    env::Env,
    metaconf,
    uboot_env::{self, Layout, UbootEnv},
};

/// A fuzz target: its name, which is that of its corpus too, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All fuzz targets.
pub const TARGETS: &[Target] = &[
    ("archive", archive::run),
    ("apply", apply::run),
    ("metaconf", metaconf),
    ("fat", fat::run),
    ("uboot_env", uboot_env),
    ("vcdiff", vcdiff::run),
];

/// Runs the target of a name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    assert!(target.is_some(), "no fuzz target {name}");
    if let Some((_, body)) = target {
        body(data);
    }
}

/// Reads a `meta.conf`; what was understood must survive printing.
fn metaconf(data: &[u8]) {
    let mut env = Env::new();
    env.set("X", "a\"b\\c");
    let Ok(root) = metaconf::read(data, &env) else { return };
    for section in root.sections("file-resource") {
        if let Ok(resource) = Resource::new(section) {
            assert!(resource.data_len() <= resource.full_len() && resource.final_hole() <= resource.full_len());
            let placed: usize = resource.place(0, 1000).iter().map(|(_, part)| part.len()).sum();
            assert_eq!(placed as u64, resource.data_len().min(1000));
        }
    }
    let _ = check_tasks(&root);
    let printed = metaconf::print(&root);
    if printed.windows(2).any(|pair| pair == b"${") || printed.contains(&0) {
        return; // it would mean something else when read again
    }
    let again = metaconf::read(&printed, &env).map(|again| metaconf::print(&again));
    assert!(
        again.as_ref() == Ok(&printed),
        "{}: {again:?}",
        metaconf::text(&printed)
    );
}

/// Reads a U-Boot environment, as it is and with a checksum that agrees.
fn uboot_env(data: &[u8]) {
    let _ = uboot_env::parse(data);
    let _ = uboot_env::parse_redundant(data);
    for header in [4, 5] {
        let mut block = data.to_vec();
        let Some(vars) = block.get(header..) else { return };
        let crc = crc32fast::hash(vars).to_le_bytes();
        block[..4].copy_from_slice(&crc);
        if header == 4 {
            if let Ok(env) = uboot_env::parse(&block) {
                rewritten(&env, block.len(), Layout::Single);
            }
        } else if let Ok((env, flag)) = uboot_env::parse_redundant(&block) {
            rewritten(&env, block.len(), Layout::Redundant { flag });
        }
    }
    if let [first, second, ..] = data {
        let both = uboot_env::second_is_newer(*first, *second) && uboot_env::second_is_newer(*second, *first);
        assert!(!both, "{first} {second}");
    }
}

/// An environment that fits is the same after writing and reading it.
fn rewritten(env: &UbootEnv, size: usize, layout: Layout) {
    let mut changed = env.clone();
    if let Some((name, value)) = env.iter().next() {
        let _ = changed.set(&name, format!("{value}x"));
        changed.unset(&name);
    }
    for env in [env, &changed] {
        let Ok(block) = env.to_bytes_as(size, layout) else {
            continue;
        };
        assert_eq!(block.len(), size);
        let again = match layout {
            Layout::Single => uboot_env::parse(&block),
            Layout::Redundant { .. } => uboot_env::parse_redundant(&block).map(|(env, _)| env),
        };
        assert_eq!(again.as_ref(), Ok(env));
    }
}

/// Where the corpora lie in the repository.
pub fn corpora() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}
