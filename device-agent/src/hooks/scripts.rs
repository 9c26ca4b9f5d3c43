//! Programs of the configuration, each with a time limit, which kills it and its children.
//!
//! Every one gets `MUSTER_HOOK` (its name in the configuration), `MUSTER_IDENTIFIER` and `MUSTER_STATE_DIR` in its
//! environment; `before_reboot` gets `MUSTER_REBOOT_REASON` (`updated`, `asked`, `not-validated`, `again`); `archive` gets
//! `MUSTER_ARCHIVE_FILE`, which is gone when it has ended, and `MUSTER_ARCHIVE_UUID`, `_VERSION`, `_DESCRIPTION`,
//! `_PLATFORM`, `_ARCHITECTURE`. A program that does not end with 0 has failed.

use std::path::Path;

use muster_link::Archive;

use super::{Doing, Hooks, RebootReason};
use crate::config::Settings;
use crate::program::{self, Program};

/// The programs.
#[derive(Debug, Clone)]
pub struct Scripts {
    settings: crate::config::HookSettings,
    identifier: String,
    state_dir: String,
}

impl Scripts {
    /// The programs of the configuration.
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.hooks.clone(),
            identifier: settings.identity.identifier.clone(),
            state_dir: settings.agent.state_dir.to_string_lossy().into_owned(),
        }
    }

    fn program(&self, name: &str, line: &[String], time_limit: std::time::Duration) -> Program {
        Program::command(line, time_limit)
            .env("MUSTER_HOOK", name)
            .env("MUSTER_IDENTIFIER", &self.identifier)
            .env("MUSTER_STATE_DIR", &self.state_dir)
    }
}

async fn run(program: Program) -> Result<(), String> {
    let ended = program::run(program).await;
    ended.map(drop).map_err(|cause| cause.to_string())
}

impl Hooks for Scripts {
    fn identify(&self) -> Doing<'_> {
        Box::pin(async {
            let line = &self.settings.identify;
            if line.is_empty() {
                return Ok(());
            }
            run(self.program("identify", line, self.settings.time_limit)).await
        })
    }

    fn before_reboot(&self, reason: RebootReason) -> Doing<'_> {
        Box::pin(async move {
            let line = &self.settings.before_reboot;
            if line.is_empty() {
                return Ok(());
            }
            let program = self.program("before_reboot", line, self.settings.time_limit);
            run(program.env("MUSTER_REBOOT_REASON", reason.name())).await
        })
    }

    fn takes_archives(&self) -> bool {
        !self.settings.archive.is_empty()
    }

    fn archive<'a>(&'a self, archive: &'a Archive, file: &'a Path) -> Doing<'a> {
        Box::pin(async move {
            let line = &self.settings.archive;
            let program = self
                .program("archive", line, self.settings.archive_time_limit)
                .env("MUSTER_ARCHIVE_FILE", &file.to_string_lossy())
                .env("MUSTER_ARCHIVE_UUID", &archive.uuid)
                .env("MUSTER_ARCHIVE_VERSION", &archive.version)
                .env(
                    "MUSTER_ARCHIVE_DESCRIPTION",
                    archive.description.as_deref().unwrap_or_default(),
                )
                .env("MUSTER_ARCHIVE_PLATFORM", &archive.platform)
                .env("MUSTER_ARCHIVE_ARCHITECTURE", &archive.architecture);
            run(program).await
        })
    }
}
