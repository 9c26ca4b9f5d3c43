//! GUID partition tables (format §5.2).
//!
//! The table stands twice: behind the first block, and at the disk's end. The first block holds an MBR that protects it
//! from tools that do not know it; a hybrid is made by an `mbr_write` afterwards.

use uuid::Uuid;

use crate::{
    caps,
    metaconf::{Section, parse_u64, text},
    target::BLOCK,
};

/// Blocks of one copy: 32 of entries, one of the header.
pub(crate) const TABLE_BLOCKS: u64 = 33;
const ENTRY_BLOCKS: usize = 32;
const ENTRY: usize = 128;
const ENTRIES: usize = ENTRY_BLOCKS * BLOCK / ENTRY;
/// Bytes of a header that its checksum covers.
const HEADER: usize = 92;
/// The first block that a partition may have: behind the protective MBR and the table.
const FIRST_USABLE: u64 = 1 + TABLE_BLOCKS;

/// A UUID as tables hold it: the first three groups with the low byte first.
type Guid = [u8; 16];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Partition {
    offset: u64,
    count: u64,
    kind: Guid,
    guid: Guid,
    name: Vec<u8>,
    flags: u64,
    expand: bool,
}

impl Partition {
    /// The block behind the last one.
    fn end(&self) -> u64 {
        self.offset + self.count
    }

    /// How many blocks it has on a disk.
    fn count_on(&self, disk: u64) -> u64 {
        if self.expand && disk > self.end() + TABLE_BLOCKS {
            // one block less than there is room for, as fwup has it
            disk - TABLE_BLOCKS - 1 - self.offset
        } else {
            self.count
        }
    }

    fn entry(&self, disk: u64) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[..16].copy_from_slice(&self.kind);
        entry[16..32].copy_from_slice(&self.guid);
        put64(&mut entry, 32, self.offset);
        put64(&mut entry, 40, self.offset + self.count_on(disk) - 1);
        put64(&mut entry, 48, self.flags);
        for (pair, byte) in entry[56..].chunks_exact_mut(2).zip(&self.name) {
            pair[0] = *byte;
        }
        entry
    }
}

/// A `gpt` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gpt {
    guid: Guid,
    partitions: [Option<Partition>; caps::GPT_PARTITIONS_MAX],
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tables {
    /// From block 0 on: the protective MBR, the header, the entries.
    pub(crate) primary: Vec<u8>,
    /// The block at which the second copy begins.
    pub(crate) secondary_block: u64,
    /// The entries and the header at the disk's end.
    pub(crate) secondary: Vec<u8>,
}

impl Gpt {
    /// Reads and checks a section.
    pub(crate) fn new(section: &Section) -> Result<Self, String> {
        let mut gpt = Self {
            guid: guid(section, "guid").map_err(|reason| format!("the table {reason}"))?,
            partitions: Default::default(),
        };
        for child in section.sections("partition") {
            let index = parse_u64(&child.title).and_then(|index| usize::try_from(index).ok());
            let slot = index.and_then(|index| gpt.partitions.get_mut(index));
            let place = format!("partition '{}'", text(&child.title));
            let slot = slot.ok_or_else(|| format!("{place} must be 0 to {}", caps::GPT_PARTITIONS_MAX - 1))?;
            if slot.is_some() {
                return Err(format!("{place} is there twice"));
            }
            *slot = Some(partition(child).map_err(|reason| format!("{place} {reason}"))?);
        }
        gpt.check()?;
        Ok(gpt)
    }

    fn check(&self) -> Result<(), String> {
        let mut used: Vec<_> = self.partitions.iter().flatten().collect();
        if used.is_empty() {
            return Err("the table has no partitions".into());
        }
        used.sort_by_key(|partition| partition.offset);
        if used.windows(2).any(|pair| pair[0].end() > pair[1].offset) {
            return Err("two partitions overlap".into());
        }
        if used.iter().rev().skip(1).any(|partition| partition.expand) {
            return Err("only the last partition can expand".into());
        }
        Ok(())
    }

