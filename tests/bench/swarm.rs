//! Swarms of devices: `muster-swarm` as processes of their own, told what to do by lines and telling by lines of JSON.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::output::note;
use super::process::program;
use super::server::Server;

/// How long a swarm may take for what it is waited for.
const PATIENCE: Duration = Duration::from_mins(2);
/// Devices of one process: each needs an open file.
const PER_PROCESS: u32 = 7_500;

/// A swarm that runs, in one process or several. Dropping it ends it.
#[derive(Debug)]
pub struct Swarm {
    processes: Vec<Process>,
    lines: UnboundedReceiver<(usize, Value)>,
}

#[derive(Debug)]
struct Process {
    _child: Child,
    stdin: ChildStdin,
    links: Value,
}

/// Which devices, and how.
#[derive(Debug, Clone)]
pub struct Devices<'a> {
    /// How many.
    pub links: u32,
    /// The number of the first.
    pub first: u32,
    /// The folder of their certificates.
    pub certs: PathBuf,
    /// `1.2` or `1.3`.
    pub tls: &'a str,
    /// How many dial at the same time, of all processes.
    pub parallel: u32,
    /// What else they are told.
    pub more: &'a [&'a str],
}

/// When the devices of a swarm had joined, by the machine's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Joined {
    /// The first byte of the first dial.
    pub first_dial_ns: u64,
    /// The last reply to a join was read.
    pub last_join_ns: u64,
}

/// Makes certificates that are not there yet, signed by `folder/ca.pem`, in `folder/devices`.
pub async fn make_certificates(folder: &Path, links: u32) -> anyhow::Result<()> {
    let status = Command::new(program("muster-swarm", "MUSTER_SWARM")?)
        .args(["certs", "--links", &links.to_string(), "--ca"])
        .arg(folder.join("ca.pem"))
        .arg("--ca-key")
        .arg(folder.join("ca.key"))
        .arg("--out")
        .arg(folder.join("devices"))
        .kill_on_drop(true)
        .status()
        .await?;
    anyhow::ensure!(status.success(), "muster-swarm made no certificates");
    Ok(())
}

impl Swarm {
    /// Starts devices, which dial at once.
    pub fn start(server: &Server, devices: &Devices<'_>) -> anyhow::Result<Self> {
        let (sender, lines) = unbounded_channel();
        let count = devices.links.div_ceil(PER_PROCESS).max(1);
        let each = devices.links.div_ceil(count);
        let mut processes = Vec::new();
        for number in 0..count {
            let links = each.min(devices.links - number * each);
            let mut child = Command::new(program("muster-swarm", "MUSTER_SWARM")?)
                .args(["run", "--commands"])
                .args(["--server", &server.addrs.devices.to_string(), "--server-ca"])
                .arg(server.ca())
                .arg("--certs")
                .arg(&devices.certs)
                .args(["--tls", devices.tls, "--links", &links.to_string()])
                .args(["--first", &(devices.first + number * each).to_string()])
                .args(["--rate-parallel", &devices.parallel.div_ceil(count).to_string()])
                .args(devices.more)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .context("muster-swarm does not start")?;
            let stdout = child.stdout.take().context("its output")?;
            tokio::spawn(read(stdout, number as usize, sender.clone()));
            processes.push(Process {
                stdin: child.stdin.take().context("its input")?,
                _child: child,
                links: Value::Null,
            });
        }
        Ok(Self { processes, lines })
    }

