//! Runs a program of the configuration: bounded in time and output, and gone with all its children when time is up.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// Of an answer no more than this is read.
const ANSWER_MAX: usize = 4096;
/// Output is read in pieces of this.
const READ_BYTES: usize = 4096;

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

/// How a program ended, and what it wrote.
#[derive(Debug)]
pub struct Ran {
    /// How it ended; none where its time was up.
    pub status: Option<ExitStatus>,
    /// The beginning of its standard output.
    pub output: Vec<u8>,
    /// The beginning of its standard error.
    pub errors: Vec<u8>,
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
    let time_limit = program.time_limit;
    let ran = capture(program, ANSWER_MAX).await?;
    match ran.status {
        None => Err(ProgramError::TimedOut(time_limit)),
        Some(status) if !status.success() => Err(ProgramError::Failed(status)),
        Some(_) => Ok(String::from_utf8_lossy(&ran.output).into_owned()),
    }
}

/// Runs the program to its end, or to that of its time; keeps so many bytes of each output and reads on beyond them.
///
/// # Errors
/// When it cannot be run.
pub async fn capture(program: Program, output_max: usize) -> Result<Ran, ProgramError> {
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
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(not_run)?;
    let group = Group(child.id());
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = tokio::time::timeout(program.time_limit, async {
        tokio::try_join!(
            keep(stdout, &mut output, output_max),
            keep(stderr, &mut errors, output_max)
        )?;
        child.wait().await
    })
    .await;
    drop(group);
    Ok(Ran {
        status: ended.ok().transpose().map_err(not_run)?,
        output,
        errors,
    })
}

async fn keep(source: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>, max: usize) -> io::Result<()> {
    let Some(mut source) = source else {
        return Ok(());
    };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = source.read(&mut buffer).await?;
        let room = max.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
        if read == 0 {
            return Ok(());
        }
    }
}

/// A program's process group; dropped, all of it is killed: a shell script leaves its own children behind otherwise.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        kill(self.0);
    }
}

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
    async fn output_is_kept_up_to_its_limit_and_until_the_time_is_up() {
        let noisy = "head -c 1000000 /dev/zero | tr '\\0' x; echo wrong >&2; exit 3";
        let ran = capture(shell(noisy, Duration::from_secs(10)), 100).await.unwrap();
        assert_eq!((ran.output.len(), &*ran.errors), (100, &b"wrong\n"[..]));
        assert_eq!(ran.status.unwrap().code(), Some(3));
        let hanging = "echo first; sleep 600";
        let ran = capture(shell(hanging, Duration::from_millis(500)), 100).await.unwrap();
        assert_eq!((ran.status, &*ran.output), (None, &b"first\n"[..]));
    }

    #[tokio::test]
    async fn program_that_hangs_is_killed_with_its_children() {
        let hanging = run(shell("sleep 600 & sleep 600", Duration::from_millis(50))).await;
        assert!(matches!(hanging, Err(ProgramError::TimedOut(_))));
    }
}