    /// The table for a disk of so many blocks; a disk whose size is not known, or a file that is still empty, is as large
    /// as the partitions need.
    ///
    /// # Errors
    /// The disk has no room for them.
    pub(crate) fn tables(&self, disk: Option<u64>) -> Result<Tables, String> {
        let used = self.partitions.iter().flatten();
        let end = used.clone().map(Partition::end).max().unwrap_or(FIRST_USABLE);
        let disk = disk.filter(|disk| *disk > 0).unwrap_or(end + TABLE_BLOCKS + 1);
        if end + TABLE_BLOCKS > disk {
            let need = end + TABLE_BLOCKS;
            return Err(format!("the table needs {need} blocks, the target has {disk}"));
        }
        if used.clone().any(|partition| partition.count_on(disk) == 0) {
            return Err("a partition would have no blocks".into());
        }
        let mut entries = [[0; ENTRY]; ENTRIES];
        for (entry, partition) in entries.iter_mut().zip(&self.partitions) {
            if let Some(partition) = partition {
                *entry = partition.entry(disk);
            }
        }
        let entries = entries.as_flattened();
        let (last, secondary_block) = (disk - 1, disk - TABLE_BLOCKS);
        let mut primary = protective_mbr(disk).to_vec();
        primary.extend(self.header(1, last, 2, disk, entries));
        primary.extend(entries);
        let mut secondary = entries.to_vec();
        secondary.extend(self.header(last, 1, secondary_block, disk, entries));
        Ok(Tables {
            primary,
            secondary_block,
            secondary,
        })
    }

    /// A header in block `own`, whose other copy is in block `other` and whose entries begin at block `table`.
    fn header(&self, own: u64, other: u64, table: u64, disk: u64, entries: &[u8]) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        header[..8].copy_from_slice(b"EFI PART");
        put32(&mut header, 8, 0x0001_0000);
        put32(&mut header, 12, HEADER as u32);
        for (at, value) in [
            (24, own),
            (32, other),
            (40, FIRST_USABLE),
            (48, disk - TABLE_BLOCKS - 1),
            (72, table),
        ] {
            put64(&mut header, at, value);
        }
        header[56..72].copy_from_slice(&self.guid);
        put32(&mut header, 80, ENTRIES as u32);
        put32(&mut header, 84, ENTRY as u32);
        put32(&mut header, 88, crc32fast::hash(entries));
        let sum = crc32fast::hash(&header[..HEADER]);
        put32(&mut header, 16, sum);
        header
    }
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// One partition over the whole disk, of the type that says to leave it alone.
fn protective_mbr(disk: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    put32(&mut block, 454, 1);
    put32(&mut block, 458, u32::try_from(disk - 1).unwrap_or(u32::MAX));
    block[510..].copy_from_slice(&[0x55, 0xaa]);
    block
}

fn guid(section: &Section, name: &str) -> Result<Guid, String> {
    let word = section.text(name).filter(|word| word.len() == 36);
    let uuid = word.and_then(|word| Uuid::try_parse_ascii(word).ok());
    uuid.map(|uuid| uuid.to_bytes_le())
        .ok_or_else(|| format!("needs a UUID as its {name}"))
}

