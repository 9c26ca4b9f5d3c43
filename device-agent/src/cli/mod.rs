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
use crate::control::{Request, client};
use crate::extensions::logging::{Forward, Valve};
use crate::hooks::Custom;
use crate::{event_loop, identity};

/// A thread that writes or applies, and name look-ups beside it.
const BLOCKING_THREADS_MAX: usize = 4;
/// What is left of an attempt may take this long to notice that the agent ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

const LONG_HELP: &str = concat!(
    "Examples:\n",
    "  muster-agent config check --config agent.toml   what is wrong with it, if anything\n",
    "  muster-agent run --config agent.toml            until Ctrl-C or SIGTERM; a second start goes on\n",
    "  muster-agent status                             how the running agent is\n",
    "  muster-agent upload /var/log/messages           to whoever has the console open\n\n",
    "Every key of the configuration:\n\n",
    include_str!("../../agent.example.toml"),
);

/// Connects a device to a Muster server: reports its firmware, applies signed updates, reboots, validates.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, after_long_help = LONG_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the agent until it gets SIGTERM or SIGINT
    #[command(after_long_help = LONG_HELP)]
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
    /// Shows how the agent is: link, firmware, update; from its files if it does not run
    Status {
        #[command(flatten)]
        config: ConfigPath,
        /// As JSON, in one line
        #[arg(long)]
        json: bool,
    },
    /// Has the running agent drop its link, or its wait for the next attempt, and dial at once
    Reconnect {
        #[command(flatten)]
        config: ConfigPath,
    },
    /// Has the running agent make the device seen, as if the server had asked
    Identify {
        #[command(flatten)]
        config: ConfigPath,
    },
    /// Has the running agent send a file of less than 10 MiB to whoever has the device's console open
    Upload {
        #[command(flatten)]
        config: ConfigPath,
        /// The file
        file: PathBuf,
    },
    /// Runs a program with the terminal on its standard input as its own; for the agent's own use
    #[command(hide = true)]
    OnTerminal {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        program: Vec<std::ffi::OsString>,
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
        Command::Status { config, json } => print(&report::status(&config.config, json)?),
        Command::Reconnect { config } => ask(&config.config, &Request::Reconnect),
        Command::Identify { config } => ask(&config.config, &Request::Identify),
        Command::Upload { config, file } => {
            let path = file
                .canonicalize()
                .with_context(|| format!("cannot read {}", file.display()))?;
            ask(&config.config, &Request::Upload { path })
        }
        Command::OnTerminal { program } => Err(crate::terminal::take_over(&program)).context("cannot run the shell"),
    }
}

fn ask(config: &Path, request: &Request) -> anyhow::Result<()> {
    let settings = Settings::read(config)?;
    client::ask(&settings.agent.socket, request)?;
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().lock().write_all(text.as_bytes()).context("cannot write")
}

fn run(config: &Path, log_format: Option<LogFormat>) -> anyhow::Result<()> {
    let settings = Settings::read(config)?;
    log_to_stderr(
        log_format.unwrap_or(settings.agent.log_format),
        settings.extensions.logging,
    );
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

/// The log goes to standard error, and by `forward` to the server where that wants it.
fn log_to_stderr(format: LogFormat, forward: bool) {
    let wanted = std::env::var("MUSTER_LOG").ok().and_then(|text| text.parse().ok());
    let targets: Targets = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false);
    let forward = forward.then(|| Forward(Valve::global()));
    let registry = tracing_subscriber::registry().with(targets).with(forward);
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
