//! The system shell.

use serde::{Deserialize, Serialize};

use crate::lenient;

/// Whether a shell runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellStatus {
    /// It does.
    Started,
    /// It could not be started.
    Failed(String),
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    #[serde(deserialize_with = "lenient::text")]
    status: Option<String>,
    #[serde(deserialize_with = "lenient::prose", skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Status {
    pub(super) fn read(self) -> Option<ShellStatus> {
        match self.status?.as_str() {
            "started" => Some(ShellStatus::Started),
            "failed" => Some(ShellStatus::Failed(self.reason.unwrap_or_default())),
            _ => None,
        }
    }

    pub(super) fn of(status: &ShellStatus) -> Self {
        let (word, reason) = match status {
            ShellStatus::Started => ("started", None),
            ShellStatus::Failed(reason) => ("failed", Some(reason.clone())),
        };
        Self {
            status: Some(word.to_owned()),
            reason,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Exited {
    #[serde(deserialize_with = "lenient::whole")]
    pub exit_code: Option<i64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Window {
    #[serde(deserialize_with = "lenient::count")]
    pub rows: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cols: Option<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kill {
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub signal: Option<u64>,
}
