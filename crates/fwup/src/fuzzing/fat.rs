//! Operations on FAT volumes that may be damaged in any way.

use super::{recipe::Bytes, target::Sparse};
use crate::{
    fat::{FatError, Volumes, copy_across, format},
    target::{BLOCK, BlockTarget as _, Cache, WriteMode},
};

/// Names that operations choose from: long and short, in folders, with characters that need care.
const NAMES: &[&[u8]] = &[
    b"a",
    b"B.TXT",
    b"grub",
    b"grub/grub.cfg",
    b"grub/a long name.with dots",
    b"folder/inner/deep",
    b"folder",
    b"folder/inner",
    b"configuration-1.yaml",
    b"configuration-2.yaml",
    b".hidden",
    b"\x82\x9a name",
    b"bzImage.a",
    b"BZIMAGE.A",
    b"x/../a",
    b"",
];
const END: u64 = 64 << 20;
const OPERATIONS_MAX: usize = 200;

/// First what to start from: 0 to 3 make a volume of a width, all else takes the bytes behind the operations as the
/// disk. Then the number of operations and the operations.
pub(super) fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let kind = bytes.byte();
    let count = bytes.short().min(OPERATIONS_MAX);
    let operations: Vec<&[u8]> = (0..count).map(|_| bytes.take(8)).collect();
    let mut disk = Sparse::new(END);
    if kind > 3 {
        let head = bytes.take(8 << 20);
        assert!(disk.write_at(0, head).is_ok());
    }
    let Ok(mut cache) = Cache::new(&mut disk, WriteMode::default()) else {
        return;
    };
    let blocks = [128, 3000, 9000, 70_000];
    if let Some(blocks) = blocks.get(usize::from(kind)) {
        assert!(format(&mut cache, 0, *blocks).is_ok());
    }
    let mut volumes = Volumes::default();
    let mut damaged = kind > 3;
    for operation in operations {
        let mut fields = [0; 8];
        fields[..operation.len()].copy_from_slice(operation);
        // what lies in the middle of a volume is not one of its own
        damaged |= matches!(fields[0] % 16, 13 | 15) || fields[0] % 16 == 8 && fields[6] != 0;
        match operate(&mut cache, &mut volumes, fields) {
            Err(FatError::Target(error)) => assert!(matches!(error, crate::Error::TargetTooSmall { .. }), "{error}"),
            Err(FatError::Damaged(why)) => assert!(damaged, "{why}, but nothing did it damage"),
            _ => {}
        }
    }
    assert!(cache.flush().is_ok());
}

/// One operation: what, two names, a length, and a place for damage.
fn operate(cache: &mut Cache<'_>, volumes: &mut Volumes, fields: [u8; 8]) -> Result<(), FatError> {
    let name = |at: usize| NAMES[usize::from(fields[at]) % NAMES.len()];
    let (first, second) = (name(1), name(2));
    let number = u32::from_le_bytes([fields[3], fields[4], fields[5], 0]);
    let block = 0;
    if matches!(fields[0] % 16, 13 | 15) {
        // damage, anywhere or where the smallest volume has its tables and folders
        let offset = if fields[0] % 16 == 13 { number } else { number & 0x7fff };
        let len = usize::from(fields[1]) % 4 + 1;
        let bytes = [fields[6], fields[7], fields[2], fields[1]];
        return Ok(cache.write(u64::from(offset), &bytes[..len], false)?);
    }
    if fields[0] % 16 == 14 {
        let count = u64::from(number >> 4);
        volumes.forget(block);
        return format(cache, block, count.min(END / BLOCK as u64));
    }
    let volume = volumes.at(cache, block)?;
    match fields[0] % 16 {
        0 => volume.touch(cache, first),
        1 => volume.make_folder(cache, first),
        2 => volume.remove(cache, first),
        3 => volume.rename(cache, first, second, fields[6] & 1 == 1),
        4 => volume.set_attributes(cache, first, fields[6]),
        5 => volume.set_label(cache, second),
        6 => volume.copy(cache, first, second),
        7 => volume.contains(cache, first, &fields[6..]).map(|_| ()),
        8 => copy_across(cache, volumes, (0, first), (u64::from(fields[6]), second)),
        9 => {
            let path = [&fields[1..6], b"/", &fields[6..]].concat();
            volume.touch(cache, &path)
        }
        10 => {
            // the volume is looked at anew
            volumes.forget(block);
            volumes.at(cache, block).map(|_| ())
        }
        _ => {
            let mut file = volume.create(cache, first)?;
            let content = vec![fields[6]; (number & 0x7fff) as usize];
            for part in content.chunks(usize::from(fields[7]) * 37 + 1) {
                volume.append(cache, &mut file, part)?;
            }
            let mut reader = volume.lookup(cache, first)?;
            let mut back = vec![0; content.len()];
            let count = volume.read(cache, &mut reader, &mut back)?;
            if count == content.len() {
                return Ok(());
            }
            Err(FatError::Damaged("what was written is not all there"))
        }
    }
}
