//! What the agent runs with.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use muster_fwup::PublicKey;
use muster_link::Encoding;

use super::IdentitySettings;
use crate::archives::ArchiveSettings;
use crate::console::ConsoleSettings;
use crate::extensions::ExtensionSettings;
use crate::scripts::ScriptSettings;

/// Everything that the configuration decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server.
    pub server: ServerSettings,
    /// The device.
    pub identity: IdentitySettings,
    /// The disk and its firmware.
    pub firmware: FirmwareSettings,
    /// The downloader's numbers.
    pub download: DownloadSettings,
    /// Who may decline an update.
    pub policy: PolicySettings,
    /// What is done when something happens.
    pub hooks: HookSettings,
    /// Archives beside the firmware.
    pub archives: ArchiveSettings,
    /// Code that the server sends.
    pub scripts: ScriptSettings,
    /// A shell for operators.
    pub console: ConsoleSettings,
    /// What is offered to the server beside.
    pub extensions: ExtensionSettings,
    /// The agent itself.
    pub agent: AgentSettings,
}

/// Where the server is.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// `wss://HOST[:PORT]/PATH?vsn=VERSION`, the version that of the encoding.
    pub url: Uri,
    /// How messages are written.
    pub encoding: Encoding,
    /// PEM file of the certificate authorities that the server's certificate must chain to.
    pub ca: PathBuf,
    /// The TLS versions that are offered.
    pub tls: TlsVersions,
}

/// Which TLS versions are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersions {
    /// 1.2 and 1.3.
    Both,
    /// 1.2 only.
    Only12,
    /// 1.3 only.
    Only13,
}

/// The disk and its firmware.
#[derive(Debug, Clone)]
pub struct FirmwareSettings {
    /// The device or image file that updates are written to.
    pub disk: PathBuf,
    /// U-Boot's description of where the environment lies.
    pub fw_env_config: PathBuf,
    /// Keys whose signature is trusted; without any every update is refused.
    pub public_keys: Vec<PublicKey>,
    /// The task of the archive, by its beginning.
    pub task: String,
    /// The largest file that is downloaded, in bytes.
    pub max_firmware_bytes: u64,
    /// The file in which firmware leaves a parameter for the reboot command, such as `0 tryboot` of a Raspberry Pi; without
    /// it firmware that does so is refused.
    pub reboot_param: Option<PathBuf>,
    /// PEM file of further certificate authorities for downloads.
    pub ca: Option<PathBuf>,
}

/// How a file comes to the disk (device-link §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Applied as it comes; nothing is kept.
    Streaming,
    /// Kept whole first.
    Caching,
    /// Kept first, each part checked and kept over reboots, several at a time if wanted.
    Parts,
}

/// The downloader's numbers (device-link §5.4).
#[derive(Debug, Clone)]
pub struct DownloadSettings {
    /// So many lost connections and expired URLs are survived; one more fails the update.
    pub max_disconnects: u32,
    /// Without data for this long a connection counts as lost.
    pub idle_timeout: Duration,
    /// The whole download fails after this long.
    pub max_timeout: Duration,
    /// The pause before a lost connection is opened again.
    pub time_between_retries: Duration,
    /// In bits per second: a download slower than this fails.
    pub worst_case_download_speed: u64,
    /// How a file comes to the disk.
    pub strategy: Strategy,
    /// Where files are kept, unless streaming.
    pub cache_dir: PathBuf,
    /// How many parts are fetched at a time.
    pub parallel: usize,
}

/// Who may decline an update.
#[derive(Debug, Clone)]
pub struct PolicySettings {
    /// The program that is asked, if any.
    pub script: Option<PathBuf>,
    /// How long it may think.
    pub time_limit: Duration,
}

/// Programs that are run when something happens; an empty line runs nothing.
#[derive(Debug, Clone)]
pub struct HookSettings {
    /// Makes the device seen.
    pub identify: Vec<String>,
    /// Gets everything ready for a reboot.
    pub before_reboot: Vec<String>,
    /// Takes an archive.
    pub archive: Vec<String>,
    /// How long the first two may take.
    pub time_limit: Duration,
    /// How long an archive may take.
    pub archive_time_limit: Duration,
}

/// Which platform the agent runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlatformKind {
    /// A real board: the boot loader boots.
    Linux,
    /// An image file: the agent plays the boot loader.
    Virtual,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The agent itself.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// Where the agent keeps what must survive a power cut.
    pub state_dir: PathBuf,
    /// What the agent runs on.
    pub platform: PlatformKind,
    /// Base delays before the link is dialled again; each is stretched by up to half by chance, the last repeats.
    pub backoff: Vec<Duration>,
    /// The delay while the device has no network; those attempts do not count.
    pub network_retry: Duration,
    /// How often a heartbeat is sent.
    pub heartbeat: Duration,
    /// What reboots a `linux` device.
    pub reboot_command: Vec<String>,
    /// On `virtual`: how long new firmware may take until it is validated, before the watchdog reboots.
    pub boot_timeout: Duration,
    /// What must succeed, besides the join, before new firmware is validated.
    pub health_script: Option<PathBuf>,
    /// How long it may take.
    pub health_time_limit: Duration,
    /// How log lines look, unless the command line says.
    pub log_format: LogFormat,
    /// Whether the agent validates new firmware; if not, it watches whether another program does.
    pub validate: bool,
    /// What the device says that it is connected by; nothing if empty.
    pub connection_types: Vec<String>,
    /// The socket by which the agent is asked and told; see [`crate::control`].
    pub socket: PathBuf,
}
