//! Finding the memory card to write to when none is named.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::sys::stat::{major, minor};

/// Larger media are taken for disks of the machine, not for cards: 65 GiB.
const SIZE_MAX: u64 = 65 << 30;

/// A card or stick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) size: u64,
}

/// Finds the cards: SD and USB media that are not too large, and that the running system does not live on.
pub(crate) fn find() -> Vec<Card> {
    let root = fs::metadata("/").map(|root| (major(root.dev()), minor(root.dev())));
    find_in(Path::new("/sys"), root.unwrap_or_default())
}

/// Finds the only card there is.
///
/// # Errors
/// There is none, or more than one.
pub(crate) fn only() -> Result<Card, String> {
    let mut cards = find();
    match cards.len() {
        0 => Err("no memory card was found; put one in, or name the file or device to write to with -d".into()),
        1 => Ok(cards.remove(0)),
        _ => {
            let names: Vec<String> = cards.iter().map(|card| card.path.display().to_string()).collect();
            Err(format!(
                "there are several memory cards ({}); name one with -d",
                names.join(", ")
            ))
        }
    }
}

fn find_in(sysfs: &Path, root: (u64, u64)) -> Vec<Card> {
    let system_disk = fs::canonicalize(sysfs.join(format!("dev/block/{}:{}", root.0, root.1))).ok();
    let mut cards = Vec::new();
    for entry in fs::read_dir(sysfs.join("block")).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let folder = entry.path();
        let holds_system = |path: &PathBuf| path.components().any(|part| part.as_os_str() == name.as_str());
        if is_card(&name)
            && !system_disk.as_ref().is_some_and(holds_system)
            && !is_held(&folder)
            && let Some(size) = size(&folder).filter(|size| (1..=SIZE_MAX).contains(size))
        {
            let path = Path::new("/dev").join(name);
            cards.push(Card { path, size });
        }
    }
    cards.sort_by(|one, other| one.path.cmp(&other.path));
    cards
}

/// `sda` to `sdz`, `mmcblk0` and on; boot areas of an eMMC have names of their own.
fn is_card(name: &str) -> bool {
    let letter = name.strip_prefix("sd").is_some_and(|rest| rest.len() == 1);
    let number = name.strip_prefix("mmcblk");
    letter || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Whether a volume manager has taken the disk or one of its partitions.
fn is_held(folder: &Path) -> bool {
    let held = |folder: &Path| fs::read_dir(folder.join("holders")).is_ok_and(|mut holders| holders.next().is_some());
    let parts = fs::read_dir(folder).into_iter().flatten().flatten();
    held(folder) || parts.map(|part| part.path()).any(|part| held(&part))
}

fn size(folder: &Path) -> Option<u64> {
    let blocks: u64 = fs::read_to_string(folder.join("size")).ok()?.trim().parse().ok()?;
    blocks.checked_mul(512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_small_idle_and_not_the_systems() {
        let sysfs = tempfile::tempdir().unwrap();
        let disk = |name: &str, blocks: u64| {
            let folder = sysfs.path().join("block").join(name);
            fs::create_dir_all(folder.join(format!("{name}1"))).unwrap();
            fs::write(folder.join("size"), format!("{blocks}\n")).unwrap();
            folder
        };
        let system = disk("sda", 1_000_000);
        disk("sdb", 31_116_288);
        disk("sdc", 0);
        disk("sdd", SIZE_MAX / 512 + 1);
        disk("mmcblk0", SIZE_MAX / 512);
        disk("mmcblk0boot0", 8192);
        disk("loop0", 8192);
        fs::create_dir_all(disk("sde", 5000).join("sde1/holders/dm-0")).unwrap();
        let numbers = sysfs.path().join("dev/block");
        fs::create_dir_all(&numbers).unwrap();
        std::os::unix::fs::symlink(system.join("sda1"), numbers.join("8:1")).unwrap();
        let names = |root| {
            let cards = find_in(sysfs.path(), root).into_iter();
            cards.map(|card| card.path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names((8, 1)), ["/dev/mmcblk0", "/dev/sdb"]);
        assert_eq!(names((0, 99)), ["/dev/mmcblk0", "/dev/sda", "/dev/sdb"]);
        assert_eq!(find_in(sysfs.path(), (8, 1))[1].size, 31_116_288 * 512);
    }
}
