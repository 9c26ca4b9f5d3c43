//! A command that is run to its end and measured.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// How often the memory of a running command is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// The words of a command line.
pub type Words<'a> = [&'a dyn AsRef<OsStr>];

/// A command that understands fwup's options.
#[derive(Debug)]
pub struct Tool {
    program: PathBuf,
    /// What it prints last.
    log: PathBuf,
}

impl Tool {
    pub fn new(program: PathBuf, folder: &Path) -> Self {
        Self {
            program,
            log: folder.join("log"),
        }
    }

    /// A command of this name on the PATH.
    pub fn on_path(name: &str, folder: &Path) -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let program = std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())?;
        Some(Self::new(program, folder))
    }

    fn command(&self, words: &Words<'_>) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.program);
        let log = File::create(&self.log)?;
        // the same archive each time
        command.env("SOURCE_DATE_EPOCH", "1750000000");
        command.args(words).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    /// Waits for its end; seconds since it began.
    fn finish(&self, mut child: Child, began: Instant) -> anyhow::Result<f64> {
        let status = child.wait()?;
        let seconds = began.elapsed().as_secs_f64();
        if !status.success() {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            anyhow::bail!("{} failed: {}", self.program.display(), said.trim());
        }
        Ok(seconds)
    }

    /// Runs it; returns the seconds that it took.
    pub fn run(&self, words: &Words<'_>) -> anyhow::Result<f64> {
        let mut command = self.command(words)?;
        let began = Instant::now();
        let child = command.spawn().with_context(|| self.program.display().to_string())?;
        self.finish(child, began)
    }

    /// Runs it with a file fed into its standard input through a pipe.
    pub fn run_fed(&self, words: &Words<'_>, input: &Path) -> anyhow::Result<f64> {
        let mut command = self.command(words)?;
        let mut input = File::open(input)?;
        let began = Instant::now();
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let mut pipe = child.stdin.take().context("its standard input")?;
        // when it ends early the pipe breaks, and its status says more
        let fed = feed(&mut input, &mut pipe);
        drop(pipe);
        let seconds = self.finish(child, began)?;
        fed?;
        Ok(seconds)
    }

    /// Runs it; returns the most millions of bytes that were resident, as the kernel counts them. The figure is looked at
    /// while it runs, because it is gone when it has ended.
    pub fn peak_mb(&self, words: &Words<'_>) -> anyhow::Result<f64> {
        let mut command = self.command(words)?;
        let began = Instant::now();
        let mut child = command.spawn()?;
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait()?.is_none() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line
                .and_then(|rest| rest.split_whitespace().next())
                .and_then(|kib| kib.parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or_default());
            std::thread::sleep(LOOK);
        }
        self.finish(child, began)?;
        anyhow::ensure!(peak > 0, "its memory was not seen");
        Ok(peak as f64 * 1024.0 / 1e6)
    }
}

/// Copies as a program does that has the bytes in its memory, which is how they come from a network.
fn feed(input: &mut File, pipe: &mut ChildStdin) -> io::Result<()> {
    let mut buf = vec![0; 128 * 1024];
    while let count @ 1.. = input.read(&mut buf)? {
        pipe.write_all(&buf[..count])?;
    }
    Ok(())
}
