//! What survives a power cut: `update.json` in the state directory, replaced as a whole and on disk before each step.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The version of the file's format.
const FORMAT: u32 = 1;
const FILE: &str = "update.json";
const TEMPORARY: &str = "update.json.new";
const UNREADABLE: &str = "update.json.unreadable";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persisted {
    /// The version of the format.
    pub format: u32,
    /// Where the update stands.
    #[serde(flatten)]
    pub phase: Phase,
    /// What the server has not been told yet.
    #[serde(default)]
    pub pending: Option<Pending>,
    /// The firmware that was tried last and given up by the boot loader.
    #[serde(default)]
    pub reverted: Option<Reverted>,
    /// The firmware that was begun last and did not come up yet.
    #[serde(default)]
    pub begun: Option<Begun>,
}

/// Where the update stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is going on.
    #[default]
    Idle,
    /// The update was put off.
    Holding {
        /// The firmware that was put off.
        uuid: String,
        /// Milliseconds since 1970 at which it may be told again.
        until_ms: u64,
        /// How long it was put off; bounds the wait when the clock jumps back.
        delay_ms: u64,
        /// How often it was put off.
        count: u32,
        /// Why.
        reason: String,
    },
    /// The other slot is being written.
    Applying {
        /// The firmware that is written.
        uuid: String,
        /// Its version.
        version: String,
        /// The firmware that runs.
        from_uuid: String,
        /// The slot that runs.
        slot: String,
        /// How often this firmware was begun, this time included.
        attempt: u32,
        /// The boot in which it was begun.
        boot_id: String,
    },
    /// The other slot is written and selected; a reboot is due.
    Rebooting {
        /// The firmware that comes up next.
        uuid: String,
        /// Its version.
        version: String,
        /// The firmware that runs until then.
        from_uuid: String,
        /// The boot that must end.
        boot_id: String,
    },
    /// The new firmware runs and is not validated yet; the boot loader may still go back.
    Trying {
        /// The firmware that runs.
        uuid: String,
        /// Its version.
        version: String,
        /// The firmware that ran before.
        from_uuid: String,
    },
}

impl Phase {
    /// The phase's name, as in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Holding { .. } => "holding",
            Self::Applying { .. } => "applying",
            Self::Rebooting { .. } => "rebooting",
            Self::Trying { .. } => "trying",
        }
    }

    /// The firmware that it is about.
    pub fn uuid(&self) -> Option<&str> {
        match self {
            Self::Idle => None,
            Self::Holding { uuid, .. }
            | Self::Applying { uuid, .. }
            | Self::Rebooting { uuid, .. }
            | Self::Trying { uuid, .. } => Some(uuid),
        }
    }
}

/// A status that waits for the next join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Pending {
    /// The update failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// The update was declined.
    Ignored {
        /// Why.
        reason: String,
    },
    /// The update was put off; until when stands in the phase.
    Rescheduled {
        /// Why.
        reason: String,
    },
}

/// Firmware that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The firmware.
    pub uuid: String,
    /// How often.
    pub times: u32,
}

/// Firmware that the boot loader gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverted {
    /// The firmware.
    pub uuid: String,
    /// Why, as far as is known.
    pub reason: String,
}

impl Default for Persisted {
    fn default() -> Self {
        Self {
            format: FORMAT,
            phase: Phase::Idle,
            pending: None,
            reverted: None,
            begun: None,
        }
    }
}

/// The state directory.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// The store in this directory, which is made if need be.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Reads the state. A file that is not there is the beginning; one that cannot be understood is set aside and counts
    /// as the beginning too, since which firmware runs stands in the environment and not here.
    ///
    /// # Errors
    /// When the file is there and the system refuses to read it.
    pub fn load(&self) -> io::Result<Persisted> {
        let path = self.directory.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Persisted::default()),
            Err(cause) => return Err(cause),
        };
        let cause = match serde_json::from_slice::<Persisted>(&bytes) {
            Ok(persisted) if persisted.format == FORMAT => return Ok(persisted),
            Ok(persisted) => format!("format {} is unknown", persisted.format),
            Err(cause) => cause.to_string(),
        };
        tracing::warn!(file.path = %path.display(), error = %cause, "update state set aside");
        fs::rename(&path, self.directory.join(UNREADABLE))?;
        Ok(Persisted::default())
    }

    /// Replaces the state; it is on disk when this returns.
    ///
    /// # Errors
    /// When the disk is full or fails; the old state then stands.
    pub fn save(&self, persisted: &Persisted) -> io::Result<()> {
        let temporary = self.directory.join(TEMPORARY);
        let mut text = serde_json::to_vec_pretty(persisted)?;
        text.push(b'\n');
        let mut file = File::create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, self.directory.join(FILE))?;
        File::open(&self.directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding() -> Persisted {
        Persisted {
            phase: Phase::Holding {
                uuid: "u".into(),
                until_ms: 7,
                delay_ms: 5,
                count: 1,
                reason: "busy".into(),
            },
            pending: Some(Pending::Rescheduled { reason: "busy".into() }),
            ..Persisted::default()
        }
    }

    #[test]
    fn state_reads_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("deeper/state")).unwrap();
        assert_eq!(store.load().unwrap(), Persisted::default());
        store.save(&holding()).unwrap();
        assert_eq!(store.load().unwrap(), holding());
    }

    #[test]
    fn file_is_flat_and_names_its_phase() {
        let value = serde_json::to_value(holding()).unwrap();
        assert_eq!(value["phase"], "holding");
        assert_eq!(value["pending"]["status"], "rescheduled");
        assert_eq!(value["format"], 1);
    }

    #[test]
    fn state_that_cannot_be_understood_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for text in [
            "",
            "{",
            r#"{"format":9,"phase":"idle"}"#,
            r#"{"format":1,"phase":"flying"}"#,
        ] {
            fs::write(directory.path().join(FILE), text).unwrap();
            assert_eq!(store.load().unwrap(), Persisted::default(), "{text}");
            assert_eq!(fs::read_to_string(directory.path().join(UNREADABLE)).unwrap(), text);
        }
    }
}
