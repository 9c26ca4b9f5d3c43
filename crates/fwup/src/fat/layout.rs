//! Where the parts of a volume are.

use super::FatError;
use crate::target::{BLOCK, Cache};

/// Most clusters of a FAT12 volume.
pub(super) const FAT12_MAX: u64 = 4085;
/// Most clusters of a FAT16 volume.
pub(super) const FAT16_MAX: u64 = 65_525;
/// Bytes of a directory entry.
pub(super) const ENTRY: u64 = 32;
const SECTOR: u64 = BLOCK as u64;

/// The width of the allocation table's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// The parts of a volume as byte offsets on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) width: Width,
    /// The volume's first byte.
    pub(super) begin: u64,
    /// The first table.
    pub(super) table: u64,
    /// Bytes of one table.
    pub(super) table_len: u64,
    /// One or two tables.
    pub(super) tables: u64,
    /// The root directory of FAT12 and FAT16.
    pub(super) root: u64,
    /// Entries of that root directory.
    pub(super) root_entries: u32,
    /// The first cluster of FAT32's root directory, else 0.
    pub(super) root_cluster: u32,
    /// The first byte of cluster 2.
    pub(super) data: u64,
    /// Bytes of a cluster.
    pub(super) cluster_len: u64,
    /// Cluster numbers are below this.
    pub(super) end_cluster: u32,
    /// FAT32's information sector.
    pub(super) info: Option<u64>,
}

fn u16_at(sector: &[u8], at: usize) -> u64 {
    sector
        .get(at..at + 2)
        .map_or(0, |b| u64::from(u16::from_le_bytes([b[0], b[1]])))
}

pub(super) fn u32_at(sector: &[u8], at: usize) -> u64 {
    u16_at(sector, at) | (u16_at(sector, at + 2) << 16)
}

impl Layout {
    /// Reads the boot sector at a block.
    pub(super) fn read(cache: &mut Cache<'_>, block: u64) -> Result<Self, FatError> {
        let begin = block
            .checked_mul(SECTOR)
            .filter(|begin| *begin < 1 << 62)
            .ok_or(FatError::NoVolume)?;
        let mut sector = [0; BLOCK];
        cache.read(begin, &mut sector)?;
        let jump = matches!(sector[0], 0xeb | 0xe9 | 0xe8);
        if sector[510..] != [0x55, 0xaa] || !jump || u16_at(&sector, 11) != SECTOR {
            return Err(FatError::NoVolume);
        }
        let either = |small: u64, large: u64| if small != 0 { small } else { large };
        let table = either(u16_at(&sector, 22), u32_at(&sector, 36));
        let (tables, cluster) = (u64::from(sector[16]), u64::from(sector[13]));
        let (reserved, root_entries) = (u16_at(&sector, 14), u16_at(&sector, 17));
        let total = either(u16_at(&sector, 19), u32_at(&sector, 32));
        let root_sectors = root_entries * ENTRY / SECTOR;
        let system = reserved + table * tables + root_sectors;
        let counts_fit = (1..=2).contains(&tables) && cluster.is_power_of_two() && root_entries % 16 == 0;
        if !counts_fit || reserved == 0 || total <= system {
            return Err(FatError::NoVolume);
        }
        let clusters = (total - system) / cluster;
        let layout = Self {
            width: Width::of(clusters).ok_or(FatError::NoVolume)?,
            begin,
            table: begin + reserved * SECTOR,
            table_len: table * SECTOR,
            tables,
            root: begin + (reserved + table * tables) * SECTOR,
            root_entries: root_entries as u32,
            root_cluster: 0,
            data: begin + system * SECTOR,
            cluster_len: cluster * SECTOR,
            end_cluster: clusters as u32 + 2,
            info: None,
        };
        layout.finish(&sector, cache)
    }

    /// Fills in what only FAT32 has, and checks that the table is large enough.
    fn finish(mut self, sector: &[u8], cache: &mut Cache<'_>) -> Result<Self, FatError> {
        let entries = u64::from(self.end_cluster);
        let needed = match self.width {
            Width::Fat12 => (entries * 3).div_ceil(2),
            Width::Fat16 => entries * 2,
            Width::Fat32 => entries * 4,
        };
        if self.table_len < needed || (self.width == Width::Fat32) != (self.root_entries == 0) {
            return Err(FatError::NoVolume);
        }
        if self.width == Width::Fat32 {
            self.root_cluster = u32_at(sector, 44) as u32;
            if !self.holds(self.root_cluster) {
                return Err(FatError::Damaged("the root directory is outside"));
            }
            let info = self.begin + SECTOR;
            let mut bytes = [0; BLOCK];
            cache.read(info, &mut bytes)?;
            let marked = bytes.starts_with(b"RRaA") && bytes[484..488] == *b"rrAa" && bytes[510..] == [0x55, 0xaa];
            self.info = (u16_at(sector, 48) == 1 && marked).then_some(info);
        }
        Ok(self)
    }

    /// Whether a cluster number is one of the volume's.
    pub(super) fn holds(&self, cluster: u32) -> bool {
        (2..self.end_cluster).contains(&cluster)
    }

    /// The first byte of a cluster.
    pub(super) fn cluster(&self, cluster: u32) -> Result<u64, FatError> {
        if !self.holds(cluster) {
            return Err(FatError::Damaged("a cluster number is outside"));
        }
        Ok(self.data + u64::from(cluster - 2) * self.cluster_len)
    }

    /// Whether data at an offset is far enough from the volume's tables to be streamed.
    pub(super) fn streams(&self, offset: u64) -> bool {
        offset > self.begin + 2048 * SECTOR
    }
}

impl Width {
    /// The width that a number of clusters asks for.
    pub(super) fn of(clusters: u64) -> Option<Self> {
        match clusters {
            0 => None,
            _ if clusters <= FAT12_MAX => Some(Self::Fat12),
            _ if clusters <= FAT16_MAX => Some(Self::Fat16),
            _ if clusters < 0x0fff_fff5 => Some(Self::Fat32),
            _ => None,
        }
    }
}
