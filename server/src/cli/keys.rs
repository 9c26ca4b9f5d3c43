//! `muster-server keys`: the keys of the vault, under which secrets lie in the database.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::offline::Offline;
use super::output;
use crate::ca;
use crate::config::{Inputs, read_master_key};
use crate::devices;
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, tickets};

/// The commands of `keys`.
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a new data key and seal every secret anew by it
    Rotate(Rotate),
}

/// The flags of `keys rotate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Servers may go on running while the data key is rotated. With --new-master-key, give every server that key and\n\
    restart it right after.\n\nExamples:\n  \
    muster-server keys rotate --data-dir ./data\n  \
    openssl rand -base64 32 > new.key && muster-server keys rotate --config muster.toml --new-master-key new.key"
)]
pub(super) struct Rotate {
    /// The file with the master key that is to open everything from now on
    #[arg(long, value_name = "FILE")]
    new_master_key: Option<PathBuf>,
    #[command(flatten)]
    offline: Offline,
}

impl Keys {
    pub(super) fn offline(&self) -> &Offline {
        let Self::Rotate(command) = self;
        &command.offline
    }

    pub(super) async fn run(self, inputs: Inputs) -> anyhow::Result<()> {
        let platform = self.offline().open(inputs).await?;
        let Self::Rotate(command) = self;
        command.run(&platform).await
    }
}

impl Rotate {
    /// One transaction: either all secrets are under the new keys, or nothing has changed.
    async fn run(self, platform: &Platform) -> anyhow::Result<()> {
        let new_master = match &self.new_master_key {
            Some(path) => {
                let key = read_master_key(&path.display().to_string());
                Some(key.map_err(|problem| anyhow::anyhow!("--new-master-key {problem}"))?)
            }
            None => None,
        };
        let (vault, proof) = (&platform.vault, Sweep::of_the_server());
        let mut tx = platform.db.begin().await?;
        let kept = vault.rotate(&mut tx).await?;
        let secrets = vault.reseal_secrets(&mut tx).await.context("the server's secrets")?;
        let keys = ca::service::reseal(&mut tx, platform, proof)
            .await
            .context("the keys of CAs")?;
        let shared = devices::service::secrets::reseal(&mut tx, platform, proof)
            .await
            .context("shared secrets")?;
        let tickets = tickets::reseal(&mut tx, vault)
            .await
            .context("the keys of TLS session tickets")?;
        vault.retire(&mut tx, kept).await?;
        if let Some(master) = &new_master {
            vault.rewrap(&mut tx, master).await?;
        }
        tx.commit().await?;
        output::line(format_args!(
            "Sealed anew: {secrets} secrets of the server, {keys} keys of CAs, {shared} secrets of products and devices, \
             {tickets} keys of TLS session tickets."
        ));
        if let Some(path) = &self.new_master_key {
            output::line(format_args!(
                "From now on the master key is the one in {}. Give it to every server and restart it.",
                path.display()
            ));
            if let Some(dir) = &self.offline.data_dir {
                output::line(format_args!(
                    "  for up: cp {} {}",
                    path.display(),
                    dir.join("master.key").display()
                ));
            }
        }
        Ok(())
    }
}
