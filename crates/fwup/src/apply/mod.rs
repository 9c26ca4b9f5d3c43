//! Applying a task to a target (format §4).

use crate::metadata::Metadata;

/// How an archive is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyOptions {
    /// The first percentage to be reported.
    pub progress_low: u8,
    /// The percentage reported when everything is durable.
    pub progress_high: u8,
    /// Read back every segment after writing it.
    pub verify_writes: bool,
    /// Read before writing, and skip what is the same already.
    pub minimize_writes: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { progress_low: 0, progress_high: 100, verify_writes: false, minimize_writes: false }
    }
}

/// What happens while an archive is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A percentage. It only rises; the last one is reported when everything is durable.
    Progress(u8),
    /// What the firmware's `info()` says.
    Info(String),
}

/// What was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Name of the task that was chosen.
    pub task: String,
    /// The archive's metadata.
    pub metadata: Metadata,
}
