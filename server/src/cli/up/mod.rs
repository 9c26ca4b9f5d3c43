//! `muster-server up`: everything on this machine, for a first look, a small fleet, and tests.

mod dir;
mod listener_cert;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use self::dir::DataDir;
use super::{output, signals};
use crate::app::{Server, Urls, open_platform};
use crate::ca::authority::Authority;
use crate::config::{Front, FrontFlags, Inputs, Secret};
use crate::links::tls;
use crate::listeners::Listeners;
use crate::platform::Platform;
use crate::platform::events::Bell;
use crate::platform::postgres::{Cluster, Prepared};
use crate::platform::random::Random;
use crate::platform::store::StoreUrl;
use crate::platform::sweep::Sweep;
use crate::platform::{db, nodes};
use crate::{accounts, ca};

/// The CA's name. It differs from that of every certificate that it signs by more than case, or OpenSSL would take them
/// for signed by themselves.
const CA_NAME: &str = "Muster CA";

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
        let blobs = StoreUrl::Folder(dir.blobs()).open().context("the folder of firmware")?;
        let platform = open_platform(&url, blobs, dir.master_key(random)?, Bell::Postgres).await?;
        nodes::forget_all(&mut *platform.db.acquire().await?).await?;
        let urls = listeners.urls(front);
        self.bootstrap(&platform).await?;
        let authority = self.authority(&platform).await?;
        let files = listener_cert::ensure(dir, &platform, &authority, &urls, listeners.addrs().devices.ip())?;
        let tls = tls::from_files(&files.certificate, &files.key)?;
        let server = Server::assemble(platform, listeners, tls, front).await?;
        dir.write_addrs(&server)?;
        Self::announce(dir, &urls, &server);
        Ok(server)
    }

    /// The first org and its admin. The password is said as soon as it counts: nobody can say it later.
    async fn bootstrap(&self, platform: &Platform) -> anyhow::Result<()> {
        let made = accounts::service::bootstrap(platform, &self.org, &self.admin_email)
            .await
            .with_context(|| format!("the first org ({}) and its admin ({})", self.org, self.admin_email))?;
        if let Some(password) = made {
            output::line(format_args!("Made the org {} and its admin.", self.org));
            output::line(format_args!("  sign in as         {}", self.admin_email));
            output::line(format_args!(
                "  with the password  {} (shown this once)",
                password.as_str()
            ));
        }
        Ok(())
    }

    /// The CA that agents know the server by; made for the first org at the first start.
    async fn authority(&self, platform: &Platform) -> anyhow::Result<Authority> {
        let proof = Sweep::of_the_server();
        let mut tx = platform.db.begin().await?;
        if let Some(authority) = ca::service::open_first_own(&mut tx, platform, proof).await? {
            return Ok(authority);
        }
        let org = accounts::service::find_org(&mut tx, proof, &self.org)
            .await?
            .with_context(|| {
                format!(
                    "there is no org {}, for which a CA could be made; name one with --org",
                    self.org
                )
            })?;
        let authority = ca::service::create_own(&mut tx, platform, proof, org, CA_NAME).await?;
        tx.commit().await?;
        Ok(authority)
    }

    fn announce(dir: &DataDir, urls: &Urls, server: &Server) {
        output::line(format_args!("Muster is up at {}", urls.public));
        output::line(format_args!("  devices connect to  wss://{}", server.addrs().devices));
        output::line(format_args!("  and trust the CA    {}", dir.ca().display()));
        output::line(format_args!("  everything lies in  {}", dir.path().display()));
        output::line("Ctrl-C stops it.");
    }
}

async fn migrate(url: &Secret) -> anyhow::Result<()> {
    let db = db::connect(url.expose()).await.context("the embedded Postgres")?;
    db::MIGRATOR.run(&db).await.context("a migration failed")?;
    db.close().await;
    Ok(())
}
