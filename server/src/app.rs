//! The application: every handle that a handler may use, and the servers that answer.

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App as Http, HttpServer, web};
use anyhow::Context as _;
use futures_util::future::{join_all, try_join_all};
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::accounts::SignIns;
use crate::config::{BaseUrl, Front, Secret, Settings};
use crate::deployments::Scheduler;
use crate::deployments::scheduler::Wakes;
use crate::device_server;
use crate::lifecycle::{self, DRAIN, Lifecycle};
use crate::links::admission::{Admission, Limits};
use crate::links::{self, Links, tls};
use crate::listeners::{Addrs, Listeners};
use crate::packages::PackageUrls;
use crate::platform::blobs::Blobs;
use crate::platform::clock::Clock;
use crate::platform::events::{Bell, Bus};
use crate::platform::ids::Id as _;
use crate::platform::metrics::Metrics;
use crate::platform::nodes::NodeId;
use crate::platform::random::Random;
use crate::platform::tickets::Tickets;
use crate::platform::vault::{MasterKey, Vault};
use crate::platform::{Platform, db};
use crate::routes;
use crate::web::stream::Streams;
use crate::web::{middleware, status};

/// What handlers share, as `web::Data<App>`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// The platform's handles.
    pub platform: Platform,
    /// The gate of sign-ins.
    pub sign_ins: SignIns,
    /// The open live streams.
    pub streams: Streams,
    /// The device links of this node.
    pub links: Links,
    /// How the world reaches this server.
    pub urls: Urls,
    /// Signs and checks the URLs of firmware and archives.
    pub package_urls: PackageUrls,
    /// What opens the figures on the web listener.
    pub metrics_token: Option<Secret>,
    /// Cancelled when the server begins to end: whoever holds a response open ends it then.
    pub stopping: CancellationToken,
}

/// What a server does beside answering; `lifecycle` runs it.
#[derive(Debug)]
pub struct Work {
    /// The tasks behind the links.
    pub links: links::Tasks,
    /// What wakes the scheduler.
    pub wakes: Wakes,
}

impl App {
    /// The handles over a platform, and the work that stands behind them.
    ///
    /// # Errors
    /// When the vault or the database fails.
    pub async fn assemble(
        platform: Platform,
        urls: Urls,
        metrics_token: Option<Secret>,
    ) -> anyhow::Result<(Self, Work)> {
        let package_urls = PackageUrls::open(&platform, &urls.firmware.to_string(), urls.firmware_lifetime).await?;
        let (scheduler, wakes) = Scheduler::new();
        let (links, tasks) = Links::new(platform.clone(), package_urls.clone(), scheduler);
        let app = Self {
            platform,
            sign_ins: SignIns::default(),
            streams: Streams::default(),
            links,
            urls,
            package_urls,
            metrics_token,
            stopping: CancellationToken::new(),
        };
        Ok((app, Work { links: tasks, wakes }))
    }
}

/// How the world reaches this server.
#[derive(Debug, Clone)]
pub struct Urls {
    /// Where people reach it: for links and cookies.
    pub public: BaseUrl,
    /// Where devices fetch firmware.
    pub firmware: BaseUrl,
    /// How long a URL of firmware is good for.
    pub firmware_lifetime: time::Duration,
}

/// Opens every handle of the platform on a database that is up to date.
///
/// # Errors
/// When the database does not answer or is behind, or when the master key is not its own.
pub async fn open_platform(
    database_url: &Secret,
    blobs: Blobs,
    master_key: MasterKey,
    bell: Bell,
) -> anyhow::Result<Platform> {
    let (clock, random) = (Clock::system(), Random::system());
    let db = db::connect(database_url.expose())
        .await
        .context("the database (database_url) does not answer")?;
    let missing = db::missing_migrations(&db).await.context("the database's migrations")?;
    anyhow::ensure!(
        missing == 0,
        "the database is {missing} migrations behind this program. Bring it up to date with `muster-server migrate`, then start again."
    );
    let vault = Vault::new(master_key, clock.clone(), random.clone());
    let mut tx = db.begin().await?;
    vault.check(&mut tx).await.context("the master key (master_key)")?;
    tx.commit().await?;
    Ok(Platform {
        blobs,
        vault,
        events: Bus::new(bell),
        metrics: Metrics::new()?,
        node: NodeId::from_parts(&clock, &random),
        db,
        clock,
        random,
    })
}

