//! The boot loader that the virtual platform plays over its image.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use muster_fwup::uboot_env::UbootEnv;

use super::slot::{self, Behaviour, Extent, Header, SlotError};
use crate::platform::facts::{ACTIVE, VALIDATED, other};
use crate::platform::{FwEnv, FwEnvError};
use crate::update::state::Reverted;

/// Whether the boot loader started the active slot since it was written: `0` or `1`.
const BOOTED: &str = "nerves_fw_booted";
const SECTOR_BYTES: u64 = 512;

/// Why nothing boots.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The environment is damaged.
    #[error(transparent)]
    Environment(#[from] FwEnvError),
    /// The image is not there.
    #[error("cannot open the disk {path}: {cause}")]
    NoDisk {
        /// The image.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Neither slot is good.
    #[error("nothing to boot: slot {slot}: {reason}; slot {other}: {cause}")]
    NothingBoots {
        /// The active slot.
        slot: String,
        /// Why it is left.
        reason: String,
        /// The slot that it was left for.
        other: &'static str,
        /// Why that is refused.
        cause: SlotError,
    },
}

/// What was booted.
#[derive(Debug)]
pub(super) struct Boot {
    pub behaviour: Behaviour,
    /// Whether the next boot goes back unless the firmware is validated.
    pub on_trial: bool,
    pub revert: Option<Reverted>,
}

/// What the flags ask for.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// The slot is here to stay.
    Start,
    /// The slot gets its one boot.
    Try,
    /// The slot had its one boot.
    GoBack,
}

fn decide(env: &UbootEnv) -> Decision {
    if env.get(VALIDATED) == Some("1") {
        Decision::Start
    } else if env.get(BOOTED) == Some("1") {
        Decision::GoBack
    } else {
        Decision::Try
    }
}

/// Boots.
pub(super) fn boot(disk: &Path, fw_env: &FwEnv) -> Result<Boot, BootError> {
    let file = File::open(disk).map_err(|cause| BootError::NoDisk {
        path: disk.to_owned(),
        cause,
    })?;
    let mut env = fw_env.load()?;
    let active = env.get(ACTIVE).ok_or(FwEnvError::NoActiveSlot)?.to_owned();
    let decision = decide(&env);
    if decision == Decision::GoBack {
        let reason = format!("slot {active} was not validated in its only boot");
        return go_back(&file, fw_env, env, &active, reason);
    }
    let header = match check(&file, &env, &active) {
        Ok(header) => header,
        Err(cause) => {
            tracing::warn!(slot.name = active, error = %cause, "slot refused");
            return go_back(
                &file,
                fw_env,
                env,
                &active,
                format!("slot {active} was refused: {cause}"),
            );
        }
    };
    if decision == Decision::Try {
        env.set(BOOTED, "1").map_err(FwEnvError::NoRoom)?;
        fw_env.save(&env)?;
    }
    started(&active, &header);
    Ok(Boot {
        behaviour: header.behaviour,
        on_trial: decision == Decision::Try,
        revert: None,
    })
}

fn go_back(file: &File, fw_env: &FwEnv, mut env: UbootEnv, active: &str, reason: String) -> Result<Boot, BootError> {
    let slot = other(active);
    let header = check(file, &env, slot).map_err(|cause| BootError::NothingBoots {
        slot: active.to_owned(),
        reason: reason.clone(),
        other: slot,
        cause,
    })?;
    for (name, value) in [(ACTIVE, slot), (VALIDATED, "1"), (BOOTED, "1")] {
        env.set(name, value).map_err(FwEnvError::NoRoom)?;
    }
    let uuid = env
        .get(&format!("{active}.nerves_fw_uuid"))
        .unwrap_or_default()
        .to_owned();
    fw_env.save(&env)?;
    tracing::warn!(
        slot.name = active,
        firmware.uuid = uuid,
        reason,
        "boot loader went back"
    );
    started(slot, &header);
    Ok(Boot {
        behaviour: header.behaviour,
        on_trial: false,
        revert: Some(Reverted { uuid, reason }),
    })
}

fn started(slot: &str, header: &Header) {
    tracing::info!(
        slot.name = slot,
        slot.version = header.version,
        slot.behaviour = header.behaviour.name(),
        "slot started"
    );
}

fn check(file: &File, env: &UbootEnv, slot: &str) -> Result<Header, SlotError> {
    let partition = match slot {
        "a" => 1,
        "b" => 2,
        _ => return Err(SlotError::NoSlot),
    };
    let named = env.get(&format!("{slot}.nerves_fw_version")).unwrap_or_default();
    slot::check(file, extent(file, partition)?, named)
}

/// Where a primary partition lies, from the MBR.
fn extent(file: &File, partition: u64) -> Result<Extent, SlotError> {
    let mut signature = [0; 2];
    file.read_exact_at(&mut signature, 510)?;
    if signature != [0x55, 0xaa] {
        return Err(SlotError::NoSlot);
    }
    let entry = 446 + 16 * partition;
    let start = number(file, entry + 8)?;
    let count = number(file, entry + 12)?;
    if start == 0 || count == 0 {
        return Err(SlotError::NoSlot);
    }
    Ok(Extent {
        offset: start * SECTOR_BYTES,
        size: count * SECTOR_BYTES,
    })
}

fn number(file: &File, offset: u64) -> io::Result<u64> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(u64::from(u32::from_le_bytes(bytes)))
}

#[cfg(test)]
#[path = "bootloader_tests.rs"]
mod tests;
