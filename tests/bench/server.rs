//! The server that is measured: the real program, with its embedded Postgres, in a folder of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use muster_tests::Api;
use muster_tests::proxy::free_port;
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::process::{self, Process, program};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server. Dropping it ends it, Postgres too.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub addrs: Addrs,
    dir: PathBuf,
}

/// Where a server listens, as it says itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Addrs {
    /// Devices, over TLS.
    pub devices: SocketAddr,
    /// The dashboard and the REST API.
    pub web: SocketAddr,
}

impl Server {
    /// Starts it on this folder, new or used before.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(dir, &Addrs { devices: any, web: any }).await
    }

    /// Starts it on this folder and at these addresses.
    pub async fn start_at(dir: &Path, at: &Addrs) -> anyhow::Result<Self> {
        Self::start_program(&program("muster-server", "MUSTER_SERVER")?, dir, at).await
    }

    /// Starts the one that is built with the feature `upgrade-socket`.
    pub async fn start_upgrade(dir: &Path) -> anyhow::Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let at = Addrs { devices: any, web: any };
        let program = program("muster-server-upgrade", "MUSTER_SERVER_UPGRADE")
            .context("`make bench` builds this one beside the usual one")?;
        Self::start_program(&program, dir, &at).await
    }

    async fn start_program(program: &Path, dir: &Path, at: &Addrs) -> anyhow::Result<Self> {
        let log = dir.with_extension("log");
        // One that was killed left it there.
        let _ = fs::remove_file(dir.join("addrs.json"));
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent)?;
        }
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(["up", "--web", &at.web.to_string(), "--devices", &at.devices.to_string()])
            .arg("--data-dir")
            .arg(dir)
            // What operators read of a server that runs well is part of what it costs.
            .env_remove("MUSTER_LOG")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("muster-server does not start")?;
        let mut process = Process::new(child);
        let addrs = addrs(&mut process, &dir.join("addrs.json"))
            .await
            .with_context(|| format!("its log ends with:\n{}", tail(&log)))?;
        Ok(Self {
            process,
            addrs,
            dir: dir.to_owned(),
        })
    }

    /// Starts a second node on the same database, store and keys.
    pub async fn second_node(&self) -> anyhow::Result<Self> {
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let addrs = Addrs {
            devices: local(free_port()?),
            web: local(free_port()?),
        };
        let log = File::create(self.dir.with_extension("second.log"))?;
        let file = |name: &str| self.dir.join(name).display().to_string();
        let url = fs::read_to_string(self.dir.join("database.url"))?;
        let child = Command::new(program("muster-server", "MUSTER_SERVER")?)
            .args(["serve", "--database-url", url.trim()])
            .args([
                "--store",
                &format!("file://{}", file("blobs")),
                "--master-key",
                &file("master.key"),
            ])
            .args([
                "--device-cert",
                &file("tls/server.pem"),
                "--device-key",
                &file("tls/server.key"),
            ])
            .args(["--web", &addrs.web.to_string(), "--devices", &addrs.devices.to_string()])
            .env_remove("MUSTER_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("muster-server does not start")?;
        let mut process = Process::new(child);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(addrs.devices).await.is_err() {
            anyhow::ensure!(!process.has_ended(), "the second node ended at its start");
            anyhow::ensure!(Instant::now() < deadline, "the second node does not listen");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            process,
            addrs,
            dir: self.dir.clone(),
        })
    }

    /// Kills it as a power cut would; its Postgres runs on until the next start ends it.
    pub fn kill(self) -> (PathBuf, Addrs) {
        self.process.kill();
        (self.dir.clone(), self.addrs.clone())
    }

    /// What it says in its log from here on.
    pub fn log(&self) -> Log {
        let path = self.dir.with_extension("log");
        let from = fs::metadata(&path).map_or(0, |file| file.len());
        Log { path, from }
    }

    /// Seconds of CPU that its Postgres has used, all of its processes.
    pub fn postgres_cpu(&self) -> anyhow::Result<f64> {
        let pid = fs::read_to_string(self.dir.join("postgres/postmaster.pid")).context("postmaster.pid")?;
        let pid = pid.lines().next().context("postmaster.pid is empty")?.parse()?;
        process::family_cpu_seconds(pid)
    }

    /// Its database.
    pub async fn database(&self) -> anyhow::Result<PgPool> {
        let url = fs::read_to_string(self.dir.join("database.url"))?;
        Ok(PgPoolOptions::new().max_connections(2).connect(url.trim()).await?)
    }

    /// The API, signed in as the first admin, whose password is said at the first start.
    pub async fn admin(&self) -> anyhow::Result<Api> {
        let log = fs::read_to_string(self.dir.with_extension("log"))?;
        let password = log
            .split("password")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        let password = password.context("the server said no password")?;
        let url = format!("http://{}", self.addrs.web);
        Api::new(&url)?.sign_in("admin@localhost", password).await
    }

    /// The folder of its certificate, `server.pem` and `server.key`.
    pub fn tls(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// The CA that devices check it against.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }
}

/// A part of a log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    from: u64,
}

impl Log {
    /// How many of its lines hold this text.
    pub fn count(&self, text: &str) -> anyhow::Result<usize> {
        let bytes = fs::read(&self.path)?;
        let part = String::from_utf8_lossy(&bytes[usize::try_from(self.from)?.min(bytes.len())..]).into_owned();
        Ok(part.lines().filter(|line| line.contains(text)).count())
    }
}

async fn addrs(process: &mut Process, path: &Path) -> anyhow::Result<Addrs> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(text) = fs::read_to_string(path) {
            return Ok(serde_json::from_str(&text)?);
        }
        if process.has_ended() {
            bail!("muster-server ended at its start");
        }
        sleep(Duration::from_millis(20)).await;
    }
    bail!("muster-server does not listen after {} s", PATIENCE.as_secs())
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
