//! What commands share that work on a database without serving: the database of `serve`, or the one of an `up` that runs.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::app::open_platform;
use crate::config::{DatabaseFlags, Group, Inputs, MasterKeyFlags, Source, read_database};
use crate::platform::Platform;
use crate::platform::blobs::Blobs;
use crate::platform::events::Bell;

/// Where the database and its key are.
#[derive(Debug, Args)]
pub(super) struct Offline {
    /// The data folder of a `muster-server up` that runs, in place of --database-url and --master-key
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    master_key: MasterKeyFlags,
}

impl Offline {
    pub(super) fn groups(&self) -> Vec<&dyn Group> {
        vec![&self.database, &self.master_key]
    }

    /// The platform on that database. A data folder goes before the environment and the file.
    pub(super) async fn open(&self, given: Inputs) -> anyhow::Result<Platform> {
        let inputs = match &self.data_dir {
            Some(dir) => of_data_dir(dir.clone())?,
            None => given,
        };
        let (url, key) = read_database(inputs)?;
        open_platform(&url, Blobs::forgetful(), key, Bell::Postgres).await
    }
}

fn of_data_dir(dir: PathBuf) -> anyhow::Result<Inputs> {
    anyhow::ensure!(
        dir.join("addrs.json").exists(),
        "no `muster-server up` runs on --data-dir {}. Start it first; this command uses its Postgres.",
        dir.display()
    );
    let path = dir.join("database.url");
    let url = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut inputs = Inputs::default();
    inputs.offer("database_url", Some(url), || Source::DataDir(dir.clone()));
    let key = dir.join("master.key").display().to_string();
    inputs.offer("master_key", Some(key), || Source::DataDir(dir));
    Ok(inputs)
}
