//! A device: its files in a directory of its own, and the real binary.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use muster_agent::platform::FwEnv;
use muster_fwup::{PrivateKey, PublicKey};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::certs::Certs;
use crate::firmware::Firmware;
use crate::hub::DEADLINE;

pub(crate) struct Device {
    directory: tempfile::TempDir,
}

/// What differs from the ordinary.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) tls: Option<&'static str>,
    pub(crate) keys: Option<Vec<PublicKey>>,
    pub(crate) policy: Option<&'static str>,
    /// The platform `linux`, whose reboot command leaves a mark.
    pub(crate) linux: bool,
    /// How many days the certificate is good for; for ever where this is absent.
    pub(crate) cert_days: Option<u32>,
    /// Further lines of the table `[server]`.
    pub(crate) server: &'static str,
    /// Lines of the table `[identity]` in place of a certificate and its key.
    pub(crate) proof: Option<&'static str>,
    /// Further lines of the table `[agent]`.
    pub(crate) agent: &'static str,
    /// Further lines of the table `[download]`.
    pub(crate) download: &'static str,
    /// Further lines of `[policy]` if there is one, and further tables.
    pub(crate) tables: &'static str,
}

pub(crate) struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Device {
    pub(crate) fn new(certs: &Certs, url: &str, firmware: &Firmware, key: &PrivateKey, options: &Options) -> Self {
        let device = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let (cert, private) = match options.cert_days {
            None => certs.issue("kiosk-0001", &[]),
            Some(days) => certs.issue_for_days("kiosk-0001", days),
        };
        let keys = options.keys.clone().unwrap_or_else(|| vec![key.public()]);
        let keys: Vec<String> = keys.iter().map(|key| format!("{:?}", key.to_string())).collect();
        let tls = options.tls.map(|tls| format!("tls = {tls:?}")).unwrap_or_default();
        let policy = options
            .policy
            .map(|_| "[policy]\nscript = \"policy.sh\"")
            .unwrap_or_default();
        let platform = if options.linux { "linux" } else { "virtual" };
        let reboot = device.path("reboot.sh").display().to_string();
        let config = format!(
            r#"
            [server]
            url = "{url}"
            ca = "ca.pem"
            {tls}
            {}
            [identity]
            identifier = "kiosk-0001"
            {}
            [firmware]
            disk = "disk.img"
            fw_env_config = "fw_env.config"
            public_keys = [{}]
            [download]
            time_between_retries = "50ms"
            {}
            [agent]
            state_dir = "state"
            platform = "{platform}"
            reboot_command = ["{reboot}"]
            backoff = ["100ms"]
            boot_timeout = "3s"
            {}
            {policy}
            {}
            "#,
            options.server,
            options.proof.unwrap_or("cert = \"device.pem\"\nkey = \"device.key\""),
            keys.join(", "),
            options.download,
            options.agent,
            options.tables,
        );
        for (name, content) in [
            ("agent.toml", config.as_str()),
            ("ca.pem", &certs.ca_pem()),
            ("device.pem", &cert),
            ("device.key", &private),
            ("fw_env.config", "disk.img 0x2000 0x2000\n"),
        ] {
            std::fs::write(device.path(name), content).unwrap();
        }
        device.script("reboot.sh", "echo reboot >> \"$(dirname \"$0\")/reboots\"");
        if let Some(policy) = options.policy {
            device.script("policy.sh", policy);
        }
        firmware.flash(&key.public(), &device.path("disk.img"));
        device
    }

    fn script(&self, name: &str, body: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path(name), format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster-agent"));
        command.args(arguments).arg("--config").arg(self.path("agent.toml"));
        command.kill_on_drop(true).stdin(Stdio::null());
        command
    }

    pub(crate) fn start(&self) -> Process {
        self.start_with(&[])
    }

    /// Starts with these variables in the environment.
    pub(crate) fn start_with(&self, environment: &[(&str, &str)]) -> Process {
        let mut child = self
            .command(&["run", "--log-format", "json"])
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, lines) = mpsc::unbounded_channel();
        // Read on whether the test looks or not: an agent whose log is not read stands still.
        tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                let _ = sender.send(line);
            }
        });
        Process { child, lines }
    }

    /// Runs another command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// Has the U-Boot environment say whether the running firmware is validated.
    pub(crate) fn set_validated(&self, validated: bool) {
        let fw_env = FwEnv::read(&self.path("fw_env.config")).unwrap();
        let mut env = fw_env.load().unwrap();
        env.set("nerves_fw_validated", if validated { "1" } else { "0" })
            .unwrap();
        fw_env.save(&env).unwrap();
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("state/update.json")).unwrap()).unwrap()
    }
}

impl Process {
    /// The next log line with this message.
    pub(crate) async fn logged(&mut self, message: &str) -> Value {
        self.logged_where(message, |_| true).await
    }

    pub(crate) async fn logged_where(&mut self, message: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let line = self.lines.recv().await.expect("the agent still runs");
                let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
                if line["message"] == message && fits(&line) {
                    return line;
                }
            }
        };
        timeout(DEADLINE, wait)
            .await
            .unwrap_or_else(|_| panic!("no \"{message}\" in time"))
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let id = self.child.id().unwrap();
        let id = nix::unistd::Pid::from_raw(id.try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.ended().await
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap()
    }
}
