//! A virtual board: a disk image, keys, a configuration, and a real agent process that runs on it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use muster_fwup::PublicKey;
use muster_fwup::uboot_env::{self, UbootEnv};
use serde_json::{Value, json};

use crate::certificates::Issued;
use crate::process::{Process, program};
use crate::world::Secret;
use crate::{Api, eventually, firmware};

/// A board whose power is off.
#[derive(Debug)]
pub struct Board {
    /// What it calls itself.
    pub identifier: String,
    /// Where everything of it lies.
    pub folder: PathBuf,
}

/// A board whose power is on; dropping it is a power cut.
#[derive(Debug)]
pub struct Power {
    process: Process,
}

/// What a board proves itself by.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// This certificate.
    Certificate(&'a Issued),
    /// This shared secret.
    Secret(&'a Secret),
}

impl<'a> From<&'a Issued> for Proof<'a> {
    fn from(issued: &'a Issued) -> Self {
        Self::Certificate(issued)
    }
}

impl<'a> From<&'a Secret> for Proof<'a> {
    fn from(secret: &'a Secret) -> Self {
        Self::Secret(secret)
    }
}

impl Proof<'_> {
    /// Writes what it needs, and gives its lines of the table `[identity]`.
    fn write(self, folder: &Path) -> anyhow::Result<String> {
        match self {
            Self::Certificate(issued) => {
                std::fs::write(folder.join("device.pem"), &issued.cert)?;
                std::fs::write(folder.join("device.key"), &issued.key)?;
                Ok("cert = \"device.pem\"\nkey = \"device.key\"".to_owned())
            }
            Self::Secret(secret) => {
                std::fs::write(folder.join("device.secret"), &secret.secret)?;
                Ok(format!(
                    "shared_key = \"{}\"\nshared_secret_file = \"device.secret\"",
                    secret.key
                ))
            }
        }
    }
}

/// What differs between boards.
#[derive(Debug, Clone)]
pub struct Wiring<'a> {
    /// Where the server's device listener is.
    pub server: SocketAddr,
    /// The CA that the server's certificate is by.
    pub server_ca: &'a Path,
    /// The key whose firmware it takes.
    pub key: &'a PublicKey,
    /// A shell script that decides on updates.
    pub policy: Option<&'a str>,
    /// Further lines of the table `[identity]`.
    pub identity: &'a str,
    /// Further lines of the table `[agent]`.
    pub agent: &'a str,
}