    /// Tells every process what to do.
    pub async fn tell(&mut self, command: &str) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.stdin.write_all(format!("{command}\n").as_bytes()).await?;
            process.stdin.flush().await?;
        }
        Ok(())
    }

    /// Waits until all have joined.
    pub async fn joined(&mut self) -> anyhow::Result<Joined> {
        let lines = self.each("joined").await.context("not all devices joined")?;
        let stamps = |name: &str| {
            let of = move |line: &Value| line[name].as_u64();
            lines.iter().filter_map(of).collect::<Vec<_>>()
        };
        Ok(Joined {
            first_dial_ns: stamps("first_dial_ns").into_iter().min().unwrap_or_default(),
            last_join_ns: stamps("last_join_ns").into_iter().max().context("last_join_ns")?,
        })
    }

    /// How many heartbeats were answered since the last such question, and the time below which 99 of 100 lie, in
    /// milliseconds: the worst of the processes.
    pub async fn beats(&mut self) -> anyhow::Result<(u64, f64)> {
        self.tell("beats").await?;
        let lines = self.each("beats").await?;
        let number = |line: &Value, name: &str| line[name].as_u64().unwrap_or_default();
        let p99 = lines
            .iter()
            .map(|line| number(line, "p99_us"))
            .max()
            .unwrap_or_default();
        Ok((lines.iter().map(|line| number(line, "n")).sum(), p99 as f64 / 1e3))
    }

    /// How many health reports were sent so far.
    pub async fn health_reports(&mut self) -> anyhow::Result<u64> {
        self.tell("beats").await?;
        let lines = self.each("beats").await?;
        let sent = |line: &Value| line["health_reports"].as_u64().unwrap_or_default();
        Ok(lines.iter().map(sent).sum())
    }

    /// How many links are joined now, and every failure so far.
    pub fn standing(&mut self) -> (u64, Vec<String>) {
        while let Ok((process, line)) = self.lines.try_recv() {
            self.note_links(process, &line);
        }
        let joined = |process: &Process| process.links["joined"].as_u64().unwrap_or_default();
        let failures = |process: &Process| {
            let failures = process.links["failures"].as_object();
            failures.map(|all| Value::Object(all.clone()).to_string())
        };
        (
            self.processes.iter().map(joined).sum(),
            self.processes.iter().filter_map(failures).collect(),
        )
    }

    /// Waits until this many have read a push of this kind, which was sent then; how many milliseconds it took to the last.
    /// What was read before belongs to an earlier command.
    pub async fn read_by(&mut self, kind: &str, links: u32, sent_ns: u64) -> anyhow::Result<f64> {
        let ms = |ns: &Value| ns.as_u64().unwrap_or_default().saturating_sub(sent_ns) as f64 / 1e6;
        let (mut readers, mut last) = (0, 0.0_f64);
        while readers < u64::from(links) {
            let (_, line) = self
                .wait(|_, line| {
                    let is_late = line["last_ns"].as_u64().is_some_and(|last| last >= sent_ns);
                    line["event"] == "push" && line["kind"] == kind && is_late
                })
                .await
                .with_context(|| format!("only {readers} of {links} devices read `{kind}`"))?;
            readers += line["n"].as_u64().unwrap_or_default();
            last = last.max(ms(&line["last_ns"]));
            note(format_args!(
                "{} devices: first {:.0}, half {:.0}, last {last:.0} ms",
                line["n"],
                ms(&line["first_ns"]),
                ms(&line["p50_ns"])
            ));
        }
        Ok(last)
    }

    /// The next line of this event from each process.
    async fn each(&mut self, event: &str) -> anyhow::Result<Vec<Value>> {
        let mut found: Vec<Option<Value>> = vec![None; self.processes.len()];
        while found.iter().any(Option::is_none) {
            let is_it = |process: usize, line: &Value| line["event"] == event && found[process].is_none();
            let (process, line) = self.wait(is_it).await?;
            found[process] = Some(line);
        }
        Ok(found.into_iter().flatten().collect())
    }

    async fn wait(&mut self, is_it: impl Fn(usize, &Value) -> bool) -> anyhow::Result<(usize, Value)> {
        let found = async {
            while let Some((process, line)) = self.lines.recv().await {
                self.note_links(process, &line);
                if is_it(process, &line) {
                    return Ok((process, line));
                }
                if line["event"] == "end" {
                    break;
                }
            }
            bail!("the swarm ended")
        };
        if let Ok(found) = timeout(PATIENCE, found).await {
            return found;
        }
        bail!(
            "nothing for {} s; the swarm stands so: {:?}",
            PATIENCE.as_secs(),
            self.standing()
        );
    }

    fn note_links(&mut self, process: usize, line: &Value) {
        if line["event"] == "links" {
            self.processes[process].links = line.clone();
        }
    }
}

async fn read(stdout: ChildStdout, process: usize, sender: UnboundedSender<(usize, Value)>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(line) = serde_json::from_str(&line) {
            let _ = sender.send((process, line));
        }
    }
}
