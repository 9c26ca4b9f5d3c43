//! The embedded Postgres of a server by `up`, stopped and started under it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::Process;
use crate::{Server, eventually};

/// How long it may take to end, and to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Postgres that was stopped.
#[derive(Debug)]
pub struct Stopped {
    data: PathBuf,
    command: Vec<String>,
}

/// Ends the server's Postgres as a crash would: no checkpoint, every connection cut.
///
/// # Errors
/// When there is none, or it does not end.
pub async fn stop(server: &Server) -> anyhow::Result<Stopped> {
    let data = server.folder().join("postgres");
    let pid_file = data.join("postmaster.pid");
    let pid = fs::read_to_string(&pid_file).context("postmaster.pid")?;
    let pid: i32 = pid.lines().next().context("it is empty")?.trim().parse()?;
    let command = words(&fs::read_to_string(data.join("postmaster.opts")).context("postmaster.opts")?);
    // The immediate shutdown of Postgres.
    kill(Pid::from_raw(pid), Signal::SIGQUIT)?;
    eventually("Postgres to end", PATIENCE, || async {
        Ok((!Path::new(&format!("/proc/{pid}")).exists() && !pid_file.exists()).then_some(()))
    })
    .await?;
    Ok(Stopped { data, command })
}

impl Stopped {
    /// Starts it again, as it was; it ends with the value.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(self) -> anyhow::Result<Process> {
        let (program, arguments) = self.command.split_first().context("postmaster.opts is empty")?;
        let owner = fs::metadata(&self.data)?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.data);
        if nix::unistd::geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let mut process = Process::start(&mut command, "postgres", &self.data.with_extension("log"))?;
        let pid_file = self.data.join("postmaster.pid");
        let process_ref = std::cell::RefCell::new(&mut process);
        eventually("Postgres to be ready", PATIENCE, || async {
            process_ref.borrow_mut().ensure_running()?;
            // Its last line says so.
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            Ok(text
                .lines()
                .last()
                .is_some_and(|line| line.trim() == "ready")
                .then_some(()))
        })
        .await?;
        Ok(process)
    }
}

/// The words of `postmaster.opts`: each but the first is quoted.
fn words(line: &str) -> Vec<String> {
    let (program, rest) = line.trim().split_once(" \"").unwrap_or((line.trim(), ""));
    let rest = rest.trim_end_matches('"');
    let arguments = rest.split("\" \"").filter(|word| !word.is_empty());
    std::iter::once(program).chain(arguments).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_they_are_written() {
        let line = "/usr/lib/postgresql/15/bin/postgres \"-D\" \"/a b/data\" \"-F\"\n";
        assert_eq!(
            words(line),
            ["/usr/lib/postgresql/15/bin/postgres", "-D", "/a b/data", "-F"]
        );
        assert_eq!(words("postgres"), ["postgres"]);
    }
}
