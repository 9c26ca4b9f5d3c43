//! The partition table of a master boot record (format §5.1).

use crate::{
    caps,
    metaconf::{Section, parse_u64, text},
    target::BLOCK,
};

const BOOTSTRAP: usize = 440;
const PRIMARY: usize = 4;
const PARTITIONS: usize = 12;
/// The last sector that cylinder, head and sector numbers can name.
const CHS_MAX: u64 = 63 * 255 * 1023;

/// A partition that a config describes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Partition {
    offset: u64,
    count: u64,
    kind: u8,
    boot: bool,
    expand: bool,
}

impl Partition {
    fn end(&self) -> u64 {
        self.offset + self.count
    }

    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f)
    }

    /// The 16 bytes of a table's entry; `start` may be relative to something.
    fn entry(&self, start: u64) -> [u8; 16] {
        let mut entry = [0; 16];
        if self.kind != 0 {
            entry[0] = if self.boot { 0x80 } else { 0 };
            entry[1..4].copy_from_slice(&chs(start));
            entry[4] = self.kind;
            entry[5..8].copy_from_slice(&chs(start + self.count.saturating_sub(1)));
        }
        entry[8..12].copy_from_slice(&(start as u32).to_le_bytes());
        entry[12..].copy_from_slice(&(self.count as u32).to_le_bytes());
        entry
    }
}

/// Cylinder, head and sector of a block, as a disk of 255 heads and 63 sectors counts them.
fn chs(block: u64) -> [u8; 3] {
    if block > CHS_MAX {
        return [0; 3];
    }
    let (cylinder, head, sector) = (block / (63 * 255), (block / 63) % 255, block % 63 + 1);
    [
        head as u8,
        ((cylinder >> 2) & 0xc0) as u8 | sector as u8,
        cylinder as u8,
    ]
}

/// An `mbr` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mbr {
    bootstrap: Vec<u8>,
    signature: u32,
    partitions: [Option<Partition>; PARTITIONS],
    osip: Option<Vec<u8>>,
}

impl Mbr {
    /// Reads and checks a section.
    pub(crate) fn new(section: &Section) -> Result<Self, String> {
        let mut mbr = Self {
            bootstrap: bootstrap(section)?,
            signature: number(section, "signature", u64::from(u32::MAX))?.unwrap_or(0) as u32,
            partitions: Default::default(),
            osip: section.flag("include-osip").then(|| osip(section)).transpose()?,
        };
        if mbr.osip.is_some() && !mbr.bootstrap.is_empty() {
            return Err("bootstrap-code and include-osip exclude each other".into());
        }
        for child in section.sections("partition") {
            let index = parse_u64(&child.title).and_then(|index| usize::try_from(index).ok());
            let slot = index.and_then(|index| mbr.partitions.get_mut(index));
            let slot = slot.ok_or_else(|| format!("partition '{}' must be 0 to 11", text(&child.title)))?;
            *slot = Some(partition(child, index == Some(3))?);
        }
        mbr.check()?;
        Ok(mbr)
    }

    fn check(&mut self) -> Result<(), String> {
        let logical_end = self.partitions[PRIMARY..].iter().flatten().map(Partition::end).max();
        match (&mut self.partitions[3], logical_end) {
            (Some(extended), Some(end)) if extended.is_extended() => {
                extended.count = extended.count.max(end.saturating_sub(extended.offset));
            }
            (_, Some(_)) => return Err("partitions 4 to 11 need partition 3 to be an extended one".into()),
            _ => {}
        }
        let (primary, logical) = self.partitions.split_at(PRIMARY);
        for group in [primary, logical] {
            let mut used: Vec<_> = group.iter().flatten().filter(|partition| partition.kind != 0).collect();
            used.sort_by_key(|partition| partition.offset);
            if used.windows(2).any(|pair| pair[0].end() > pair[1].offset) {
                return Err("two partitions overlap".into());
            }
            let expands = used
                .iter()
                .position(|partition| partition.expand && !partition.is_extended());
            if expands.is_some_and(|at| at + 1 != used.len()) {
                return Err("only the last partition can expand".into());
            }
        }
        Ok(())
    }

