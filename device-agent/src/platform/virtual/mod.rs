//! A board that is an image file: the agent plays its boot loader, and a reboot is the process executing itself anew.

mod bootloader;
pub mod slot;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bootloader::Boot;
pub use bootloader::BootError;
use slot::Behaviour;

use super::{Conduct, Facts, FwEnv, FwEnvError, Platform, PlatformError, Rebooting, facts};
use crate::clock;
use crate::config::Settings;
use crate::update::state::Reverted;

/// The image and what was booted from it.
#[derive(Debug)]
pub struct Virtual {
    env: FwEnv,
    disk: PathBuf,
    boot_id: String,
    boot: Boot,
    boot_timeout: Duration,
}

impl Virtual {
    /// Boots.
    ///
    /// # Errors
    /// When nothing boots.
    pub fn start(settings: &Settings) -> Result<Self, PlatformError> {
        let env = FwEnv::read(&settings.firmware.fw_env_config)?;
        let disk = settings.firmware.disk.clone();
        let boot = bootloader::boot(&disk, &env)?;
        // Every start of the process is a boot, whatever ended the one before.
        let boot_id = format!("{}-{}", clock::now().wall_ms, std::process::id());
        Ok(Self {
            env,
            disk,
            boot_id,
            boot,
            boot_timeout: settings.agent.boot_timeout,
        })
    }
}

impl Platform for Virtual {
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
        self.boot.revert.as_ref()
    }

    fn conduct(&self) -> Conduct {
        let behaviour = self.boot.behaviour;
        Conduct {
            crashes: behaviour == Behaviour::Crash && self.boot.on_trial,
            dials: !matches!(behaviour, Behaviour::NoNetwork | Behaviour::Crash),
            validates: behaviour != Behaviour::NeverValidates,
            watchdog: self.boot.on_trial.then_some(self.boot_timeout),
        }
    }

    fn reboot(&self) -> Rebooting<'_> {
        Box::pin(async { Err(PlatformError::Exec(execute_anew())) })
    }
}

/// Becomes a new process with the same arguments; returns only where that fails.
fn execute_anew() -> std::io::Error {
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).exec()
}
