//! The command line: one file a command. A command reads its flags, does its work through the faces of the rooms, and says
//! what it did.

mod ca;
mod config;
mod keys;
mod migrate;
mod offline;
mod output;
mod serve;
mod signals;
mod up;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::config::{Group, Inputs, LogFlags, Logging};
use crate::telemetry;

/// Muster: a fleet of devices and their firmware.
#[derive(Debug, Parser)]
#[command(
    name = "muster-server",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Everything on this machine, for a first look:\n  muster-server up --data-dir ./data\n\n\
                  On a Postgres and a store of your own:\n  muster-server config check --config muster.toml\n  \
                  muster-server migrate --config muster.toml\n  muster-server serve --config muster.toml\n\n\
                  Every flag is also a key of the TOML file (public_url) and of the environment (MUSTER_PUBLIC_URL);\n\
                  a flag goes before the environment, the environment before the file."
)]
struct Cli {
    /// A TOML file with keys such as public_url = "https://muster.example.com"
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "MUSTER_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: LogFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: server, Postgres, storage, a CA
    Up(up::Up),
    /// Run the server on a Postgres and a store of your own
    Serve(serve::Serve),
    /// Bring the database up to date
    Migrate(migrate::Migrate),
    /// People who sign in
    #[command(subcommand)]
    User(user::User),
    /// CAs whose keys the server holds
    #[command(subcommand)]
    Ca(ca::Ca),
    /// The keys of the secrets in the database
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Config),
}

/// Runs the command that the command line names.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::problem(format_args!("muster-server: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    telemetry::init(&Logging::read(gather(&cli, &[])?)?)?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another cryptography provider is installed"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime")?;
    let system = actix_web::rt::System::with_tokio_rt(move || runtime);
    let inputs = gather(&cli, &cli.command.groups())?;
    system.block_on(async move {
        match cli.command {
            Command::Up(command) => command.run(inputs).await,
            Command::Serve(_) => serve::run(inputs).await,
            Command::Migrate(_) => migrate::run(inputs).await,
            Command::User(command) => command.run(inputs).await,
            Command::Ca(command) => command.run(inputs).await,
            Command::Keys(command) => command.run(inputs).await,
            Command::Config(_) => config::check(inputs),
        }
    })
}

/// What was given for the flags of a command, from wherever.
fn gather(cli: &Cli, groups: &[&dyn Group]) -> anyhow::Result<Inputs> {
    let mut all: Vec<&dyn Group> = vec![&cli.log];
    all.extend(groups);
    Ok(Inputs::gather(
        &all,
        |name| std::env::var(name).ok(),
        cli.config.as_deref(),
    )?)
}

impl Command {
    fn groups(&self) -> Vec<&dyn Group> {
        match self {
            Self::Up(command) => vec![&command.front],
            Self::Serve(command) => command.groups(),
            Self::Migrate(command) => vec![&command.database],
            Self::User(command) => command.offline().groups(),
            Self::Ca(command) => command.offline().groups(),
            Self::Keys(command) => command.offline().groups(),
            Self::Config(config::Config::Check(command)) => command.groups(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
