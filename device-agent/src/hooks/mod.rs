//! What a product does of its own when something happens: a library user's [`Hooks`], or programs of the configuration.
//!
//! Whether an update is applied is asked of the [`policy`](crate::policy); here nothing is asked, something is done.

mod scripts;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use muster_link::Archive;
pub use scripts::Scripts;

use crate::config::Settings;
use crate::identity::signer::Signer;
use crate::policy::{self, Policy};

/// Something that is being done; the error says why it did not work.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Why the device reboots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebootReason {
    /// New firmware is written and selected.
    Updated,
    /// The server asked for it.
    Asked,
    /// The new firmware was not validated in time.
    NotValidated,
    /// The reboot that was to happen before did not.
    Again,
}

impl RebootReason {
    /// The name that a program gets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Updated => "updated",
            Self::Asked => "asked",
            Self::NotValidated => "not-validated",
            Self::Again => "again",
        }
    }
}

/// What a product does of its own.
pub trait Hooks: Send + Sync {
    /// Makes the device seen: a light blinks, a tone sounds.
    fn identify(&self) -> Doing<'_>;

    /// Gets everything ready for a reboot, which follows whatever comes of this.
    fn before_reboot(&self, reason: RebootReason) -> Doing<'_>;

    /// Whether archives are taken at all; where not, none is fetched.
    fn takes_archives(&self) -> bool {
        true
    }

    /// Takes an archive, which was verified; where this fails the server's next push of it is another chance.
    fn archive<'a>(&'a self, archive: &'a Archive, file: &'a Path) -> Doing<'a>;
}

/// What a product brings along.
#[derive(Clone)]
pub struct Custom {
    /// Whether updates are applied.
    pub policy: Arc<dyn Policy>,
    /// What happens beside.
    pub hooks: Arc<dyn Hooks>,
    /// The device's private key, if it is not in the file of the configuration.
    pub signer: Option<Arc<dyn Signer>>,
}

impl std::fmt::Debug for Custom {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Custom")
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

impl Custom {
    /// What the configuration asks for.
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            policy: Arc::from(policy::from_settings(settings)),
            hooks: Arc::new(Scripts::new(settings)),
            signer: None,
        }
    }
}
