//! The allocation table: following, growing and freeing chains of clusters.

use super::{
    FatError, Volume,
    format::info_sector,
    layout::{Layout, Width, u32_at},
};
use crate::target::{BLOCK, Cache};

/// Any value from here on ends a chain; widths are evened out when reading.
const END: u32 = 0x0fff_fff8;
/// What is written to end a chain.
const END_MARK: u32 = 0x0fff_ffff;

impl Volume {
    pub(super) fn open(cache: &mut Cache<'_>, block: u64) -> Result<Self, FatError> {
        let layout = Layout::read(cache, block)?;
        let (mut last, mut free) = (u32::MAX, None);
        if let Some(info) = layout.info {
            let mut sector = [0; BLOCK];
            cache.read(info, &mut sector)?;
            free = Some(u32_at(&sector, 488) as u32).filter(|free| *free <= layout.end_cluster - 2);
            last = u32_at(&sector, 492) as u32;
        }
        Ok(Self { layout, last, free })
    }

    /// Where the entry of a cluster is in the first table.
    fn entry(&self, cluster: u32) -> Result<u64, FatError> {
        if !self.layout.holds(cluster) {
            return Err(FatError::Damaged("a cluster number is outside"));
        }
        let cluster = u64::from(cluster);
        Ok(self.layout.table
            + match self.layout.width {
                Width::Fat12 => cluster + cluster / 2,
                Width::Fat16 => cluster * 2,
                Width::Fat32 => cluster * 4,
            })
    }

    /// What follows a cluster: 0 when it is free, [`END`] and above at the end of a chain.
    fn get(&self, cache: &mut Cache<'_>, cluster: u32) -> Result<u32, FatError> {
        let mut bytes = [0; 4];
        let at = self.entry(cluster)?;
        let (value, end) = match self.layout.width {
            Width::Fat12 => {
                cache.read(at, &mut bytes[..2])?;
                let both = u32::from_le_bytes(bytes);
                (
                    if cluster.is_multiple_of(2) {
                        both & 0xfff
                    } else {
                        both >> 4
                    },
                    0xff8,
                )
            }
            Width::Fat16 => {
                cache.read(at, &mut bytes[..2])?;
                (u32::from_le_bytes(bytes), 0xfff8)
            }
            Width::Fat32 => {
                cache.read(at, &mut bytes)?;
                (u32::from_le_bytes(bytes) & 0x0fff_ffff, END)
            }
        };
        Ok(if value >= end { END_MARK } else { value })
    }

    fn put(&self, cache: &mut Cache<'_>, cluster: u32, value: u32) -> Result<(), FatError> {
        let at = self.entry(cluster)?;
        let mut bytes = [0; 4];
        let width = if self.layout.width == Width::Fat32 { 4 } else { 2 };
        cache.read(at, &mut bytes[..width])?;
        let old = u32::from_le_bytes(bytes);
        let new = match self.layout.width {
            Width::Fat12 if cluster.is_multiple_of(2) => (old & 0xf000) | (value & 0xfff),
            Width::Fat12 => (old & 0x000f) | ((value & 0xfff) << 4),
            Width::Fat16 => value,
            Width::Fat32 => (old & 0xf000_0000) | (value & 0x0fff_ffff),
        };
        for copy in 0..self.layout.tables {
            cache.write(at + copy * self.layout.table_len, &new.to_le_bytes()[..width], false)?;
        }
        Ok(())
    }

    /// The next cluster of a chain; None at its end.
    pub(super) fn next(&self, cache: &mut Cache<'_>, cluster: u32) -> Result<Option<u32>, FatError> {
        match self.get(cache, cluster)? {
            END.. => Ok(None),
            next if self.layout.holds(next) => Ok(Some(next)),
            _ => Err(FatError::Damaged("a chain of clusters leads outside")),
        }
    }

    /// The cluster behind `cluster`, a new one if the chain ends there.
    pub(super) fn next_or_new(&mut self, cache: &mut Cache<'_>, cluster: u32) -> Result<u32, FatError> {
        match self.next(cache, cluster)? {
            Some(next) => Ok(next),
            None => self.allocate(cache, Some(cluster)),
        }
    }

    /// Takes a free cluster, behind the end of a chain or for a new one.
    ///
    /// A chain grows into its neighbour if that is free. Else the search begins behind the cluster taken last and goes
    /// round once.
    pub(super) fn allocate(&mut self, cache: &mut Cache<'_>, behind: Option<u32>) -> Result<u32, FatError> {
        if self.free == Some(0) {
            return Err(FatError::Full);
        }
        let end = self.layout.end_cluster;
        let last = Some(self.last).filter(|last| self.layout.holds(*last));
        let neighbour = behind.map(|cluster| if cluster + 1 < end { cluster + 1 } else { 2 });
        let taken = match neighbour {
            Some(next) if self.get(cache, next)? == 0 => Some(next),
            _ => self.search(cache, last.or(behind).unwrap_or(1))?,
        };
        let new = taken.ok_or(FatError::Full)?;
        self.put(cache, new, END_MARK)?;
        if let Some(cluster) = behind {
            self.put(cache, cluster, new)?;
        }
        self.last = new;
        self.free = self.free.map(|free| free - 1);
        Ok(new)
    }

    /// The first free cluster behind `start`, going round once.
    fn search(&self, cache: &mut Cache<'_>, start: u32) -> Result<Option<u32>, FatError> {
        for cluster in (start + 1..self.layout.end_cluster).chain(2..=start) {
            if self.layout.holds(cluster) && self.get(cache, cluster)? == 0 {
                return Ok(Some(cluster));
            }
        }
        Ok(None)
    }

    /// Frees a chain.
    pub(super) fn free_chain(&mut self, cache: &mut Cache<'_>, first: u32) -> Result<(), FatError> {
        let mut cluster = Some(first);
        while let Some(this) = cluster {
            let next = self.get(cache, this)?;
            if next == 0 {
                return Ok(());
            }
            self.put(cache, this, 0)?;
            self.free = self.free.map(|free| (free + 1).min(self.layout.end_cluster - 2));
            cluster = (next < END).then_some(next);
        }
        Ok(())
    }

    /// Lets the next search begin at a cluster that was just freed.
    pub(super) fn reuse_from(&mut self, cluster: u32) {
        self.last = cluster.wrapping_sub(1);
    }

    /// Fills a cluster with zeros.
    pub(super) fn clear(&self, cache: &mut Cache<'_>, cluster: u32) -> Result<(), FatError> {
        let begin = self.layout.cluster(cluster)?;
        for at in (0..self.layout.cluster_len).step_by(BLOCK) {
            cache.write(begin + at, &[0; BLOCK], false)?;
        }
        Ok(())
    }

    /// Stores what FAT32 keeps about its free clusters.
    pub(super) fn sync(&self, cache: &mut Cache<'_>) -> Result<(), FatError> {
        let Some(info) = self.layout.info else { return Ok(()) };
        let sector = info_sector(self.free.unwrap_or(u32::MAX), self.last);
        Ok(cache.write(info, &sector, false)?)
    }
}
