//! What the agent runs on: the slots, the U-Boot environment, and how to reboot.

pub mod facts;
pub mod fw_env;
mod linux;
mod r#virtual;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

pub use facts::Facts;
pub use fw_env::{FwEnv, FwEnvError};
pub use linux::Linux;
pub use r#virtual::{BootError, Virtual, slot};

use crate::config::{PlatformKind, Settings};
use crate::program::ProgramError;
use crate::update::state::Reverted;

/// Why the platform cannot do what it should.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The U-Boot environment cannot be read or written.
    #[error(transparent)]
    Environment(#[from] FwEnvError),
    /// The boot loader that is played here finds nothing to boot.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The reboot command does not work.
    #[error("the reboot command does not work: {0}")]
    Reboot(#[from] ProgramError),
    /// The process cannot execute itself anew.
    #[error("the agent cannot execute itself anew: {0}")]
    Exec(io::Error),
    /// The system does not tell which boot this is.
    #[error("cannot read which boot this is: {0}")]
    BootId(io::Error),
}

/// What the running firmware does with an agent in it; only the virtual platform knows other than the ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conduct {
    /// Reboots before it connects.
    pub crashes: bool,
    /// Connects.
    pub dials: bool,
    /// Validates itself once it is connected and healthy.
    pub validates: bool,
    /// Firmware that is not validated after this long is rebooted.
    pub watchdog: Option<Duration>,
}

/// A reboot under way; where it succeeds the process does not see its end.
pub type Rebooting<'a> = Pin<Box<dyn Future<Output = Result<(), PlatformError>> + 'a>>;

/// What the agent runs on.
pub trait Platform: Debug {
    /// The active slot, as the environment describes it now.
    ///
    /// # Errors
    /// When the environment is damaged or names no slot.
    fn facts(&self) -> Result<Facts, PlatformError>;

    /// Marks the running firmware as here to stay; on disk when this returns.
    ///
    /// # Errors
    /// When the environment cannot be written.
    fn validate(&self) -> Result<(), PlatformError>;

    /// Where updates are written.
    fn disk(&self) -> &Path;

    /// Names this boot; another one after every reboot.
    fn boot_id(&self) -> &str;

    /// The firmware that was given up on the way to this boot, if that is known.
    fn revert(&self) -> Option<&Reverted>;

    /// What the running firmware does.
    fn conduct(&self) -> Conduct;

    /// Reboots.
    fn reboot(&self) -> Rebooting<'_>;
}

/// Starts the platform that the configuration names.
///
/// # Errors
/// When nothing can be booted.
pub fn start(settings: &Settings) -> Result<Box<dyn Platform>, PlatformError> {
    Ok(match settings.agent.platform {
        PlatformKind::Linux => Box::new(Linux::start(settings)?),
        PlatformKind::Virtual => Box::new(Virtual::start(settings)?),
    })
}
