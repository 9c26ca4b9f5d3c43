//! What `agent.toml` may say, key by key: shapes only, no meaning.

use std::path::PathBuf;

use serde::Deserialize;

use crate::duration::Span;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub server: Server,
    pub identity: Identity,
    pub firmware: Firmware,
    #[serde(default)]
    pub download: Download,
    #[serde(default)]
    pub policy: Policy,
    #[serde(default)]
    pub hooks: Hooks,
    pub agent: Agent,
}

/// Where the server is and what proves that it is the right one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub url: String,
    pub ca: PathBuf,
    pub tls: Option<String>,
    pub encoding: Option<String>,
}

/// What proves which device this is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub identifier: String,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub shared_key: Option<String>,
    pub shared_secret: Option<String>,
    pub shared_secret_file: Option<PathBuf>,
}

/// What is flashed where, and whose signature it must carry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Firmware {
    pub disk: PathBuf,
    pub fw_env_config: Option<PathBuf>,
    #[serde(default)]
    pub public_keys: Vec<String>,
    pub task: Option<String>,
    pub max_firmware_bytes: Option<u64>,
    pub ca: Option<PathBuf>,
}

/// The downloader's numbers, by their names in device-link §5.4.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Download {
    pub max_disconnects: Option<u32>,
    pub idle_timeout: Option<Span>,
    pub max_timeout: Option<Span>,
    pub time_between_retries: Option<Span>,
    pub worst_case_download_speed: Option<u64>,
    pub strategy: Option<String>,
    pub cache_dir: Option<PathBuf>,
    pub parallel: Option<usize>,
}

/// Who may say no to an update.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Policy {
    pub script: Option<PathBuf>,
    pub time_limit: Option<Span>,
}

/// What is done when something happens.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hooks {
    pub identify: Option<Vec<String>>,
    pub before_reboot: Option<Vec<String>>,
    pub archive: Option<Vec<String>>,
    pub time_limit: Option<Span>,
    pub archive_time_limit: Option<Span>,
}

/// The agent itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    pub state_dir: PathBuf,
    pub platform: String,
    pub backoff: Option<Vec<Span>>,
    pub network_retry: Option<Span>,
    pub heartbeat: Option<Span>,
    pub reboot_command: Option<Vec<String>>,
    pub boot_timeout: Option<Span>,
    pub health_script: Option<PathBuf>,
    pub health_time_limit: Option<Span>,
    pub log_format: Option<String>,
    pub socket: Option<PathBuf>,
}
