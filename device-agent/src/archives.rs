//! Archives beside the firmware (device-link §4.9): fetched, verified with the device's own keys, handed to the product's
//! hook. Which one was taken is remembered on disk, since the server sends it again after every join.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_fwup::{Env, PublicKey};
use muster_link::Archive;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::config::{DownloadSettings, Settings};
use crate::hooks::Hooks;
use crate::update::fetch::{self, Talk, Wanted};

const FILE: &str = "archives.json";
const TEMPORARY: &str = "archives.json.new";
/// So many are remembered, the newest last.
const TAKEN_MAX: usize = 16;

/// What becomes of archives.
#[derive(Debug, Clone)]
pub struct ArchiveSettings {
    /// Keys whose signature is trusted; without any every archive is refused.
    pub public_keys: Vec<PublicKey>,
    /// The largest archive that is fetched, in bytes.
    pub max_bytes: u64,
}

/// What stands on disk.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    taken: Vec<String>,
}

/// The archives of this device.
#[derive(Debug)]
pub struct Archives {
    directory: PathBuf,
    keys: Vec<PublicKey>,
    max_bytes: u64,
    download: DownloadSettings,
    taken: Taken,
    running: Option<(String, JoinHandle<()>)>,
}

/// An archive's end.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which one.
    pub uuid: String,
    /// Whether it was taken; if not, why.
    pub result: Result<(), String>,
}

impl Archives {
    /// What is remembered in the state directory. A file that cannot be read counts as none: an archive is then taken once
    /// more, which is better than never.
    pub fn open(settings: &Settings) -> Self {
        let directory = settings.agent.state_dir.clone();
        let read = fs::read(directory.join(FILE)).ok();
        let taken = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            directory,
            keys: settings.archives.public_keys.clone(),
            max_bytes: settings.archives.max_bytes,
            download: settings.download.clone(),
            taken: taken.unwrap_or_default(),
            running: None,
        }
    }

    /// The archive that was taken last.
    pub fn last(&self) -> Option<&str> {
        self.taken.taken.last().map(String::as_str)
    }

    /// The server told an archive; what comes of it is sent to `ended`, if anything is done at all.
    pub fn told(
        &mut self,
        archive: Archive,
        tls: Arc<ClientConfig>,
        hooks: Arc<dyn Hooks>,
        ended: mpsc::Sender<Ended>,
    ) {
        let known = self.taken.taken.contains(&archive.uuid);
        let runs = self.running.as_ref().is_some_and(|(_, task)| !task.is_finished());
        if archive.uuid.is_empty() || archive.url.is_empty() || known || runs {
            tracing::debug!(archive.uuid = archive.uuid, known, runs, "archive ignored");
            return;
        }
        if !hooks.takes_archives() {
            tracing::warn!(
                archive.uuid = archive.uuid,
                "archive refused: no hook takes it (hooks.archive)"
            );
            return;
        }
        if self.keys.is_empty() {
            tracing::warn!(archive.uuid = archive.uuid, "archive refused: no public keys available");
            return;
        }
        tracing::info!(
            archive.uuid = archive.uuid,
            archive.version = archive.version,
            "archive told"
        );
        let wanted = self.wanted(&archive, tls);
        let (uuid, keys) = (archive.uuid.clone(), self.keys.clone());
        let task = tokio::spawn(async move {
            let uuid = archive.uuid.clone();
            let result = take(wanted, archive, keys, hooks).await;
            // An error says that the agent is ending.
            let _ = ended.send(Ended { uuid, result }).await;
        });
        self.running = Some((uuid, task));
    }

    fn wanted(&self, archive: &Archive, tls: Arc<ClientConfig>) -> Wanted {
        let size = archive.size.map_or_else(String::new, |size| format!("-{size}"));
        Wanted {
            directory: self.directory.join("archive"),
            name: format!("{}{size}", archive.uuid),
            size: archive.size,
            max_bytes: self.max_bytes,
            checksum: None,
            parts: None,
            parallel: 1,
            settings: self.download.clone(),
            tls,
        }
    }

    /// An archive was taken, or not.
    pub fn ended(&mut self, ended: &Ended) {
        if let Err(reason) = &ended.result {
            tracing::warn!(archive.uuid = ended.uuid, reason, "archive not taken");
            return;
        }
        self.taken.taken.push(ended.uuid.clone());
        let excess = self.taken.taken.len().saturating_sub(TAKEN_MAX);
        self.taken.taken.drain(..excess);
        if let Err(cause) = self.save() {
            tracing::error!(error = %cause, "taken archive not remembered");
        }
        tracing::info!(archive.uuid = ended.uuid, "archive taken");
    }

    fn save(&self) -> io::Result<()> {
        let temporary = self.directory.join(TEMPORARY);
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&self.taken)?)?;
        file.sync_all()?;
        fs::rename(&temporary, self.directory.join(FILE))?;
        File::open(&self.directory)?.sync_all()
    }
}

impl Drop for Archives {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.running {
            task.abort();
        }
    }
}

async fn take(wanted: Wanted, archive: Archive, keys: Vec<PublicKey>, hooks: Arc<dyn Hooks>) -> Result<(), String> {
    let (events, mut silence) = mpsc::channel(8);
    // An expired URL ends this, since no other one is ever sent: the next join brings one.
    let (_, urls) = watch::channel(archive.url.clone());
    let fetching = fetch::fetch(wanted, Talk { events, urls }, |_| ());
    let listening = async { while silence.recv().await.is_some() {} };
    let (cached, ()) = tokio::join!(fetching, listening);
    let cached = cached.map_err(|cause| cause.to_string())?;
    let path = cached.path().to_owned();
    let told = archive.uuid.clone();
    let verified = spawn_blocking(move || verify(&path, &keys, &told)).await;
    let result = match verified.unwrap_or_else(|cause| Err(cause.to_string())) {
        Ok(()) => hooks.archive(&archive, cached.path()).await,
        Err(cause) => Err(cause),
    };
    // What failed is fetched anew: it may have been the bytes.
    cached.remove().map_err(|cause| cause.to_string())?;
    result
}

/// Signature, every resource, and that it is the archive that was told.
fn verify(path: &Path, keys: &[PublicKey], told: &str) -> Result<(), String> {
    let file = File::open(path).map_err(|cause| cause.to_string())?;
    let archive = muster_fwup::Archive::open(file, keys, &Env::new()).map_err(|cause| cause.to_string())?;
    let verified = archive.verify().map_err(|cause| cause.to_string())?;
    let found = verified.metadata.uuid.to_string();
    if found.eq_ignore_ascii_case(told) {
        Ok(())
    } else {
        Err(format!("the file is archive {found}, the server told {told}"))
    }
}