impl Board {
    /// Makes a board in `folder` that runs `archive`.
    ///
    /// # Errors
    /// When the archive does not apply.
    pub fn make<'a>(
        folder: &Path,
        identifier: &str,
        archive: &[u8],
        proof: impl Into<Proof<'a>>,
        wiring: &Wiring<'_>,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(identifier);
        std::fs::create_dir_all(&folder)?;
        firmware::flash(
            archive,
            wiring.key,
            &folder.join("disk.img"),
            &folder.join("fw_env.config"),
        )?;
        let identity = proof.into().write(&folder)?;
        std::fs::copy(wiring.server_ca, folder.join("ca.pem")).context("the server's CA")?;
        let mut config = format!(
            "[server]\nurl = \"wss://{}\"\nca = \"ca.pem\"\n\n[identity]\nidentifier = \"{identifier}\"\n{identity}\n{}\n\n\
             [firmware]\ndisk = \"disk.img\"\nfw_env_config = \"fw_env.config\"\n\
             public_keys = [\"{}\"]\ntask = \"upgrade\"\n\n[download]\ntime_between_retries = \"200ms\"\n\n\
             [agent]\nstate_dir = \"state\"\nplatform = \"virtual\"\nbackoff = [\"200ms\", \"500ms\", \"1s\"]\nlog_format = \"json\"\n{}\n",
            wiring.server, wiring.identity, wiring.key, wiring.agent
        );
        if let Some(policy) = wiring.policy {
            let script = folder.join("policy");
            std::fs::write(&script, format!("#!/bin/sh\n{policy}\n"))?;
            make_executable(&script)?;
            config.push_str("\n[policy]\nscript = \"policy\"\n");
        }
        std::fs::write(folder.join("agent.toml"), config)?;
        Ok(Self {
            identifier: identifier.to_owned(),
            folder,
        })
    }

    /// Registers the board with its certificate.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn register(&self, api: &Api, product: &str, tags: &[&str]) -> anyhow::Result<()> {
        use base64::Engine as _;
        let pem = std::fs::read(self.folder.join("device.pem"))?;
        api.post(
            &format!("{product}/devices"),
            json!({ "identifier": self.identifier, "tags": tags }),
        )
        .await?;
        let cert = base64::engine::general_purpose::STANDARD.encode(pem);
        api.post(
            &format!("{product}/devices/{}/certificates", self.identifier),
            json!({ "cert": cert }),
        )
        .await?;
        Ok(())
    }

    /// Switches its power on.
    ///
    /// # Errors
    /// When the agent cannot be started.
    pub fn power_on(&self) -> anyhow::Result<Power> {
        let config = self.folder.join("agent.toml");
        let mut command = Command::new(program("muster-agent")?);
        command.arg("run").arg("--config").arg(config);
        Ok(Power {
            process: Process::start(&mut command, &self.identifier, &self.folder.join("agent.log"))?,
        })
    }

    /// The version in the slot that the boot loader would start, from the disk itself.
    ///
    /// # Errors
    /// When the environment on the disk does not decode.
    pub fn version_on_disk(&self) -> anyhow::Result<String> {
        let env = self.environment()?;
        let slot = env.get("nerves_fw_active").context("no active slot")?.to_owned();
        Ok(env
            .get(&format!("{slot}.nerves_fw_version"))
            .context("no version")?
            .to_owned())
    }

    /// The U-Boot environment on its disk.
    ///
    /// # Errors
    /// When it does not decode.
    pub fn environment(&self) -> anyhow::Result<UbootEnv> {
        use std::os::unix::fs::FileExt as _;
        let mut block = vec![0; 8192];
        std::fs::File::open(self.folder.join("disk.img"))?.read_exact_at(&mut block, 8192)?;
        Ok(uboot_env::parse(&block)?)
    }

    /// Where a slot begins on its disk, in bytes, by the partition table.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn slot_offset(&self, slot: &str) -> anyhow::Result<u64> {
        use std::os::unix::fs::FileExt as _;
        let entry = if slot == "a" { 1 } else { 2 };
        let mut start = [0; 4];
        std::fs::File::open(self.folder.join("disk.img"))?.read_exact_at(&mut start, 446 + entry * 16 + 8)?;
        Ok(u64::from(u32::from_le_bytes(start)) * 512)
    }

    /// What the server says of it.
    ///
    /// # Errors
    /// When the server does not know it.
    pub async fn seen(&self, api: &Api, product: &str) -> anyhow::Result<Value> {
        api.get(&format!("{product}/devices/{}", self.identifier)).await
    }

    /// Waits until the server says that it is connected and runs this version.
    ///
    /// # Errors
    /// When it does not in time; with what the server says instead, and the end of the agent's log.
    pub async fn until_runs(&self, api: &Api, product: &str, version: &str, deadline: Duration) -> anyhow::Result<()> {
        let what = format!("{} to run {version}", self.identifier);
        let waited = eventually(&what, deadline, || async {
            let seen = self.seen(api, product).await?;
            Ok((seen["version"] == version && seen["connection_status"] == "connected").then_some(()))
        })
        .await;
        match waited {
            Ok(()) => Ok(()),
            Err(error) => {
                let seen = self.seen(api, product).await?;
                Err(error.context(format!("the server says {seen}\n{}", self.log_tail())))
            }
        }
    }

    /// What the agent logged, line by line.
    pub fn log(&self) -> impl Iterator<Item = Value> {
        let log = std::fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.into_iter()
    }

    /// The end of the agent's log.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Power {
    /// Cuts the power at once.
    pub fn cut(mut self) {
        self.process.kill();
    }

    /// Ends the agent as its service manager would.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.process.stop()
    }

    /// The agent's process, which stays the same over the board's reboots.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn make_executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}
