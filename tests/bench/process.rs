//! Processes that end when we do, by their ids, and what the kernel says of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a process has to end by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process of ours. Dropping it tells it to end and waits.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Takes care of a process that was started.
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// Whether it has ended already.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Bytes in memory.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).context("a process that has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).context("VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// Seconds of CPU so far, by user and kernel; its children are not counted.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = Stat::read(self.0.id()).context("a process that has ended")?;
        Ok(stat.own as f64 / per_second()?)
    }

    /// Ends it without a word.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `/proc` says of a process.
struct Stat {
    parent: u32,
    /// Ticks of its own.
    own: u64,
    /// Ticks of its children that have ended.
    ended: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it may hold spaces, but no other parenthesis follows it.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: number(1)? as u32,
            own: number(11)? + number(12)?,
            ended: number(13)? + number(14)?,
        })
    }
}

fn per_second() -> anyhow::Result<f64> {
    Ok(nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100) as f64)
}

/// Seconds of CPU of a process and its children so far, those that have ended too.
pub fn family_cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let head = Stat::read(pid).context("a process that has ended")?;
    let mut ticks = head.own + head.ended;
    for entry in fs::read_dir("/proc")?.flatten() {
        let child = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(stat) = child.and_then(Stat::read).filter(|stat| stat.parent == pid) {
            ticks += stat.own;
        }
    }
    Ok(ticks as f64 / per_second()?)
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.has_ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A temporary folder; as root, the embedded Postgres' user must be able to enter it.
pub fn folder(keep: bool) -> anyhow::Result<tempfile::TempDir> {
    let mut folder = tempfile::Builder::new().prefix("muster-bench-").tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
    if keep {
        folder.disable_cleanup(true);
        super::output::note(format_args!("everything lies in {}", folder.path().display()));
    }
    Ok(folder)
}

/// A program of ours: named by the environment, or beside this one, or where a release build puts it.
pub fn program(name: &str, variable: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        anyhow::ensure!(path.exists(), "{variable} names {}, which is not there", path.display());
        return Ok(path);
    }
    let beside = std::env::current_exe()?.with_file_name(name);
    let release = Path::new("target/release").join(name);
    [beside, release]
        .into_iter()
        .find(|path| path.exists())
        .with_context(|| {
            format!(
                "{name} is not built. Build it with `cargo build --release --bin {name}`, or name it with {variable}."
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_measured_and_ended_by_its_id() {
        let process = Process::new(Command::new("sleep").arg("60").spawn().unwrap());
        let id = process.0.id();
        assert!(process.resident_bytes().unwrap() > 0);
        assert!(process.cpu_seconds().unwrap() < 5.0);
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
