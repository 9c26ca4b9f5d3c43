//! The data folder of `up`: one server at a time, and what lies where in it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::app::Server;
use crate::config::{Secret, read_master_key};
use crate::platform::files;
use crate::platform::random::Random;
use crate::platform::vault::MasterKey;

/// The data folder, locked for this process.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens and locks the folder; makes it if it is not there.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if let Some(parent) = path.parent() {
            // Folders on the way stay open to others: as root, Postgres runs as a user who must pass them.
            fs::create_dir_all(parent).with_context(|| format!("--data-dir {shown} cannot be made"))?;
        }
        make(path).with_context(|| format!("--data-dir {shown} cannot be made"))?;
        let path = path.canonicalize().with_context(|| format!("--data-dir {shown}"))?;
        let lock = lock(&path)?;
        let dir = Self { path, _lock: lock };
        for folder in [dir.blobs(), dir.tls()] {
            make(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        dir.forget_addrs();
        Ok(dir)
    }

    /// Where it is, without links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where firmware lies.
    pub(super) fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// The CA's certificate, which agents need to trust the server.
    pub(super) fn ca(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// The device listener's certificate and key.
    pub(super) fn tls(&self) -> PathBuf {
        self.path.join("tls")
    }

    /// The master key, made the first time. Without it the secrets in the database are lost, so it is on disk before
    /// anything is sealed with it.
    pub(super) fn master_key(&self, random: &Random) -> anyhow::Result<MasterKey> {
        let path = self.path.join("master.key");
        if !path.exists() {
            let text = Zeroizing::new(STANDARD.encode(*Zeroizing::new(random.bytes::<32>())) + "\n");
            files::write_private(&path, text.as_bytes())
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        read_master_key(&path.display().to_string()).map_err(|problem| anyhow::anyhow!("the master key {problem}"))
    }

    /// Leaves the database's URL for the other commands.
    pub(super) fn write_database_url(&self, url: &Secret) -> anyhow::Result<()> {
        let path = self.path.join("database.url");
        files::write_private(&path, url.expose().as_bytes())
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Leaves the real addresses for programs that started the server on port 0.
    pub(super) fn write_addrs(&self, server: &Server) -> anyhow::Result<()> {
        let (addrs, urls) = (server.addrs(), &server.app().urls);
        let text = serde_json::json!({
            "web": addrs.web,
            "devices": addrs.devices,
            "metrics": addrs.metrics,
            "public_url": urls.public.to_string(),
            "firmware_url": urls.firmware.to_string(),
        });
        let path = self.path.join("addrs.json");
        files::write_public(&path, format!("{text}\n").as_bytes())
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// The addresses are good no more.
    pub(super) fn forget_addrs(&self) {
        let _ = fs::remove_file(self.path.join("addrs.json"));
    }
}

/// A folder that only we may enter.
fn make(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn lock(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join("lock");
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            anyhow::bail!(
                "{} is in use by another muster-server (process {}). Stop that one, or choose another --data-dir.",
                dir.display(),
                holder.trim()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
        }
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}