    /// The blocks to be written: block number and contents. `disk` is the target's size in blocks, if known.
    pub(crate) fn blocks(&self, disk: Option<u64>) -> Vec<(u64, [u8; BLOCK])> {
        let last = self.partitions.iter().flatten().map(Partition::end).max().unwrap_or(0);
        let disk = disk.map_or(0, |disk| disk.max(last));
        let mut block = [0; BLOCK];
        if let Some(osip) = &self.osip {
            block[..osip.len()].copy_from_slice(osip);
        }
        block[..self.bootstrap.len()].copy_from_slice(&self.bootstrap);
        if self.osip.is_none() || self.signature != 0 {
            block[440..444].copy_from_slice(&self.signature.to_le_bytes());
        }
        for (index, partition) in self.partitions[..PRIMARY].iter().enumerate() {
            let Some(mut partition) = partition.clone() else {
                continue;
            };
            if partition.expand && disk > partition.end() {
                partition.count = (disk - partition.offset).min(u64::from(u32::MAX));
            }
            block[446 + index * 16..462 + index * 16].copy_from_slice(&partition.entry(partition.offset));
        }
        block[510..].copy_from_slice(&[0x55, 0xaa]);
        let mut blocks = vec![(0, block)];
        blocks.extend(self.extended_blocks());
        blocks
    }

    /// The chain of tables that hold one logical partition each.
    fn extended_blocks(&self) -> Vec<(u64, [u8; BLOCK])> {
        let Some(extended) = &self.partitions[3] else {
            return Vec::new();
        };
        let logical: Vec<_> = self.partitions[PRIMARY..].iter().flatten().collect();
        let count = logical.len();
        let table = |(index, partition): (usize, &&Partition)| {
            let at = extended.offset + index as u64;
            let mut block = [0; BLOCK];
            block[446..462].copy_from_slice(&partition.entry(partition.offset.saturating_sub(at)));
            if index + 1 < count {
                let next = Partition {
                    offset: 0,
                    count: 1,
                    kind: 0x0f,
                    boot: false,
                    expand: false,
                };
                block[462..478].copy_from_slice(&next.entry(index as u64 + 1));
            }
            block[510..].copy_from_slice(&[0x55, 0xaa]);
            (at, block)
        };
        logical.iter().enumerate().map(table).collect()
    }
}

/// The first block of a primary partition of the table in a disk's first block; None when there is no table.
pub(crate) fn partition_offset(block: &[u8; BLOCK], index: u64) -> Option<u64> {
    if block[510..] != [0x55, 0xaa] || index >= PRIMARY as u64 {
        return None;
    }
    let at = 446 + index as usize * 16 + 8;
    Some(u64::from(u32::from_le_bytes([
        block[at],
        block[at + 1],
        block[at + 2],
        block[at + 3],
    ])))
}

fn number(section: &Section, name: &str, max: u64) -> Result<Option<u64>, String> {
    let Some(word) = section.text(name).filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    let value = parse_u64(word).filter(|value| *value <= max);
    value
        .map(Some)
        .ok_or_else(|| format!("{name} must be a number up to {max}"))
}

fn bootstrap(section: &Section) -> Result<Vec<u8>, String> {
    let Some(hex) = section.text("bootstrap-code").filter(|hex| !hex.is_empty()) else {
        return Ok(Vec::new());
    };
    from_hex(hex)
        .filter(|code| code.len() == BOOTSTRAP)
        .ok_or_else(|| format!("bootstrap-code must be {BOOTSTRAP} bytes in hexadecimal"))
}

/// Bytes from their hexadecimal form.
pub(crate) fn from_hex(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    hex.chunks_exact(2).map(pair).collect()
}

