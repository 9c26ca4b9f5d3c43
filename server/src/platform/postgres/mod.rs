//! The embedded Postgres cluster of `up`: made and run with the programs that are installed on this machine, reachable
//! through a unix socket only, gone when the server goes.
//!
//! Postgres refuses to run as root. There the cluster belongs to the user `postgres`, and its programs are started through
//! wrappers that change to it.

mod orphan;
mod place;
mod programs;

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postgresql_embedded::{BOOTSTRAP_SUPERUSER, PostgreSQL, VersionReq};

pub use self::place::Owner;
use self::programs::Programs;
use super::random::Random;

/// The database's name in the cluster.
const DATABASE: &str = "muster";
/// The cluster listens on no port; this number is only a part of the socket's name.
const SOCKET_NUMBER: u16 = 5432;
/// How long a start or a stop may take: a start after a crash reads the log anew.
const PATIENCE: Duration = Duration::from_mins(2);

/// Why the cluster does not run.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Postgres is not installed.
    #[error(
        "Postgres' server programs are not on this machine ({looked}). Install them with `sudo apt-get install postgresql`, or name their folder with --postgres-bin."
    )]
    NoPrograms {
        /// Where they were looked for.
        looked: String,
    },
    /// The data are of another version.
    #[error(
        "{data} was made by Postgres {version}, whose programs are not on this machine. Install them with `sudo apt-get install postgresql-{version}`, or name their folder with --postgres-bin."
    )]
    OtherVersion {
        /// The cluster's folder.
        data: String,
        /// Its version.
        version: String,
    },
    /// Root, and no user to change to.
    #[error(
        "Postgres refuses to run as root, and there is no user `postgres` to run it as. Install Postgres with `sudo apt-get install postgresql`, or start the server as another user."
    )]
    NoUser,
    /// The cluster's user cannot reach the folder.
    #[error(
        "As root, Postgres runs as the user `postgres`, who cannot enter {folder}. Choose a --data-dir that this user can reach, such as /var/lib/muster, or allow it with `chmod o+x {folder}`."
    )]
    Unreachable {
        /// The first folder on the way that is closed.
        folder: String,
    },
    /// The path would not survive pg_ctl's shell.
    #[error(
        "{folder} has one of the characters \" $ ` \\ or a line end in its path, which pg_ctl does not take. Choose another --data-dir."
    )]
    BadPath {
        /// The folder.
        folder: String,
    },
    /// A folder for the socket is another's.
    #[error(
        "{folder}, where the socket of Postgres should be, belongs to someone else. Remove it, or choose a --data-dir with a shorter path."
    )]
    TakenSocket {
        /// The folder.
        folder: String,
    },
    /// A Postgres runs there that this server did not start.
    #[error("Postgres (process {pid}) runs on {data} and was not started by muster-server. Stop it first.")]
    Foreign {
        /// The process.
        pid: i32,
        /// The cluster's folder.
        data: String,
    },
    /// Postgres failed.
    #[error("Postgres failed: {0}")]
    Postgres(String),
    /// A file could not be read or written.
    #[error("{0}")]
    Io(#[from] place::FileError),
}

/// Everything that can be known before anything is started.
#[derive(Debug)]
pub struct Prepared {
    dir: PathBuf,
    owner: Owner,
    programs: Programs,
}

/// A cluster that runs. When it is dropped before [`Cluster::stop`], it is stopped all the same.
#[derive(Debug)]
pub struct Cluster {
    postgres: PostgreSQL,
    socket_dir: PathBuf,
    lasting_socket_dir: bool,
}

