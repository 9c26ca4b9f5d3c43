//! Swarms of devices: `muster-swarm` as a process of its own, told what to do by lines and telling by lines of JSON.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::output::note;
use super::process::program;
use super::server::Server;

/// How long a swarm may take for what it is waited for.
const PATIENCE: Duration = Duration::from_mins(2);

/// A swarm that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Swarm {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Which devices, and how.
#[derive(Debug, Clone)]
pub struct Devices<'a> {
    /// How many.
    pub links: u32,
    /// The number of the first.
    pub first: u32,
    /// The folder whose `certs` holds their certificates.
    pub folder: PathBuf,
    /// `1.2` or `1.3`.
    pub tls: &'a str,
    /// How many dial at the same time.
    pub parallel: u32,
}

/// When the devices of a swarm had joined, by the machine's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Joined {
    /// The first byte of the first dial.
    pub first_dial_ns: u64,
    /// The last reply to a join was read.
    pub last_join_ns: u64,
}

/// Makes certificates signed by `folder/ca.pem` in `folder/certs`.
pub async fn make_certificates(folder: &Path, links: u32) -> anyhow::Result<()> {
    let status = Command::new(program("muster-swarm", "MUSTER_SWARM")?)
        .args(["certs", "--links", &links.to_string(), "--ca"])
        .arg(folder.join("ca.pem"))
        .arg("--ca-key")
        .arg(folder.join("ca.key"))
        .arg("--out")
        .arg(folder.join("certs"))
        .kill_on_drop(true)
        .status()
        .await?;
    anyhow::ensure!(status.success(), "muster-swarm made no certificates");
    Ok(())
}

impl Swarm {
    /// Starts devices, which dial at once.
    pub fn start(server: &Server, devices: &Devices<'_>) -> anyhow::Result<Self> {
        let mut child = Command::new(program("muster-swarm", "MUSTER_SWARM")?)
            .args(["run", "--commands"])
            .args(["--server", &server.addrs.devices.to_string(), "--server-ca"])
            .arg(server.ca())
            .arg("--certs")
            .arg(devices.folder.join("certs"))
            .args(["--tls", devices.tls, "--links", &devices.links.to_string()])
            .args(["--first", &devices.first.to_string()])
            .args(["--rate-parallel", &devices.parallel.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("muster-swarm does not start")?;
        let stdout = child.stdout.take().context("its output")?;
        Ok(Self {
            _child: child,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// Waits until all have joined.
    pub async fn joined(&mut self) -> anyhow::Result<Joined> {
        let line = self
            .wait(|line| line["event"] == "joined")
            .await
            .context("not all devices joined")?;
        let stamp = |name: &str| line[name].as_u64().with_context(|| format!("{name} is missing"));
        Ok(Joined {
            first_dial_ns: stamp("first_dial_ns")?,
            last_join_ns: stamp("last_join_ns")?,
        })
    }

    /// Waits until this many have read a push of this kind, which was sent then; how many milliseconds it took to the last.
    pub async fn read_by(&mut self, kind: &str, links: u32, sent_ns: u64) -> anyhow::Result<f64> {
        let ms = |ns: &Value| ns.as_u64().unwrap_or_default().saturating_sub(sent_ns) as f64 / 1e6;
        let (mut readers, mut last) = (0, 0.0_f64);
        while readers < u64::from(links) {
            let line = self
                .wait(|line| line["event"] == "push" && line["kind"] == kind)
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

    async fn wait(&mut self, is_it: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let mut latest = Value::Null;
        let found = async {
            while let Some(line) = self.lines.next_line().await? {
                let line: Value = serde_json::from_str(&line)?;
                if is_it(&line) {
                    return Ok(line);
                }
                latest = line;
            }
            bail!("the swarm ended")
        };
        match timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => bail!("nothing for {} s; last heard: {latest}", PATIENCE.as_secs()),
        }
    }
}