/// The hexadecimal form of bytes.
pub(crate) fn to_hex(bytes: &[u8]) -> Vec<u8> {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn partition(section: &Section, may_be_extended: bool) -> Result<Partition, String> {
    let place = format!("partition {}", text(&section.title));
    let offset = number(section, "block-offset", u64::from(u32::MAX) - 1)?;
    let kind = section.number("type").and_then(|kind| u8::try_from(kind).ok());
    let kind = kind.ok_or_else(|| format!("{place} needs a type from 0 to 255"))?;
    let extended = may_be_extended && matches!(kind, 0x05 | 0x0f);
    let count = section.number("block-count").or(extended.then_some(1));
    let count = count
        .and_then(|count| u64::try_from(count).ok())
        .filter(|count| *count < 0x7fff_ffff);
    Ok(Partition {
        offset: offset.ok_or_else(|| format!("{place} needs a block-offset"))?,
        count: count.ok_or_else(|| format!("{place} needs a block-count below {}", 0x7fff_ffff))?,
        kind,
        boot: section.flag("boot"),
        expand: section.flag("expand") || extended,
    })
}

/// The header that some Intel systems read in place of a bootstrap.
fn osip(section: &Section) -> Result<Vec<u8>, String> {
    let value = |section: &Section, name: &str, default: i64| section.number(name).unwrap_or(default);
    let images: Vec<_> = section.sections("osii").collect();
    if images.len() > caps::OSIP_IMAGES_MAX {
        return Err(format!("there are more than {} osii sections", caps::OSIP_IMAGES_MAX));
    }
    let mut header = b"$OS$\0".to_vec();
    header.extend([
        value(section, "osip-minor", 0) as u8,
        value(section, "osip-major", 1) as u8,
        0,
    ]);
    header.extend([value(section, "osip-num-pointers", 1) as u8, images.len() as u8]);
    header.extend((32 + 24 * images.len() as u16).to_le_bytes());
    header.resize(32, 0);
    for image in images {
        header.extend((value(image, "os-minor", 0) as u16).to_le_bytes());
        header.extend((value(image, "os-major", 0) as u16).to_le_bytes());
        for name in [
            "start-block-offset",
            "ddr-load-address",
            "entry-point",
            "image-size-blocks",
        ] {
            header.extend((value(image, name, 0) as u32).to_le_bytes());
        }
        header.extend([value(image, "attribute", 15) as u8, 0, 0, 0]);
    }
    header[7] = header.iter().fold(0, |sum, byte| sum ^ byte);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::Env, metaconf};

    fn mbr(body: &str) -> Result<Mbr, String> {
        let root = metaconf::read(format!("mbr m {{ {body} }}").as_bytes(), &Env::new()).unwrap();
        Mbr::new(root.find("mbr", b"m").unwrap())
    }

    #[test]
    fn last_partition_expands_to_the_end_of_the_disk() {
        let mbr = mbr("partition 1 { block-offset = 0x100 block-count = 10 type = 0x83 expand = true }").unwrap();
        for (disk, count) in [(Some(1500), 1500 - 256), (Some(100), 10), (None, 10)] {
            let (_, block) = mbr.blocks(disk)[0];
            assert_eq!(partition_offset(&block, 1), Some(256));
            assert_eq!(u32::from_le_bytes(block[474..478].try_into().unwrap()), count);
        }
    }

    #[test]
    fn impossible_tables_are_refused() {
        for body in [
            "partition 0 { block-offset = 10 block-count = 10 type = 1 } partition 1 { block-offset = 19 block-count = 1 type = 1 }",
            "partition 0 { block-offset = 10 block-count = 10 type = 1 expand = true } partition 1 { block-offset = 20 block-count = 1 type = 1 }",
            "partition 12 { block-offset = 1 block-count = 1 type = 1 }",
            "partition 4 { block-offset = 1 block-count = 1 type = 1 }",
            "partition 0 { block-count = 1 type = 1 }",
            "partition 0 { block-offset = 1 type = 1 }",
            "partition 0 { block-offset = 1 block-count = 1 type = 256 }",
            "partition 0 { block-offset = 0xffffffff block-count = 1 type = 1 }",
            "bootstrap-code = abcd",
            "signature = x",
        ] {
            assert!(mbr(body).is_err(), "{body}");
        }
    }

    #[test]
    fn images_of_an_osip_header_are_counted() {
        for (count, good) in [(caps::OSIP_IMAGES_MAX, true), (caps::OSIP_IMAGES_MAX + 1, false)] {
            let images: Vec<String> = (0..count)
                .map(|number| format!("osii {number} {{ attribute = 1 }}"))
                .collect();
            let images = images.join(" ");
            assert_eq!(mbr(&format!("include-osip = true {images}")).is_ok(), good);
        }
    }

    #[test]
    fn block_without_a_mark_has_no_partitions() {
        assert_eq!(partition_offset(&[0; BLOCK], 0), None);
    }
}
