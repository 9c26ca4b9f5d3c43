//! Directories: finding, adding and removing entries.

use super::{
    FatError, Volume,
    layout::ENTRY,
    name::{self, ATTR_LONG, Name, REMOVED},
};
use crate::{caps, target::Cache};

/// Attribute bits.
pub(super) const READ_ONLY: u8 = 0x01;
pub(super) const VOLUME: u8 = 0x08;
pub(super) const FOLDER: u8 = 0x10;
pub(super) const ARCHIVE: u8 = 0x20;

/// A directory, by its first cluster; 0 is the root directory.
pub(super) type Dir = u32;

/// A directory entry and where it lies.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The bytes of the entry with the short name.
    pub(super) entry: [u8; 32],
    /// Its offset on the target.
    pub(super) offset: u64,
    /// The offsets of all entries that belong to it, itself included.
    pub(super) all: Vec<u64>,
}

impl Found {
    pub(super) fn is_folder(&self) -> bool {
        self.entry[11] & FOLDER != 0
    }

    pub(super) fn first_cluster(&self) -> u32 {
        let at = |at: usize| u32::from(u16::from_le_bytes([self.entry[at], self.entry[at + 1]]));
        at(26) | (at(20) << 16)
    }

    pub(super) fn size(&self) -> u32 {
        u32::from_le_bytes([self.entry[28], self.entry[29], self.entry[30], self.entry[31]])
    }
}

/// Puts a first cluster into an entry.
pub(super) fn set_first_cluster(entry: &mut [u8; 32], cluster: u32) {
    let bytes = cluster.to_le_bytes();
    entry[26..28].copy_from_slice(&bytes[..2]);
    entry[20..22].copy_from_slice(&bytes[2..]);
}

/// A place in a directory.
struct Cursor {
    index: u32,
    cluster: u32,
}

/// The entries of a long name that have been seen so far.
#[derive(Default)]
struct LongName {
    units: Vec<u16>,
    offsets: Vec<u64>,
    /// The number and the checksum that the next one must have; None when the parts do not belong together.
    next: Option<(u8, u8)>,
}

impl LongName {
    /// Takes the next entry; the last part of the name comes first.
    fn add(&mut self, entry: &[u8; 32], offset: u64) {
        let (number, sum) = (entry[0] & 0x3f, entry[13]);
        if entry[0] & 0x40 != 0 {
            *self = Self {
                next: Some((number, sum)),
                ..Self::default()
            };
        }
        if number == 0 || self.next != Some((number, sum)) {
            *self = Self::default();
            return;
        }
        self.next = Some((number - 1, sum));
        self.offsets.push(offset);
        name::collect_long(&mut self.units, entry);
    }

    /// The name and the places of its parts, if they belong to the entry behind them.
    fn belongs_to(self, entry: &[u8; 32]) -> (Option<Vec<u16>>, Vec<u64>) {
        let mut short = [0; 11];
        short.copy_from_slice(&entry[..11]);
        if self.next == Some((0, name::checksum(&short))) {
            (Some(self.units), self.offsets)
        } else {
            (None, Vec::new())
        }
    }
}

impl Volume {
    fn start(&self, dir: Dir) -> Cursor {
        Cursor {
            index: 0,
            cluster: if dir == 0 { self.layout.root_cluster } else { dir },
        }
    }

    fn per_cluster(&self) -> u32 {
        (self.layout.cluster_len / ENTRY) as u32
    }

    fn offset(&self, cursor: &Cursor) -> Result<u64, FatError> {
        if cursor.cluster == 0 {
            return Ok(self.layout.root + u64::from(cursor.index) * ENTRY);
        }
        Ok(self.layout.cluster(cursor.cluster)? + u64::from(cursor.index % self.per_cluster()) * ENTRY)
    }

    /// Goes to the next entry; false at the directory's end. With `grow` a cluster is added there.
    fn advance(&mut self, cache: &mut Cache<'_>, cursor: &mut Cursor, grow: bool) -> Result<bool, FatError> {
        cursor.index += 1;
        if cursor.cluster == 0 {
            return Ok(cursor.index < self.layout.root_entries);
        }
        if !cursor.index.is_multiple_of(self.per_cluster()) {
            return Ok(true);
        }
        if cursor.index >= caps::FAT_FOLDER_ENTRIES_MAX {
            return Ok(false);
        }
        cursor.cluster = match self.next(cache, cursor.cluster)? {
            Some(next) => next,
            None if grow => {
                let new = self.allocate(cache, Some(cursor.cluster))?;
                self.clear(cache, new)?;
                new
            }
            None => return Ok(false),
        };
        Ok(true)
    }

