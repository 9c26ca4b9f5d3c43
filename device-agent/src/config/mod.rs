//! The configuration, in two steps: what the file may say (`raw`), and what the agent runs with ([`Settings`]): parsed,
//! defaulted, with paths resolved against the file's directory.

mod build;
mod features;
mod raw;
mod settings;

use std::path::{Path, PathBuf};

pub use settings::{
    AgentSettings, DownloadSettings, FirmwareSettings, HookSettings, LogFormat, PlatformKind, PolicySettings,
    ServerSettings, Settings, Strategy, TlsVersions,
};

use crate::identity::IdentitySettings;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is not TOML, lacks a key or has one too many.
    #[error("{path}: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and the key.
        cause: Box<toml::de::Error>,
    },
    /// A key has a value that cannot be.
    #[error("{path}: {key}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Settings {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When the file cannot be read, or says something that the agent does not know or cannot do.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        Self::parse(&text, path)
    }

    /// Reads the text of a configuration file that stands at `path`.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: raw::File = toml::from_str(text).map_err(|cause| ConfigError::Malformed {
            path: path.to_owned(),
            cause: Box::new(cause),
        })?;
        // The agent re-executes itself and must find its files again from anywhere.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let directory = absolute.parent().unwrap_or(Path::new("/"));
        build::build(file, directory).map_err(|build::Wrong { key, reason }| ConfigError::Invalid {
            path: path.to_owned(),
            key,
            reason,
        })
    }
}

#[cfg(test)]
mod tests;
