//! A real board: U-Boot (or what writes its environment) boots, a command of the configuration reboots.
//!
//! There is no watchdog of ours here: the board's own must reboot firmware that hangs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Conduct, Facts, FwEnv, FwEnvError, Platform, PlatformError, Rebooting, facts};
use crate::config::Settings;
use crate::program::{self, Program};
use crate::update::state::Reverted;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The command only asks for the reboot.
const COMMAND_TIME_LIMIT: Duration = Duration::from_mins(1);

/// The board.
#[derive(Debug)]
pub struct Linux {
    env: FwEnv,
    disk: PathBuf,
    boot_id: String,
    reboot_command: Vec<String>,
}

impl Linux {
    /// Finds out where things are.
    ///
    /// # Errors
    /// When the environment's place is not described, or `/proc` is not there.
    pub fn start(settings: &Settings) -> Result<Self, PlatformError> {
        let boot_id = std::fs::read_to_string(BOOT_ID).map_err(PlatformError::BootId)?;
        Ok(Self {
            env: FwEnv::read(&settings.firmware.fw_env_config)?,
            disk: settings.firmware.disk.clone(),
            boot_id: boot_id.trim().to_owned(),
            reboot_command: settings.agent.reboot_command.clone(),
        })
    }
}

impl Platform for Linux {
    fn facts(&self) -> Result<Facts, PlatformError> {
        Ok(Facts::read(&self.env.load()?).ok_or(FwEnvError::NoActiveSlot)?)
    }

    fn validate(&self) -> Result<(), PlatformError> {
        Ok(facts::validate(&self.env)?)
    }

    fn disk(&self) -> &Path {
        &self.disk
    }

    fn boot_id(&self) -> &str {
        &self.boot_id
    }

    fn revert(&self) -> Option<&Reverted> {
        None
    }

    fn conduct(&self) -> Conduct {
        Conduct {
            crashes: false,
            dials: true,
            validates: true,
            watchdog: None,
        }
    }

    fn reboot(&self) -> Rebooting<'_> {
        Box::pin(async {
            program::run(Program::command(&self.reboot_command, COMMAND_TIME_LIMIT)).await?;
            Ok(())
        })
    }
}
