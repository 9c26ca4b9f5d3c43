//! The command line.

mod report;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, Settings};
use crate::hooks::Custom;
use crate::{event_loop, identity};

/// A thread that writes or applies, and name look-ups beside it.
const BLOCKING_THREADS_MAX: usize = 4;
/// What is left of an attempt may take this long to notice that the agent ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

const EXAMPLE: &str = r#"A configuration that is enough, with the defaults of the most useful further keys:

  [server]
  url = "wss://fleet.example.com:4001"
  ca = "ca.pem"                        # who signed the server's certificate
  # tls = "1.2"                        # default: 1.2 and 1.3

  [identity]
  identifier = "kiosk-0001"            # the certificate's common name
  cert = "device.pem"
  key = "device.key"

  [firmware]
  disk = "/dev/mmcblk0"
  fw_env_config = "/etc/fw_env.config" # device offset size, as U-Boot's tools have it
  public_keys = ["BASE64"]             # without any, every update is refused
  # task = "upgrade"
  # max_firmware_bytes = 2147483648
  # ca = "more.pem"                    # further CAs for downloads

  [agent]
  state_dir = "/var/lib/muster"
  platform = "linux"                   # or "virtual": an image file, the agent plays the boot loader
  # reboot_command = ["reboot"]
  # backoff = ["1s", "2s", "4s", "8s", "16s", "32s", "60s"]
  # heartbeat = "30s"
  # boot_timeout = "30s"               # virtual: unvalidated firmware is rebooted after this
  # health_script = "healthy.sh"       # must end with 0 before new firmware is validated
  # health_time_limit = "10s"
  # identify_command = ["blink"]
  # log_format = "text"                # or "json"

  [policy]
  # script = "policy.sh"               # prints: apply | ignore REASON | reschedule 10m REASON
  # time_limit = "10s"

  [download]
  # max_disconnects = 10
  # idle_timeout = "60s"
  # time_between_retries = "15s"
  # max_timeout = "24h"
  # worst_case_download_speed = 30000  # bits per second

Relative paths start at the configuration's directory. MUSTER_LOG sets what is logged: info, debug, or target=level,..."#;

/// Connects a device to a Muster server: reports its firmware, applies signed updates, reboots, validates.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, after_long_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the agent until it gets SIGTERM or SIGINT
    #[command(after_long_help = EXAMPLE)]
    Run {
        #[command(flatten)]
        config: ConfigPath,
        /// How log lines look; they go to standard error
        #[arg(long, value_enum)]
        log_format: Option<LogFormat>,
    },
    /// Looks at the configuration without running
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Shows the running firmware and where an update stands
    Status {
        #[command(flatten)]
        config: ConfigPath,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Says what is wrong with the configuration and the files that it names, or that nothing is
    Check {
        #[command(flatten)]
        config: ConfigPath,
    },
}

#[derive(Debug, clap::Args)]
struct ConfigPath {
    /// The configuration file
    #[arg(long, env = "MUSTER_AGENT_CONFIG", default_value = "/etc/muster/agent.toml")]
    config: PathBuf,
}

/// Runs the program.
pub fn main() -> ExitCode {
    identity::install_provider();
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            // Nothing is left to tell it to if standard error is gone.
            let _ = writeln!(io::stderr().lock(), "muster-agent: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { config, log_format } => run(&config.config, log_format),
        Command::Config(ConfigCommand::Check { config }) => print(&report::check(&config.config)?),
        Command::Status { config } => print(&report::status(&config.config)?),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().lock().write_all(text.as_bytes()).context("cannot write")
}

fn run(config: &Path, log_format: Option<LogFormat>) -> anyhow::Result<()> {
    let settings = Settings::read(config)?;
    log_to_stderr(log_format.unwrap_or(settings.agent.log_format));
    let custom = Custom::from_settings(&settings);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("cannot start")?;
    let result = runtime.block_on(event_loop::run(settings, custom));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
}

fn log_to_stderr(format: LogFormat) {
    let wanted = std::env::var("MUSTER_LOG").ok().and_then(|text| text.parse().ok());
    let targets: Targets = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false);
    let registry = tracing_subscriber::registry().with(targets);
    match format {
        LogFormat::Text => registry.with(layer.with_target(false)).init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
