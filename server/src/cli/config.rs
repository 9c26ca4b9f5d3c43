//! `muster-server config`: a look at the configuration, without touching anything.

use clap::{Args, Subcommand};

use super::output;
use crate::config::{DatabaseFlags, FrontFlags, Group, Inputs, MasterKeyFlags, Settings, StoreFlags, TlsFlags};
use crate::links::tls;

/// The commands of `config`.
#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Say whether `serve` would take the configuration, and where each value comes from
    Check(Check),
}

/// The flags of `config check`: those of `serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads flags, environment and file as `serve` does, checks every value and file, and connects to nothing.\n\n\
    Example:\n  muster-server config check --config /etc/muster.toml"
)]
pub(super) struct Check {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    master_key: MasterKeyFlags,
    #[command(flatten)]
    tls: TlsFlags,
    #[command(flatten)]
    front: FrontFlags,
}

impl Check {
    pub(super) fn groups(&self) -> Vec<&dyn Group> {
        vec![&self.database, &self.store, &self.master_key, &self.tls, &self.front]
    }
}

/// Checks, and says where each value comes from.
pub(super) fn check(inputs: Inputs) -> anyhow::Result<()> {
    let sources: Vec<String> = inputs
        .sources()
        .map(|(key, source)| format!("  {key:<17} from {source}"))
        .collect();
    let settings = Settings::read(inputs)?;
    tls::from_files(&settings.device_cert, &settings.device_key)?;
    output::line("The configuration is good.");
    for source in sources {
        output::line(source);
    }
    Ok(())
}
