//! Several servers (`muster-server serve`) on one database and one store, as a larger installation runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sqlx::{Connection as _, PgConnection};

use crate::process::{Process, program};
use crate::proxy::free_port;
use crate::{Api, Authority, Server, eventually};

const EMAIL: &str = "admin@localhost";
const PASSWORD: &str = "correct horse battery staple";

/// Databases that this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// What the nodes share. The database goes with the cluster that `DATABASE_URL` names.
#[derive(Debug)]
pub struct Installation {
    folder: PathBuf,
    database_url: String,
    nats: Option<String>,
    authority: Authority,
}

impl Installation {
    /// A migrated database with an org and its admin, a store, a master key and a CA for the listeners.
    ///
    /// # Errors
    /// When `DATABASE_URL` is not set or its Postgres does not answer.
    pub async fn new(folder: &Path, nats: Option<&Nats>) -> anyhow::Result<Self> {
        let cluster =
            std::env::var("DATABASE_URL").context("DATABASE_URL is not set: run this under scripts/test-postgres")?;
        let name = format!("muster_nodes_{}_{}", std::process::id(), MADE.fetch_add(1, Relaxed));
        let mut postgres = PgConnection::connect(&cluster).await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut postgres)
            .await?;
        let installation = Self {
            folder: folder.to_owned(),
            database_url: with_database(&cluster, &name)?,
            nats: nats.map(|nats| nats.url.clone()),
            authority: Authority::new("listeners of a test")?,
        };
        std::fs::create_dir_all(folder.join("firmware"))?;
        std::fs::write(
            installation.master_key(),
            rand::random::<[u8; 32]>().map(|byte| format!("{byte:02x}")).concat(),
        )?;
        let cert = installation.authority.server("127.0.0.1")?;
        std::fs::write(folder.join("listener.pem"), cert.cert)?;
        std::fs::write(folder.join("listener.key"), cert.key)?;
        installation.run(&["migrate"], "")?;
        let key = installation.master_key();
        let add = [
            "user",
            "add",
            "--email",
            EMAIL,
            "--name",
            "Admin",
            "--org",
            "default",
            "--role",
            "admin",
            "--password-stdin",
        ];
        installation.run(&[&add[..], &["--master-key", &key]].concat(), PASSWORD)?;
        Ok(installation)
    }

    fn master_key(&self) -> String {
        self.folder.join("master.key").display().to_string()
    }

    /// Runs a command of the server's on the database.
    fn run(&self, arguments: &[&str], input: &str) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut child = Command::new(program("muster-server")?)
            .args(arguments)
            .args(["--database-url", &self.database_url])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Starts a node and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn node(&self, name: &str) -> anyhow::Result<Server> {
        let data = self.folder.join(name);
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("ca.pem"), self.authority.pem())?;
        let file = |name: &str| self.folder.join(name).display().to_string();
        let (web, devices) = (free_port()?, free_port()?);
        let mut arguments: Vec<String> = [
            ("--database-url", self.database_url.clone()),
            ("--store", format!("file://{}", file("firmware"))),
            ("--master-key", self.master_key()),
            ("--device-cert", file("listener.pem")),
            ("--device-key", file("listener.key")),
            ("--web", format!("127.0.0.1:{web}")),
            ("--devices", format!("127.0.0.1:{devices}")),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        arguments.insert(0, "serve".to_owned());
        if let Some(nats) = &self.nats {
            arguments.extend(["--nats-url".to_owned(), nats.clone()]);
        }
        Server::launch(&data, arguments).await
    }

    /// The API of a node, signed in as the admin.
    ///
    /// # Errors
    /// When the sign-in fails.
    pub async fn admin(&self, node: &Server) -> anyhow::Result<Api> {
        Api::new(&node.url)?.sign_in(EMAIL, PASSWORD).await
    }
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> anyhow::Result<String> {
    let (head, query) = url.split_once('?').map_or((url, ""), |(head, query)| (head, query));
    let server = head.rsplit_once('/').context("DATABASE_URL names no database")?.0;
    Ok(if query.is_empty() {
        format!("{server}/{name}")
    } else {
        format!("{server}/{name}?{query}")
    })
}

/// A NATS server on a free port of this machine.
#[derive(Debug)]
pub struct Nats {
    process: Process,
    url: String,
    port: u16,
    log: PathBuf,
}

impl Nats {
    /// Starts one and waits until it takes connections.
    ///
    /// # Errors
    /// When nats-server is not installed, or does not start.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        Self::launch(free_port()?, folder.join("nats.log")).await
    }

    async fn launch(port: u16, log: PathBuf) -> anyhow::Result<Self> {
        let mut command = Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
        let process = Process::start(&mut command, "nats-server", &log).context("`make setup-test` installs it")?;
        eventually("nats-server to listen", Duration::from_secs(10), || async {
            Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok())
        })
        .await?;
        let url = format!("nats://127.0.0.1:{port}");
        Ok(Self {
            process,
            url,
            port,
            log,
        })
    }

    /// Kills it and starts another in its place.
    ///
    /// # Errors
    /// When that does not start.
    pub async fn replace(mut self) -> anyhow::Result<Self> {
        self.kill();
        Self::launch(self.port, self.log.clone()).await
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
