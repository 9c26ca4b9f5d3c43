//! Runs a program of the configuration: bounded in time and output, and gone with all its children when time is up.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// Output beyond this is not read.
const OUTPUT_MAX: u64 = 4096;

/// A program that is to be run.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    time_limit: Duration,
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started or waited for.
    #[error("{path} cannot be run: {cause}")]
    NotRun {
        /// The program.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It did not end well.
    #[error("it ended with {0}")]
    Failed(ExitStatus),
    /// It did not end in time.
    #[error("it did not end within {0:?}")]
    TimedOut(Duration),
}

impl Program {
    /// The program at `path`, killed after `time_limit`.
    pub fn new(path: &Path, time_limit: Duration) -> Self {
        Self {
            path: path.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            time_limit,
        }
    }

    /// A command line: the program and its arguments.
    pub fn command(line: &[String], time_limit: Duration) -> Self {
        let (path, arguments) = line
            .split_first()
            .map_or((Path::new(""), &[][..]), |(first, rest)| (Path::new(first), rest));
        Self {
            arguments: arguments.to_vec(),
            ..Self::new(path, time_limit)
        }
    }

    /// Adds a variable to the program's environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }
}

/// Runs the program; returns the beginning of what it wrote to its standard output.
///
/// # Errors
/// When it cannot be run, fails, or takes too long.
pub async fn run(program: Program) -> Result<String, ProgramError> {
    let not_run = |cause| ProgramError::NotRun {
        path: program.path.clone(),
        cause,
    };
    let mut command = Command::new(&program.path);
    for variable in crate::notify::VARIABLES {
        command.env_remove(variable);
    }
    let mut child = command
        .args(&program.arguments)
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(not_run)?;
    let group = child.id();
    let ended = tokio::time::timeout(program.time_limit, finish(&mut child)).await;
    if ended.is_err() {
        kill(group);
    }
    let (status, output) = ended
        .map_err(|_| ProgramError::TimedOut(program.time_limit))?
        .map_err(not_run)?;
    if !status.success() {
        return Err(ProgramError::Failed(status));
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

async fn finish(child: &mut Child) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_MAX).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?, output))
}

/// Kills the whole group: a shell script leaves its own children behind otherwise.
fn kill(group: Option<u32>) {
    let Some(group) = group.and_then(|id| i32::try_from(id).ok()) else {
        return;
    };
    // An error says that the group is gone already.
    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, time_limit: Duration) -> Program {
        Program::command(&["/bin/sh".into(), "-c".into(), script.into()], time_limit).env("WORD", "apply")
    }

    #[tokio::test]
    async fn output_of_a_good_end_is_returned() {
        let output = run(shell("echo $WORD", Duration::from_secs(10))).await.unwrap();
        assert_eq!(output, "apply\n");
    }

    #[tokio::test]
    async fn failure_and_absence_are_told_apart() {
        let failed = run(shell("exit 3", Duration::from_secs(10))).await;
        assert!(matches!(failed, Err(ProgramError::Failed(_))));
        let absent = run(Program::new(Path::new("/nonexistent/program"), Duration::from_secs(10))).await;
        assert!(matches!(absent, Err(ProgramError::NotRun { .. })));
    }

    #[tokio::test]
    async fn program_that_hangs_is_killed_with_its_children() {
        let hanging = run(shell("sleep 600 & sleep 600", Duration::from_millis(50))).await;
        assert!(matches!(hanging, Err(ProgramError::TimedOut(_))));
    }
}
