//! `muster-server` as a process, with a data folder of its own: `up`, or a node by `serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::certificates::Issued;
use crate::process::{Process, program};
use crate::{Api, eventually};

/// How long a server has to answer: a first start makes a Postgres cluster.
const START: Duration = Duration::from_mins(1);

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    /// Where everything of it lies.
    pub data: PathBuf,
    /// Where people and CI reach it.
    pub url: String,
    /// Where devices reach it.
    pub devices: SocketAddr,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a server in `data`, on free ports, with further arguments, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(data: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut all = vec!["up".to_owned(), "--data-dir".to_owned(), data.display().to_string()];
        for (flag, addr) in [("--web", "127.0.0.1:0"), ("--devices", "127.0.0.1:0")] {
            if !arguments.contains(&flag) {
                all.extend([flag.to_owned(), addr.to_owned()]);
            }
        }
        all.extend(arguments.iter().map(|one| (*one).to_owned()));
        Self::launch(data, all).await
    }

    pub(crate) async fn launch(data: &Path, arguments: Vec<String>) -> anyhow::Result<Self> {
        let _ = std::fs::remove_file(data.join("addrs.json"));
        let log = data.with_extension("server.log");
        let mut process = Process::start(
            Command::new(program("muster-server")?).args(&arguments),
            "muster-server",
            &log,
        )?;
        let (web, devices) = {
            let process = std::cell::RefCell::new(&mut process);
            eventually("the server's addresses", START, || async {
                process.borrow_mut().ensure_running()?;
                Ok(if arguments[0] == "serve" {
                    given_addrs(&arguments)
                } else {
                    read_addrs(data)
                })
            })
            .await?
        };
        let server = Self {
            process,
            data: data.to_owned(),
            url: format!("http://{web}"),
            devices,
            arguments,
        };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let url = format!("{}/status/ready", self.url);
        let client = reqwest::Client::builder().no_proxy().build()?;
        eventually("the server to be ready", START, || async {
            // A node by `serve` does not listen at once.
            let answer = client.get(&url).send().await.ok();
            Ok(answer.filter(|answer| answer.status().is_success()).map(|_| ()))
        })
        .await
    }

    /// The API, signed in as the first admin, whose password is printed once at the first start.
    ///
    /// # Errors
    /// When the sign-in fails.
    pub async fn admin(&self) -> anyhow::Result<Api> {
        let (email, password) = self.sign_in()?;
        Api::new(&self.url)?.sign_in(&email, &password).await
    }

    /// Email and password of the first admin, as they were printed.
    ///
    /// # Errors
    /// When they were not.
    pub fn sign_in(&self) -> anyhow::Result<(String, String)> {
        let output = self.process.output();
        let word_after = |what: &str| {
            let line = output.lines().find(|line| line.contains(what))?;
            line.split_once(what)?
                .1
                .trim_start_matches([':', ' '])
                .split_whitespace()
                .next()
                .map(str::to_owned)
        };
        let email = output
            .split_whitespace()
            .find(|word| word.contains('@') && word.contains("localhost"));
        let email = email.map(|word| word.trim_matches([',', '.', ':']).to_owned());
        Ok((
            email.context("no email was printed")?,
            word_after("password").context("no password was printed")?,
        ))
    }

    /// The URL of its embedded database.
    ///
    /// # Errors
    /// When it has none.
    pub fn database_url(&self) -> anyhow::Result<String> {
        let url = std::fs::read_to_string(self.data.join("database.url")).context("database.url")?;
        Ok(url.trim().to_owned())
    }

    /// The folder of its data.
    pub fn folder(&self) -> &Path {
        &self.data
    }

    /// The CA that devices check the server by.
    pub fn ca(&self) -> PathBuf {
        self.data.join("ca.pem")
    }

    /// A device's certificate by the server's own CA, from its command line.
    ///
    /// # Errors
    /// When the command fails.
    pub fn issue(&self, identifier: &str, days: u32) -> anyhow::Result<Issued> {
        let out = self.data.join("issued");
        let output = Command::new(program("muster-server")?)
            .args([
                "ca",
                "issue",
                "--org",
                "default",
                "--identifier",
                identifier,
                "--days",
                &days.to_string(),
            ])
            .arg("--data-dir")
            .arg(&self.data)
            .arg("--out")
            .arg(&out)
            .output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read = |ending: &str| std::fs::read_to_string(out.join(format!("{identifier}.{ending}")));
        Ok(Issued {
            cert: read("pem")?,
            key: read("key")?,
        })
    }

    /// Where the web listener is.
    ///
    /// # Errors
    /// When the URL is no address.
    pub fn web(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.url.trim_start_matches("http://").parse()?)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// A figure of `/metrics`, with its labels as Prometheus writes them.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn figure(&self, token: &str, name: &str) -> anyhow::Result<f64> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let text = client
            .get(format!("{}/metrics", self.url))
            .bearer_auth(token)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        Ok(value.unwrap_or(0.0))
    }

    /// Kills it as a power cut would, and starts it again on the same addresses.
    ///
    /// # Errors
    /// When it does not get ready again.
    pub async fn kill_and_restart(self) -> anyhow::Result<Self> {
        let Self {
            mut process,
            data,
            url,
            devices,
            mut arguments,
        } = self;
        process.kill();
        drop(process);
        let web = url.trim_start_matches("http://").to_owned();
        for (flag, addr) in [("--web", web), ("--devices", devices.to_string())] {
            if let Some(at) = arguments.iter().position(|one| one == flag) {
                arguments[at + 1] = addr;
            }
        }
        Self::launch(&data, arguments).await
    }

    /// Kills it as a power cut would.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.process.stop()
    }
}

/// The addresses that a node by `serve` was given.
fn given_addrs(arguments: &[String]) -> Option<(SocketAddr, SocketAddr)> {
    let addr = |flag: &str| {
        let at = arguments.iter().position(|one| one == flag)?;
        arguments.get(at + 1)?.parse().ok()
    };
    Some((addr("--web")?, addr("--devices")?))
}

fn read_addrs(data: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let text = std::fs::read_to_string(data.join("addrs.json")).ok()?;
    let addrs: Value = serde_json::from_str(&text).ok()?;
    let addr = |key: &str| addrs[key].as_str()?.parse().ok();
    Some((addr("web")?, addr("devices")?))
}