/// A server that is bound and ready to run.
#[derive(Debug)]
pub struct Server {
    app: App,
    listeners: Listeners,
    tls: ServerConfig,
    limits: Limits,
    lifecycle: Lifecycle,
}

impl Server {
    /// The server of these settings.
    ///
    /// # Errors
    /// When an address is taken, a file is bad, or the database is not there or behind.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        let listeners = Listeners::bind(&settings.front)?;
        let tls = tls::from_files(&settings.device_cert, &settings.device_key)?;
        let blobs = settings.store.open().context("the object store (store)")?;
        let bell = match settings.nats_url {
            Some(url) => Bell::nats(url).await.context("the bell of the nodes (nats_url)")?,
            None => Bell::Postgres,
        };
        let platform = open_platform(&settings.database_url, blobs, settings.master_key, bell).await?;
        Self::assemble(platform, listeners, tls, &settings.front).await
    }

    /// The server of parts that are there already.
    ///
    /// # Errors
    /// When the vault or the database fails.
    pub async fn assemble(
        platform: Platform,
        listeners: Listeners,
        tls: ServerConfig,
        front: &Front,
    ) -> anyhow::Result<Self> {
        let (app, work) = App::assemble(platform, listeners.urls(front), front.metrics_token.clone()).await?;
        lifecycle::announce(&app.platform).await?;
        let tickets = Tickets::new(app.platform.random.clone());
        tickets
            .refresh(&app.platform)
            .await
            .context("the keys of TLS session tickets")?;
        let tls = tls::with_tickets(tls, tickets.clone());
        let lifecycle = lifecycle::start(&app, work, tickets);
        Ok(Self {
            app,
            listeners,
            tls,
            limits: front.limits,
            lifecycle,
        })
    }

    /// Where it listens: the real ports, where 0 was asked for.
    pub fn addrs(&self) -> Addrs {
        self.listeners.addrs()
    }

    /// What its handlers share.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Answers until `stop` is cancelled, then drains and ends.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let running = listen(&self.app, self.listeners, self.tls, self.limits)?;
        let handles: Vec<_> = running.iter().map(actix_web::dev::Server::handle).collect();
        let mut servers = try_join_all(running.into_iter().map(tokio::spawn));
        let ended = tokio::select! {
            () = stop.cancelled() => None,
            ended = &mut servers => Some(ended),
        };
        tracing::info!("draining");
        join_all(handles.iter().map(ServerHandle::pause)).await;
        self.app.stopping.cancel();
        self.lifecycle.drain().await;
        // Tasks end before the listeners: a connection to the database that was opened by a listener's thread ends with it.
        self.lifecycle.finish(&self.app).await;
        join_all(handles.iter().map(|handle| handle.stop(true))).await;
        let ended = match ended {
            Some(ended) => ended,
            None => servers.await,
        };
        for result in ended? {
            result.context("a listener failed")?;
        }
        Ok(())
    }
}

/// Starts the listeners.
fn listen(
    app: &App,
    listeners: Listeners,
    tls: ServerConfig,
    limits: Limits,
) -> anyhow::Result<Vec<actix_web::dev::Server>> {
    let data = web::Data::new(app.clone());
    let shared = data.clone();
    let web = HttpServer::new(move || {
        Http::new()
            .app_data(shared.clone())
            .wrap(from_fn(middleware::observe))
            .configure(routes::web)
    });
    let admission = Admission::new(limits, app.platform.metrics.clone());
    let mut running = vec![
        web.listen(listeners.web)?
            .tcp_nodelay(true)
            .disable_signals()
            .shutdown_timeout(DRAIN.as_secs())
            .run(),
        device_server::build(app, listeners.devices, tls, &admission)?,
    ];
    if let Some(listener) = listeners.metrics {
        let figures = HttpServer::new(move || Http::new().app_data(data.clone()).configure(status::figures));
        running.push(figures.workers(1).listen(listener)?.disable_signals().run());
    }
    Ok(running)
}
