//! `muster-server serve`: the server on a Postgres and a store that someone else runs.

use clap::Args;

use super::{output, signals};
use crate::app::Server;
use crate::config::{
    DatabaseFlags, FrontFlags, Group, Inputs, MasterKeyFlags, NodeFlags, Settings, StoreFlags, TlsFlags,
};

/// The flags of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    muster-server serve --config /etc/muster.toml\n  \
    DATABASE_URL=postgres://muster@db/muster MUSTER_MASTER_KEY=/run/secrets/master.key \\\n    \
    muster-server serve --store s3://firmware --web 0.0.0.0:4000 --devices 0.0.0.0:4001 \\\n      \
    --device-cert server.pem --device-key server.key \\\n      \
    --public-url https://muster.example.com --firmware-url https://devices.example.com:4001")]
pub(super) struct Serve {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    master_key: MasterKeyFlags,
    #[command(flatten)]
    tls: TlsFlags,
    #[command(flatten)]
    nodes: NodeFlags,
    #[command(flatten)]
    front: FrontFlags,
}

impl Serve {
    pub(super) fn groups(&self) -> Vec<&dyn Group> {
        vec![
            &self.database,
            &self.store,
            &self.master_key,
            &self.tls,
            &self.nodes,
            &self.front,
        ]
    }
}

/// Serves until it is told to stop.
pub(super) async fn run(inputs: Inputs) -> anyhow::Result<()> {
    let settings = Settings::read(inputs)?;
    let stop = signals::stop(|| {})?;
    let server = Server::build(settings).await?;
    let (urls, addrs) = (server.app().urls.clone(), server.addrs());
    tracing::info!(web = %addrs.web, devices = %addrs.devices, public_url = %urls.public, firmware_url = %urls.firmware, "serving");
    output::line(format_args!("Muster is up at {}", urls.public));
    server.run(stop).await
}
