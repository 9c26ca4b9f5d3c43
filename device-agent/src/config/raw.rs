//! What `agent.toml` may say, key by key: shapes only, no meaning.

use std::collections::BTreeMap;
use std::path::PathBuf;

use muster_link::IdentityService;
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
    #[serde(default)]
    pub archives: Archives,
    #[serde(default)]
    pub scripts: Scripts,
    #[serde(default)]
    pub console: Console,
    #[serde(default)]
    pub extensions: Extensions,
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
    pub renew_before: Option<Span>,
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
    pub reboot_param: Option<PathBuf>,
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

/// Archives beside the firmware.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Archives {
    pub public_keys: Option<Vec<String>>,
    pub max_bytes: Option<u64>,
}

/// Code that the server sends.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Scripts {
    pub interpreter: Option<Vec<String>>,
    pub time_limit: Option<Span>,
    pub output_max: Option<usize>,
}

/// A shell for operators.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Console {
    pub enabled: bool,
    pub shell: Option<Vec<String>>,
    pub data_dir: Option<PathBuf>,
    pub inactivity: Option<Span>,
}

/// What is offered to the server beside.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Extensions {
    pub health: Option<bool>,
    pub health_disk: Option<PathBuf>,
    pub metadata: BTreeMap<String, String>,
    pub local_shell: bool,
    pub logging: bool,
    pub renewal: Option<bool>,
    pub geo: Option<Geo>,
    pub network_identity: Vec<NetworkIdentity>,
}

/// Where the device is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Geo {
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub accuracy: Option<f64>,
    pub script: Option<PathBuf>,
    pub time_limit: Option<Span>,
}

/// A key of the device in an overlay network.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkIdentity {
    pub service: IdentityService,
    pub identifier: String,
    pub instance: Option<String>,
    #[serde(default)]
    pub details: serde_json::Map<String, serde_json::Value>,
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
    pub validate: Option<bool>,
    #[serde(default)]
    pub connection_types: Vec<String>,
}
