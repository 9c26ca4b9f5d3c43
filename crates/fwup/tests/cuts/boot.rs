//! The boot loader: partition table, U-Boot environment, the kernel in the FAT volume, the root filesystem. It knows
//! nothing of the crate but how an environment is read.

use muster_fwup::uboot_env::{self, UbootEnv};

use crate::{
    firmware::{Firmware, Kiosk, SECOND_COPY},
    power::SECTOR,
};

/// Where the environment is, and bytes of a copy.
pub const ENV: usize = 16 * SECTOR;
const ENV_LEN: usize = 16 * SECTOR;

/// What was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booted {
    pub slot: &'static str,
    pub version: String,
    pub validated: bool,
}

/// Starts the active slot. A slot that is on trial must leave the other one to go back to.
pub fn boot(disk: &[u8], kiosk: &Kiosk) -> Result<Booted, String> {
    let env = environment(disk, kiosk.redundant)?;
    let slot = match env.get("nerves_fw_active") {
        Some("a") => "a",
        Some("b") => "b",
        other => return Err(format!("the active slot is {other:?}")),
    };
    let validated = env.get("nerves_fw_validated") == Some("1");
    let firmware = start(disk, kiosk, &env, slot)?;
    if !validated {
        let other = if slot == "a" { "b" } else { "a" };
        start(disk, kiosk, &env, other).map_err(|why| format!("no way back: {why}"))?;
    }
    Ok(Booted {
        slot,
        version: firmware.version.clone(),
        validated,
    })
}

/// The newer of two copies, or the only one that is whole.
fn environment(disk: &[u8], redundant: bool) -> Result<UbootEnv, String> {
    let block = |at: usize| disk.get(at..at + ENV_LEN).ok_or("the disk is too short");
    let first = block(ENV)?;
    if !redundant {
        return uboot_env::parse(first).map_err(|error| error.to_string());
    }
    let second = block(SECOND_COPY as usize * SECTOR)?;
    match (uboot_env::parse_redundant(first), uboot_env::parse_redundant(second)) {
        (Ok((_, old)), Ok((env, new))) if uboot_env::second_is_newer(old, new) => Ok(env),
        (Ok((env, _)), _) | (Err(_), Ok((env, _))) => Ok(env),
        (Err(error), Err(_)) => Err(error.to_string()),
    }
}

/// Checks that a slot holds exactly the firmware that the environment names for it.
fn start<'a>(disk: &[u8], kiosk: &'a Kiosk, env: &UbootEnv, slot: &str) -> Result<&'a Firmware, String> {
    let get = |name: &str| env.get(&format!("{slot}.nerves_fw_{name}")).unwrap_or_default();
    let firmware = kiosk
        .by_uuid(get("uuid"))
        .ok_or_else(|| format!("slot {slot} has no known uuid"))?;
    if get("version") != firmware.version {
        return Err(format!("slot {slot} is called {}", get("version")));
    }
    let rootfs = partition(disk, if slot == "a" { 1 } else { 2 })?;
    if disk.get(rootfs..rootfs + firmware.rootfs.len()) != Some(&firmware.rootfs[..]) {
        return Err(format!(
            "the root filesystem of slot {slot} is not that of {}",
            firmware.version
        ));
    }
    let kernel = file(
        disk,
        partition(disk, 0)?,
        format!("BZIMAGE {}  ", slot.to_uppercase()).as_bytes(),
    )?;
    if kernel != firmware.kernel {
        return Err(format!("the kernel of slot {slot} is not that of {}", firmware.version));
    }
    Ok(firmware)
}

/// The first byte of a primary partition.
fn partition(disk: &[u8], index: usize) -> Result<usize, String> {
    if disk.get(510..512) != Some(&[0x55, 0xaa]) {
        return Err("there is no partition table".into());
    }
    let entry = &disk[446 + 16 * index..][..16];
    let start = u32::from_le_bytes([entry[8], entry[9], entry[10], entry[11]]) as usize;
    if start == 0 {
        Err(format!("there is no partition {index}"))
    } else {
        Ok(start * SECTOR)
    }
}

/// A file in the root directory of a FAT12 volume, by its short name.
fn file(disk: &[u8], volume: usize, name: &[u8]) -> Result<Vec<u8>, String> {
    let volume = disk.get(volume..).ok_or("there is no volume")?;
    let short = |at: usize| usize::from(u16::from_le_bytes([volume[at], volume[at + 1]]));
    let (reserved, root_entries, table_sectors) = (short(14), short(17), short(22));
    if volume[510..512] != [0x55, 0xaa] || [volume[13], volume[16]] != [1, 2] || short(11) != SECTOR {
        return Err("there is no FAT volume".into());
    }
    let table = &volume[reserved * SECTOR..];
    let root = (reserved + 2 * table_sectors) * SECTOR;
    let data = root + root_entries * 32;
    let entries = volume[root..data].chunks(32).take_while(|entry| entry[0] != 0);
    let mut named = entries.filter(|entry| entry.starts_with(name) && entry[11] & 0x18 == 0);
    let entry = named
        .next()
        .ok_or_else(|| format!("there is no {}", String::from_utf8_lossy(name)))?;
    let size = u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]) as usize;
    let mut cluster = usize::from(u16::from_le_bytes([entry[26], entry[27]]));
    let mut content = Vec::new();
    while content.len() < size {
        if !(2..0xff0).contains(&cluster) {
            return Err("a chain of clusters is too short".into());
        }
        let begin = data + (cluster - 2) * SECTOR;
        content.extend_from_slice(volume.get(begin..begin + SECTOR).ok_or("a cluster is outside")?);
        let both = u16::from_le_bytes([table[cluster + cluster / 2], table[cluster + cluster / 2 + 1]]);
        cluster = usize::from(if cluster % 2 == 0 { both & 0xfff } else { both >> 4 });
    }
    content.truncate(size);
    Ok(content)
}