fn partition(section: &Section) -> Result<Partition, String> {
    let number = |name: &str| section.text(name).filter(|word| !word.is_empty()).map(parse_u64);
    let offset = number("block-offset").flatten();
    let offset = offset.filter(|offset| (FIRST_USABLE..u64::from(u32::MAX)).contains(offset));
    let offset = offset.ok_or_else(|| format!("needs a block-offset from {FIRST_USABLE} to {}", u32::MAX - 1))?;
    let expand = section.flag("expand");
    let count = section
        .number("block-count")
        .and_then(|count| u64::try_from(count).ok());
    let count = count.filter(|count| *count < 0x7fff_ffff && (*count > 0 || expand));
    let flags = number("flags").unwrap_or(Some(0));
    let mut name = section.text("name").unwrap_or_default().to_vec();
    name.truncate(caps::GPT_NAME_MAX);
    Ok(Partition {
        offset,
        count: count.ok_or_else(|| format!("needs a block-count from 1 to {}", 0x7fff_fffe))?,
        kind: guid(section, "type")?,
        guid: guid(section, "guid")?,
        name,
        flags: flags.ok_or("has flags that are not a number")?,
        expand,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::Env, metaconf};

    const DISK: &str = "guid = b443fbeb-2c93-481b-88b3-0ecb0aeba911";

    fn part(index: usize, rest: &str) -> String {
        let id = "type = 0fc63daf-8483-4772-8e79-3d69d8477de4 guid = fcc205c8-2f1c-4dcd-bef4-7b209aa15cca";
        format!("partition {index} {{ {id} {rest} }}")
    }

    fn gpt(body: &str) -> Result<Gpt, String> {
        let root = metaconf::read(format!("gpt g {{ {body} }}").as_bytes(), &Env::new()).unwrap();
        Gpt::new(root.find("gpt", b"g").unwrap())
    }

    fn get64(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// The last block of partition 0.
    fn last(tables: &Tables) -> u64 {
        get64(&tables.primary[1024..], 40)
    }

    #[test]
    fn both_copies_point_at_each_other_and_carry_right_sums() {
        let gpt = gpt(&format!("{DISK} {}", part(0, "block-offset = 34 block-count = 100"))).unwrap();
        let disk = 5_000_000_000;
        let tables = gpt.tables(Some(disk)).unwrap();
        assert_eq!((tables.primary.len(), tables.secondary.len()), (34 * BLOCK, 33 * BLOCK));
        assert_eq!(tables.secondary_block, disk - 33);
        let (first, second) = (&tables.primary[BLOCK..2 * BLOCK], &tables.secondary[32 * BLOCK..]);
        for (header, own, other) in [(first, 1, disk - 1), (second, disk - 1, 1)] {
            assert_eq!((get64(header, 24), get64(header, 32)), (own, other));
            let mut zeroed = header.to_vec();
            zeroed[16..20].fill(0);
            assert_eq!(header[16..20], crc32fast::hash(&zeroed[..HEADER]).to_le_bytes());
            assert_eq!(
                header[88..92],
                crc32fast::hash(&tables.secondary[..32 * BLOCK]).to_le_bytes()
            );
        }
        assert_eq!(tables.primary[2 * BLOCK..], tables.secondary[..32 * BLOCK]);
        // a disk above 2 TiB is more than an MBR can say
        assert_eq!(tables.primary[458..462], [0xff; 4]);
    }

    #[test]
    fn last_partition_expands_but_never_shrinks() {
        let body = format!(
            "{DISK} {}",
            part(0, "block-offset = 100 block-count = 10 expand = true")
        );
        let gpt = gpt(&body).unwrap();
        assert_eq!(last(&gpt.tables(None).unwrap()), 109);
        assert_eq!(last(&gpt.tables(Some(0)).unwrap()), 109);
        assert_eq!(last(&gpt.tables(Some(143)).unwrap()), 109);
        assert_eq!(last(&gpt.tables(Some(144)).unwrap()), 109);
        assert_eq!(last(&gpt.tables(Some(1000)).unwrap()), 1000 - 35);
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused() {
        let full = gpt(&format!("{DISK} {}", part(0, "block-offset = 100 block-count = 10"))).unwrap();
        for disk in [1, 2, 33, 34, 66, 109, 142] {
            assert!(full.tables(Some(disk)).is_err(), "{disk}");
        }
        assert!(full.tables(Some(143)).is_ok());
        let body = format!("{DISK} {}", part(0, "block-offset = 100 block-count = 0 expand = true"));
        let empty = gpt(&body).unwrap();
        assert!(empty.tables(Some(133)).is_err() && empty.tables(Some(140)).is_ok());
    }

    #[test]
    fn impossible_tables_are_refused() {
        let good = part(0, "block-offset = 34 block-count = 1");
        let table = |partitions: &[String]| format!("{DISK} {}", partitions.join(" "));
        assert!(gpt(&table(std::slice::from_ref(&good))).is_ok());
        let long = format!("block-offset = 34 block-count = 1 name = \"{}\"", "n".repeat(100));
        assert_eq!(
            gpt(&table(&[part(0, &long)])).unwrap().partitions[0]
                .as_ref()
                .unwrap()
                .name
                .len(),
            caps::GPT_NAME_MAX
        );
        let last = caps::GPT_PARTITIONS_MAX - 1;
        assert!(gpt(&table(&[part(last, "block-offset = 34 block-count = 1")])).is_ok());
        for bad in [
            good.clone(),
            DISK.to_owned(),
            format!("guid = xyz {good}"),
            format!("guid = \"{{b443fbeb-2c93-481b-88b3-0ecb0aeba911}}\" {good}"),
            table(&[part(last + 1, "block-offset = 34 block-count = 1")]),
            table(&[part(0, "block-offset = 33 block-count = 1")]),
            table(&[part(0, "block-offset = 0xffffffff block-count = 1")]),
            table(&[part(0, "block-offset = 34 block-count = 0")]),
            table(&[part(0, "block-offset = 34 block-count = 0x7fffffff")]),
            table(&[part(0, "block-offset = 34")]),
            table(&[part(0, "block-count = 34")]),
            table(&[part(0, "block-offset = 34 block-count = 1 flags = x")]),
            table(&[
                part(0, "block-offset = 34 block-count = 2"),
                part(1, "block-offset = 35 block-count = 1"),
            ]),
            table(&[
                part(0, "block-offset = 34 block-count = 1 expand = true"),
                part(1, "block-offset = 40 block-count = 1"),
            ]),
            format!("{DISK} partition 0 {{ block-offset = 34 block-count = 1 type = x guid = x }}"),
            table(&[
                good,
                part(0, "block-offset = 40 block-count = 1").replace("partition 0", "partition 00"),
            ]),
        ] {
            assert!(gpt(&bad).is_err(), "{bad}");
        }
    }
}
