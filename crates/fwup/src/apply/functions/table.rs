//! Functions that write partition tables (format §5).

use super::{Arguments, Kind, failed};
use crate::{
    error::Error,
    gpt::Gpt,
    mbr::Mbr,
    target::{BLOCK, Cache},
};

const BLOCK64: u64 = BLOCK as u64;

#[derive(Clone, Debug)]
pub(super) enum Table {
    Mbr(Box<Mbr>),
    Gpt(Box<Gpt>),
}

pub(super) fn mbr(args: &Arguments<'_>) -> Result<Kind, String> {
    let mbr = Mbr::new(args.section("mbr")?)?;
    Ok(Kind::Table(Table::Mbr(Box::new(mbr))))
}

pub(super) fn gpt(args: &Arguments<'_>) -> Result<Kind, String> {
    let gpt = Gpt::new(args.section("gpt")?)?;
    Ok(Kind::Table(Table::Gpt(Box::new(gpt))))
}

impl Table {
    pub(super) fn units(&self) -> u64 {
        match self {
            Self::Mbr(_) => BLOCK64,
            Self::Gpt(_) => 2 * crate::gpt::TABLE_BLOCKS * BLOCK64,
        }
    }

    /// Why the table does not fit on a disk of this many blocks.
    pub(super) fn refused(&self, disk: Option<u64>) -> Option<String> {
        match self {
            Self::Mbr(_) => None,
            Self::Gpt(gpt) => gpt.tables(disk).err(),
        }
    }

    /// Writes the table. It decides what is booted, so it reaches the target last; of the two copies of a GPT the one
    /// at the disk's end comes first, so that at any time one of them is whole.
    pub(super) fn run(&self, name: &str, cache: &mut Cache<'_>) -> Result<(), Error> {
        match self {
            Self::Mbr(mbr) => {
                for (block, bytes) in mbr.blocks(cache.size_blocks()).into_iter().rev() {
                    cache.write(block * BLOCK64, &bytes, false)?;
                }
                cache.mark_critical(0..BLOCK64);
            }
            Self::Gpt(gpt) => {
                let tables = gpt.tables(cache.size_blocks());
                let tables = tables.map_err(|reason| failed(name, 0, &reason))?;
                for (block, bytes) in [(tables.secondary_block, tables.secondary), (0, tables.primary)] {
                    let offset = block * BLOCK64;
                    cache.write(offset, &bytes, false)?;
                    cache.mark_critical(offset..offset + bytes.len() as u64);
                }
            }
        }
        Ok(())
    }
}