impl Prepared {
    /// Finds the programs and the user, and checks that the user can reach `dir`, which must exist and be canonical.
    ///
    /// # Errors
    /// [`ClusterError`] says what is missing and how to get it.
    pub fn new(dir: &Path, programs: Option<&Path>) -> Result<Self, ClusterError> {
        let shown = dir.display().to_string();
        if shown.contains(['"', '$', '`', '\\', '\n', '\r']) {
            return Err(ClusterError::BadPath { folder: shown });
        }
        let programs = Programs::find(&dir.join("postgres"), programs)?;
        let owner = Owner::of_the_cluster()?;
        owner.check_reach(dir)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            owner,
            programs,
        })
    }

    /// A handle that ends the cluster at once, as a power cut would: the next start reads its log anew.
    pub fn killer(&self) -> Killer {
        Killer {
            data: self.dir.join("postgres"),
        }
    }

    /// Makes the cluster if there is none, ends one that a killed server left behind, and starts it.
    ///
    /// # Errors
    /// [`ClusterError`] says what failed.
    pub async fn start(self, random: &Random) -> Result<Cluster, ClusterError> {
        let data = self.dir.join("postgres");
        let wrappers = self.programs.wrap(&self.dir.join("postgres-bin"), &self.owner)?;
        let (socket_dir, lasting_socket_dir) = place::socket_dir(&self.dir, &self.owner)?;
        let password_file = self.dir.join("postgres.password");
        let password = place::password(&password_file, &self.owner, || {
            URL_SAFE_NO_PAD.encode(random.bytes::<24>())
        })?;
        let settings = postgresql_embedded::Settings {
            password_file,
            password,
            socket_dir: Some(socket_dir.clone()),
            ..settings(wrappers, data.clone())
        };
        if !data.join("PG_VERSION").exists() {
            self.create(&settings, &data, random).await?;
        }
        let mut postgres = PostgreSQL::new(settings);
        orphan::end(&postgres, &data).await?;
        if let Err(error) = postgres.start().await {
            return Err(ClusterError::Postgres(format!("{error}{}", place::log_tail(&data))));
        }
        let cluster = Cluster {
            postgres,
            socket_dir,
            lasting_socket_dir,
        };
        cluster.create_database().await?;
        Ok(cluster)
    }

    /// Makes the cluster beside its place and moves it there whole, so that a start that was cut off leaves nothing.
    async fn create(
        &self,
        settings: &postgresql_embedded::Settings,
        data: &Path,
        random: &Random,
    ) -> Result<(), ClusterError> {
        place::remove_unfinished(&self.dir)?;
        let unfinished = self.dir.join(format!(
            "{}{}",
            place::UNFINISHED,
            URL_SAFE_NO_PAD.encode(random.bytes::<6>())
        ));
        place::make_dir(&unfinished, &self.owner)?;
        let mut postgres = PostgreSQL::new(postgresql_embedded::Settings {
            data_dir: unfinished.clone(),
            ..settings.clone()
        });
        postgres
            .setup()
            .await
            .map_err(|error| ClusterError::Postgres(error.to_string()))?;
        place::rename(&unfinished, data)?;
        Ok(())
    }
}

impl Cluster {
    /// The URL of the database, its password included.
    pub fn url(&self) -> String {
        self.postgres.settings().url(DATABASE)
    }

    async fn create_database(&self) -> Result<(), ClusterError> {
        let failed = |error: postgresql_embedded::Error| ClusterError::Postgres(error.to_string());
        if !self.postgres.database_exists(DATABASE).await.map_err(failed)? {
            self.postgres.create_database(DATABASE).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Stops the cluster: whoever is connected is disconnected, everything is written.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop(self) -> Result<(), ClusterError> {
        let stopped = self.postgres.stop().await;
        if !self.lasting_socket_dir {
            let _ = std::fs::remove_dir(&self.socket_dir);
        }
        stopped.map_err(|error| ClusterError::Postgres(error.to_string()))
    }
}

/// Ends a cluster at once.
#[derive(Debug, Clone)]
pub struct Killer {
    data: PathBuf,
}

impl Killer {
    /// Ends it.
    pub fn kill(&self) {
        orphan::quit(&self.data);
    }
}

/// What is the same for every cluster. `trust_installation_dir` keeps the crate from ever looking for a download.
fn settings(installation_dir: PathBuf, data_dir: PathBuf) -> postgresql_embedded::Settings {
    let configuration = [
        // The crate starts Postgres with -F, which is fsync=off; what comes later on the command line wins.
        ("fsync", "on"),
        ("listen_addresses", "''"),
        ("jit", "off"),
        ("logging_collector", "on"),
        ("log_filename", "postgres-%u.log"),
        ("log_truncate_on_rotation", "on"),
        ("log_rotation_size", "0"),
    ];
    postgresql_embedded::Settings {
        releases_url: String::new(),
        version: VersionReq::STAR,
        installation_dir,
        password_file: PathBuf::new(),
        data_dir,
        host: "localhost".to_owned(),
        port: SOCKET_NUMBER,
        username: BOOTSTRAP_SUPERUSER.to_owned(),
        password: String::new(),
        temporary: false,
        timeout: Some(PATIENCE),
        configuration: configuration
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        trust_installation_dir: true,
        socket_dir: None,
    }
}
