//! Making an empty volume.

use super::{
    FatError, TIMESTAMP,
    layout::{FAT12_MAX, FAT16_MAX, Width},
};
use crate::target::{BLOCK, Cache};

const ROOT_ENTRIES: u64 = 512;
const MIN_BLOCKS: u64 = 128;

/// The sizes of a new volume, in blocks.
struct Plan {
    width: Width,
    reserved: u64,
    table: u64,
    root: u64,
    clusters: u64,
}

impl Plan {
    /// The sizes for `count` blocks with clusters of one block. The table is computed for the whole volume.
    fn new(count: u64) -> Option<Self> {
        if count < MIN_BLOCKS {
            return None;
        }
        let width = if count <= FAT12_MAX { Width::Fat12 } else { Width::Fat16 };
        let plan = Self::of(width, count)?;
        match width {
            Width::Fat16 if plan.clusters > FAT16_MAX => {
                Self::of(Width::Fat32, count).filter(|plan| plan.clusters > FAT16_MAX)
            }
            Width::Fat16 if plan.clusters <= FAT12_MAX => None,
            _ => Some(plan),
        }
    }

    fn of(width: Width, count: u64) -> Option<Self> {
        let (table_bytes, reserved, root) = match width {
            Width::Fat12 => ((count * 3).div_ceil(2) + 3, 1, ROOT_ENTRIES * 32 / BLOCK as u64),
            Width::Fat16 => (count * 2 + 4, 1, ROOT_ENTRIES * 32 / BLOCK as u64),
            Width::Fat32 => (count * 4 + 8, 32, 0),
        };
        let table = table_bytes.div_ceil(BLOCK as u64);
        let clusters = count
            .checked_sub(reserved + 2 * table + root)
            .filter(|clusters| *clusters >= 16)?;
        Some(Self {
            width,
            reserved,
            table,
            root,
            clusters,
        })
    }
}

/// Makes a volume of `count` blocks at a block.
pub(crate) fn format(cache: &mut Cache<'_>, block: u64, count: u64) -> Result<(), FatError> {
    let plan = u32::try_from(count)
        .ok()
        .and_then(|_| Plan::new(count))
        .ok_or(FatError::Size)?;
    let size = BLOCK as u64;
    let end = block
        .checked_add(count)
        .filter(|end| *end < 1 << 53)
        .ok_or(FatError::Size)?;
    let begin = block * size;
    // a medium that cannot be told is none the worse for it
    let _ = cache.trim(begin..end * size);
    // the image gets its full length
    cache.write((end - 1) * size, &[0xff; BLOCK], false)?;

    let boot = boot_sector(&plan, count);
    cache.write(begin, &boot, false)?;
    if plan.width == Width::Fat32 {
        let info = info_sector((plan.clusters - 1) as u32, 2);
        for (at, sector) in [(1, &info), (6, &boot), (7, &info)] {
            cache.write(begin + at * size, sector, false)?;
        }
    }
    let table = begin + plan.reserved * size;
    let root_blocks = if plan.width == Width::Fat32 { 1 } else { plan.root };
    zero(cache, table, 2 * plan.table + root_blocks)?;
    let first: &[u8] = match plan.width {
        Width::Fat12 => &[0xf8, 0xff, 0xff],
        Width::Fat16 => &[0xf8, 0xff, 0xff, 0xff],
        Width::Fat32 => &[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
    };
    for copy in 0..2 {
        cache.write(table + copy * plan.table * size, first, false)?;
    }
    Ok(())
}

fn zero(cache: &mut Cache<'_>, begin: u64, blocks: u64) -> Result<(), FatError> {
    let zeros = [0; 16 * BLOCK];
    let (mut offset, end) = (begin, begin + blocks * BLOCK as u64);
    while offset < end {
        let len = (end - offset).min(zeros.len() as u64);
        cache.write(offset, &zeros[..len as usize], false)?;
        offset += len;
    }
    Ok(())
}

fn put(sector: &mut [u8], at: usize, bytes: &[u8]) {
    sector[at..at + bytes.len()].copy_from_slice(bytes);
}

fn boot_sector(plan: &Plan, count: u64) -> [u8; BLOCK] {
    let mut sector = [0; BLOCK];
    let serial = (count as u32).wrapping_add(TIMESTAMP).to_le_bytes();
    let wide = plan.width == Width::Fat32;
    put(&mut sector, 0, b"\xeb\xfe\x90MSDOS5.0");
    put(&mut sector, 11, &(BLOCK as u16).to_le_bytes());
    put(&mut sector, 13, &[1, plan.reserved as u8, 0, 2]);
    put(
        &mut sector,
        17,
        &(if wide { 0 } else { ROOT_ENTRIES as u16 }).to_le_bytes(),
    );
    match u16::try_from(count) {
        Ok(count) => put(&mut sector, 19, &count.to_le_bytes()),
        Err(_) => put(&mut sector, 32, &(count as u32).to_le_bytes()),
    }
    put(&mut sector, 21, &[0xf8]);
    put(&mut sector, 24, &[63, 0, 255, 0]);
    let tail = if wide {
        put(&mut sector, 36, &(plan.table as u32).to_le_bytes());
        put(&mut sector, 44, &[2, 0, 0, 0, 1, 0, 6, 0]);
        64
    } else {
        put(&mut sector, 22, &(plan.table as u16).to_le_bytes());
        36
    };
    let label: &[u8] = match plan.width {
        Width::Fat12 => b"NO NAME    FAT12   ",
        Width::Fat16 => b"NO NAME    FAT16   ",
        Width::Fat32 => b"NO NAME    FAT32   ",
    };
    put(&mut sector, tail, &[0x80, 0, 0x29]);
    put(&mut sector, tail + 3, &serial);
    put(&mut sector, tail + 7, label);
    put(&mut sector, 510, &[0x55, 0xaa]);
    sector
}

/// FAT32's information sector.
pub(super) fn info_sector(free: u32, last: u32) -> [u8; BLOCK] {
    let mut sector = [0; BLOCK];
    put(&mut sector, 0, b"RRaA");
    put(&mut sector, 484, b"rrAa");
    put(&mut sector, 488, &free.to_le_bytes());
    put(&mut sector, 492, &last.to_le_bytes());
    put(&mut sector, 510, &[0x55, 0xaa]);
    sector
}