    /// Looks at every entry up to the end mark, with the long name that belongs to it, until `wanted` takes one.
    pub(super) fn scan(
        &mut self,
        cache: &mut Cache<'_>,
        dir: Dir,
        wanted: &mut dyn FnMut(&Found, Option<&[u16]>) -> bool,
    ) -> Result<Option<Found>, FatError> {
        let mut cursor = self.start(dir);
        let mut long = LongName::default();
        loop {
            let offset = self.offset(&cursor)?;
            let mut entry = [0; 32];
            cache.read(offset, &mut entry)?;
            match (entry[0], entry[11] & 0x3f) {
                (0, _) => return Ok(None),
                (REMOVED, _) => long = LongName::default(),
                (_, ATTR_LONG) => long.add(&entry, offset),
                _ => {
                    let (name, mut all) = std::mem::take(&mut long).belongs_to(&entry);
                    all.push(offset);
                    let found = Found { entry, offset, all };
                    if wanted(&found, name.as_deref()) {
                        return Ok(Some(found));
                    }
                }
            }
            if !self.advance(cache, &mut cursor, false)? {
                return Ok(None);
            }
        }
    }

    /// The entry with a name.
    pub(super) fn find(&mut self, cache: &mut Cache<'_>, dir: Dir, name: &Name) -> Result<Option<Found>, FatError> {
        self.scan(cache, dir, &mut |found, long| {
            found.entry[11] & VOLUME == 0
                && (long.is_some_and(|long| name.is_long(long)) || (!name.lossy && found.entry[..11] == name.short))
        })
    }

    fn has_short(&mut self, cache: &mut Cache<'_>, dir: Dir, short: [u8; 11]) -> Result<bool, FatError> {
        let found = self.scan(cache, dir, &mut |found, _| {
            found.entry[11] & VOLUME == 0 && found.entry[..11] == short
        })?;
        Ok(found.is_some())
    }

    /// Finds what a path names: the folder it is in, its last component, and the entry if there is one. None for the
    /// root directory.
    pub(super) fn follow(
        &mut self,
        cache: &mut Cache<'_>,
        path: &[u8],
    ) -> Result<Option<(Dir, Name, Option<Found>)>, FatError> {
        let mut parts = name::path(path)?;
        let Some(last) = parts.pop() else { return Ok(None) };
        let mut dir = 0;
        for part in &parts {
            let found = self
                .find(cache, dir, part)?
                .filter(Found::is_folder)
                .ok_or(FatError::NoPath)?;
            dir = found.first_cluster();
        }
        let found = self.find(cache, dir, &last)?;
        Ok(Some((dir, last, found)))
    }

    /// Places for `count` entries in a row, growing the directory if need be.
    pub(super) fn reserve(&mut self, cache: &mut Cache<'_>, dir: Dir, count: usize) -> Result<Vec<u64>, FatError> {
        let mut cursor = self.start(dir);
        let mut places = Vec::new();
        loop {
            let offset = self.offset(&cursor)?;
            let mut first = [0];
            cache.read(offset, &mut first)?;
            if matches!(first[0], 0 | REMOVED) {
                places.push(offset);
            } else {
                places.clear();
            }
            if places.len() == count {
                return Ok(places);
            }
            if !self.advance(cache, &mut cursor, true)? {
                return Err(FatError::Full);
            }
        }
    }

    /// Adds an entry. `entry` gives everything but the name.
    pub(super) fn register(
        &mut self,
        cache: &mut Cache<'_>,
        dir: Dir,
        name: &Name,
        mut entry: [u8; 32],
    ) -> Result<Found, FatError> {
        let mut short = name.short;
        if name.lossy {
            let mut number = 1;
            short = name.numbered(number);
            while self.has_short(cache, dir, short)? {
                number += 1;
                if number == 100 {
                    return Err(FatError::Full);
                }
                short = name.numbered(number);
            }
        }
        let all = self.reserve(cache, dir, name.entries())?;
        for (place, number) in all.iter().zip((1..name.entries()).rev()) {
            cache.write(*place, &name.long_entry(number, &short), false)?;
        }
        entry[..11].copy_from_slice(&short);
        entry[12] = name.case;
        let offset = all.last().copied().ok_or(FatError::Full)?;
        cache.write(offset, &entry, false)?;
        Ok(Found { entry, offset, all })
    }

    /// Removes an entry and those with its long name.
    pub(super) fn unregister(cache: &mut Cache<'_>, found: &Found) -> Result<(), FatError> {
        for offset in &found.all {
            cache.write(*offset, &[REMOVED], false)?;
        }
        Ok(())
    }
}
