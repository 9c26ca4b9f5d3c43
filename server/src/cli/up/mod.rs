//! `muster-server up`: everything on this machine, for a first look, a small fleet, and tests.

mod dir;
mod listener_cert;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use self::dir::DataDir;
use super::{output, signals};
use crate::app::{Server, Urls, open_platform};
use crate::config::{Front, FrontFlags, Inputs, Secret};
use crate::links::tls;
use crate::listeners::Listeners;
use crate::platform::postgres::{Cluster, Prepared};
use crate::platform::random::Random;
use crate::platform::store::StoreUrl;
use crate::platform::{db, nodes};

/// The flags of `up`.
#[derive(Debug, Args)]
#[command(
    after_help = "Everything lies in --data-dir: Postgres' cluster, firmware, the master key, certificates. The next start \
    goes on\nwith it. As root, Postgres runs as the user `postgres`, who must be able to enter --data-dir.\n\n\
    Examples:\n  \
    muster-server up --data-dir ./data\n  \
    muster-server up --data-dir /var/lib/muster --web 0.0.0.0:4000 --devices 0.0.0.0:4001 \\\n    \
    --public-url http://muster.lan:4000 --firmware-url https://muster.lan:4001"
)]
pub(super) struct Up {
    /// The folder for everything; made if it is not there
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The folder of Postgres' programs, where they are not Debian's or on the PATH
    #[arg(long, value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
    /// The name of the first org
    #[arg(long, value_name = "NAME", default_value = "default")]
    org: String,
    /// The email address of the first admin
    #[arg(long, value_name = "EMAIL", default_value = "admin@localhost")]
    admin_email: String,
    #[command(flatten)]
    pub(super) front: FrontFlags,
}

impl Up {
    /// Starts everything, serves until told to stop, and stops everything.
    pub(super) async fn run(self, inputs: Inputs) -> anyhow::Result<()> {
        let front = Front::read(inputs)?;
        let dir = DataDir::open(&self.data_dir)?;
        let prepared = Prepared::new(dir.path(), self.postgres_bin.as_deref())?;
        let listeners = Listeners::bind(&front)?;
        let killer = prepared.killer();
        let stop = signals::stop(move || killer.kill())?;
        let random = Random::system();
        let cluster = prepared.start(&random).await?;
        let served = async {
            let server = self.prepare(&dir, &cluster, &random, &front, listeners).await?;
            server.run(stop).await
        };
        let served = served.await;
        dir.forget_addrs();
        let stopped = cluster.stop().await;
        served?;
        stopped.context("stopping Postgres")
    }

    async fn prepare(
        &self,
        dir: &DataDir,
        cluster: &Cluster,
        random: &Random,
        front: &Front,
        listeners: Listeners,
    ) -> anyhow::Result<Server> {
        let url = Secret::new(cluster.url());
        dir.write_database_url(&url)?;
        migrate(&url).await?;
        let store = StoreUrl::Folder(dir.blobs());
        let platform = open_platform(&url, &store, dir.master_key(random)?).await?;
        nodes::forget_all(&mut *platform.db.acquire().await?).await?;
        let urls = listeners.urls(front);
        let (authority, _key) =
            crate::ca::authority::Authority::create("Muster", random.bytes(), platform.clock.now())?;
        let files = listener_cert::ensure(dir, &platform, &authority, &urls, listeners.addrs().devices.ip())?;
        let tls = tls::from_files(&files.certificate, &files.key)?;
        let server = Server::assemble(platform, listeners, tls, front).await?;
        dir.write_addrs(&server)?;
        Self::announce(dir, &urls, &server);
        Ok(server)
    }

    fn announce(dir: &DataDir, urls: &Urls, server: &Server) {
        output::line(format_args!("Muster is up at      {}", urls.public));
        output::line(format_args!(
            "  devices connect to wss://{} (CA: {})",
            server.addrs().devices,
            dir.ca().display()
        ));
        output::line(format_args!("  everything lies in {}", dir.path().display()));
    }
}

async fn migrate(url: &Secret) -> anyhow::Result<()> {
    let db = db::connect(url.expose()).await.context("the embedded Postgres")?;
    db::MIGRATOR.run(&db).await.context("a migration failed")?;
    db.close().await;
    Ok(())
}
