//! FAT12, FAT16 and FAT32 volumes: making them and changing files, so that every byte is where fwup's writer puts it
//! (format §8).
//!
//! A volume keeps no copies of sectors: everything goes through the block cache, by byte offsets on the target.

mod chain;
mod codepage;
mod dir;
mod file;
mod format;
mod layout;
mod name;
mod ops;
mod seek;
#[cfg(test)]
mod tests;

pub(crate) use file::OpenFile;
pub(crate) use format::format;
pub(crate) use ops::{attribute_bits, copy_across};
pub(crate) use seek::FileMap;

use crate::{caps, error::Error, target::Cache};
use layout::Layout;

/// Why an operation on a volume failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FatError {
    #[error("there is no FAT volume")]
    NoVolume,
    #[error("the FAT volume is damaged: {0}")]
    Damaged(&'static str),
    #[error("a FAT volume cannot have this size")]
    Size,
    #[error("the file does not exist")]
    NoFile,
    #[error("the folder does not exist")]
    NoPath,
    #[error("the destination exists already")]
    Exists,
    #[error("the file is read-only, or it is a folder, or the folder is not empty")]
    Denied,
    #[error("the name is not acceptable")]
    Name,
    #[error("the FAT volume is full")]
    Full,
    #[error(transparent)]
    Target(#[from] Error),
}

/// Everything is dated 1980-01-01 00:00: date in the upper, time in the lower half.
const TIMESTAMP: u32 = 0x0021_0000;

/// A volume that is in use.
#[derive(Debug)]
pub(crate) struct Volume {
    layout: Layout,
    /// The cluster that was allocated last; where the search for a free one begins.
    last: u32,
    /// Free clusters, if known.
    free: Option<u32>,
}

/// The volumes that are in use, by their block on the target.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    open: Vec<(u64, Volume)>,
}

impl Volumes {
    /// The volume that begins at a block.
    pub(crate) fn at(&mut self, cache: &mut Cache<'_>, block: u64) -> Result<&mut Volume, FatError> {
        if let Some(at) = self.open.iter().position(|(open, _)| *open == block) {
            return self
                .open
                .get_mut(at)
                .map(|(_, volume)| volume)
                .ok_or(FatError::NoVolume);
        }
        let volume = Volume::open(cache, block)?;
        if self.open.len() >= caps::FAT_VOLUMES_MAX {
            self.open.remove(0);
        }
        self.open.push((block, volume));
        self.open.last_mut().map(|(_, volume)| volume).ok_or(FatError::NoVolume)
    }

    /// Forgets the volume at a block, because it is made anew.
    pub(crate) fn forget(&mut self, block: u64) {
        self.open.retain(|(open, _)| *open != block);
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }
}
