//! A cluster that a killed server left running: found by its postmaster.pid, and ended only once it is certain that the
//! process is Postgres on this very folder, started as we start it.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgresql_embedded::PostgreSQL;

use super::ClusterError;
use super::place::FileError;

/// What postmaster.pid says.
#[derive(Debug, PartialEq, Eq)]
struct PidFile {
    pid: i32,
    data: PathBuf,
}

/// What a process is, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
enum Process {
    /// There is none, or it is no Postgres on this folder: its number was given anew.
    Other,
    /// Ours, left behind.
    Ours,
    /// Postgres on this folder, but not as we start it.
    Foreign,
}

/// Ends the cluster that a killed server left on `data`.
pub(super) async fn end(postgres: &PostgreSQL, data: &Path) -> Result<(), ClusterError> {
    let path = data.join("postmaster.pid");
    let Some(found) = fs::read_to_string(&path).ok().as_deref().and_then(parse) else {
        return Ok(());
    };
    match inspect(&found, data) {
        Process::Ours => {
            tracing::warn!(pid = found.pid, "ending the Postgres that a killed server left behind");
            let stopped = postgres.stop().await;
            stopped.map_err(|error| ClusterError::Postgres(error.to_string()))
        }
        Process::Foreign => Err(ClusterError::Foreign {
            pid: found.pid,
            data: data.display().to_string(),
        }),
        Process::Other => match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::new(&path, "removed", error).into())
            }
            _ => Ok(()),
        },
    }
}

/// Ends the running cluster on `data` as a power cut would.
pub(super) fn quit(data: &Path) {
    let found = fs::read_to_string(data.join("postmaster.pid")).ok();
    if let Some(found) = found.as_deref().and_then(parse)
        && inspect(&found, data) == Process::Ours
    {
        let _ = kill(Pid::from_raw(found.pid), Signal::SIGQUIT);
    }
}

fn parse(text: &str) -> Option<PidFile> {
    let mut lines = text.lines();
    // A cluster in single-user mode writes its number negated; no process has such a number.
    let pid = lines.next()?.trim().parse().ok().filter(|pid| *pid > 1)?;
    let data = PathBuf::from(lines.next()?);
    Some(PidFile { pid, data })
}

fn inspect(found: &PidFile, data: &Path) -> Process {
    let proc = PathBuf::from(format!("/proc/{}", found.pid));
    let Ok(command) = fs::read(proc.join("cmdline")) else {
        return Process::Other;
    };
    let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    let program = fs::read_link(proc.join("exe")).unwrap_or_else(|_| PathBuf::from(text(words.first().copied())));
    let is_postgres = program.file_name().is_some_and(|name| name == "postgres");
    let on_this = words
        .windows(2)
        .any(|pair| pair[0] == b"-D" && pair[1] == data.as_os_str().as_bytes());
    // The postmaster works in its folder; a copy of the folder has a pid file that names another's process.
    let works_here = fs::read_link(proc.join("cwd")).is_ok_and(|folder| folder == data);
    match (is_postgres, on_this && found.data == data, works_here) {
        (true, true, _) => Process::Ours,
        (true, false, true) => Process::Foreign,
        _ => Process::Other,
    }
}

fn text(word: Option<&[u8]>) -> String {
    String::from_utf8_lossy(word.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_names_a_process_and_a_folder() {
        let found = parse("4711\n/srv/muster/postgres\n1700000000\n5432\n/srv/muster/run\n\n").unwrap();
        assert_eq!(
            (found.pid, found.data.as_path()),
            (4711, Path::new("/srv/muster/postgres"))
        );
        for bad in ["", "x\n/srv", "1\n/srv", "-20\n/srv", "4711\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_process_whose_number_was_given_anew_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let found = PidFile {
            pid: std::process::id() as i32,
            data: dir.path().to_path_buf(),
        };
        assert_eq!(inspect(&found, dir.path()), Process::Other);
        quit(dir.path());
    }
}
