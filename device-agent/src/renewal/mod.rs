//! Certificates are renewed over the link before they expire (the extension `renewal`, `docs/decisions/0010`), and people
//! are warned where nobody renews them.
//!
//! The device makes a new key and writes it down, then sends a request for the same identifier. What comes back is taken
//! if it is for that key and that identifier and lasts longer; it is written down, shown from the next connection on, and
//! takes the old one's place when the server has joined us by it. Until then the old one is kept, and shown again where the
//! new one is refused. All this lies in `identity/` in the state directory: `next.key` before the request, `next.pem`
//! (certificate and key) until it has proved itself, `current.pem` after that.

mod certificate;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair};

pub use self::certificate::{Certificate, CertificateError};
use crate::config::Settings;
use crate::identity::Proof;

/// People are warned when a certificate that nobody renews has less than this left.
const WARN_BEFORE: Duration = Duration::from_hours(30 * 24);
/// After so many failures in a row the other certificate is tried.
const FAILURES_MAX: u32 = 3;

/// Why a certificate is not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The disk fails.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The certificate cannot be read.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// No key or request can be made.
    #[error("no certificate request can be made: {0}")]
    Request(#[from] rcgen::Error),
    /// Nothing was asked for.
    #[error("nothing was asked for")]
    NotAsked,
    /// The certificate is for another key than ours.
    #[error("the certificate is for another key")]
    OtherKey,
    /// The certificate is for another device.
    #[error("the certificate is for `{found}`, this device is `{ours}`")]
    OtherDevice {
        /// In the certificate.
        found: String,
        /// In the configuration.
        ours: String,
    },
    /// The certificate does not last longer than the one that is shown.
    #[error("the certificate does not last longer than the one of now")]
    NotNewer,
}

/// What is shown, and what comes after it.
#[derive(Debug)]
pub struct Renewal {
    directory: PathBuf,
    identifier: String,
    /// The configuration's certificate.
    cert: PathBuf,
    /// Its key, where that lies in a file; nothing is renewed otherwise.
    key: Option<PathBuf>,
    renew_before: Option<Duration>,
    shown: Certificate,
    trial: Option<Trial>,
}

/// A new certificate that has not proved itself.
#[derive(Debug, Default)]
struct Trial {
    failures: u32,
    old_is_shown: bool,
}

/// Which certificate is to be shown, by its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// PEM file of the certificate.
    pub cert: PathBuf,
    /// PEM file of the key; may be the same.
    pub key: PathBuf,
}

impl Renewal {
    /// What is there; none for a device that has no certificate. A key that only a signer reaches is not renewed.
    ///
    /// # Errors
    /// When the configured certificate cannot be read.
    pub fn open(settings: &Settings, has_signer: bool) -> Result<Option<Self>, RenewalError> {
        let Proof::Certificate { cert, key } = &settings.identity.proof else {
            return Ok(None);
        };
        let mut renewal = Self {
            directory: settings.agent.state_dir.join("identity"),
            identifier: settings.identity.identifier.clone(),
            cert: cert.clone(),
            key: key.clone().filter(|_| !has_signer),
            renew_before: settings.identity.renew_before,
            shown: Certificate::read(cert)?,
            trial: None,
        };
        if renewal.key.is_none() {
            return Ok(Some(renewal));
        }
        let usable = |path: &Path| {
            Certificate::read(path)
                .ok()
                .filter(|found| found.identifier == renewal.identifier)
        };
        let next = usable(&renewal.next());
        let current = usable(&renewal.current());
        // A certificate that was put there by hand after the last renewal counts.
        if let Some(current) = current.filter(|current| current.not_before >= renewal.shown.not_before) {
            renewal.shown = current;
        }
        if next.is_some_and(|next| next.not_after > renewal.shown.not_after) {
            renewal.trial = Some(Trial::default());
        }
        Ok(Some(renewal))
    }

    fn next(&self) -> PathBuf {
        self.directory.join("next.pem")
    }

    fn current(&self) -> PathBuf {
        self.directory.join("current.pem")
    }

    fn next_key(&self) -> PathBuf {
        self.directory.join("next.key")
    }

    /// Which certificate is to be shown now; none where that is the signer's business.
    pub fn shown(&self) -> Option<Shown> {
        let key = self.key.clone()?;
        let both = |path: PathBuf| Shown {
            cert: path.clone(),
            key: path,
        };
        if self.trial.as_ref().is_some_and(|trial| !trial.old_is_shown) {
            return Some(both(self.next()));
        }
        let current = self.current();
        if Certificate::read(&current).is_ok_and(|found| found == self.shown) {
            return Some(both(current));
        }
        let cert = self.cert.clone();
        Some(Shown { cert, key })
    }

    /// Whether a certificate of this device can be renewed over the link.
    pub fn is_possible(&self) -> bool {
        self.key.is_some()
    }

    /// When the certificate that is shown expires, in seconds since 1970.
    pub fn expires(&self) -> u64 {
        self.shown.not_after
    }

    /// How many seconds before the end a new one is asked for: 30 days, or a third of the certificate's life where that is
    /// shorter.
    fn before(&self) -> u64 {
        let life = self.shown.not_after.saturating_sub(self.shown.not_before);
        let own = WARN_BEFORE.as_secs().min(life / 3);
        self.renew_before.map_or(own, |before| before.as_secs())
    }

    /// Whether the certificate has at most so many seconds left.
    fn ends_within(&self, seconds: u64, now: u64) -> bool {
        now.saturating_add(seconds) >= self.shown.not_after
    }

    /// Whether people must be told that the end is near: 30 days ahead where the server renews nothing; where it does, when
    /// half of the time for that has passed in vain.
    pub fn warns(&self, now: u64, server_renews: bool) -> bool {
        let ahead = if server_renews {
            self.before() / 2
        } else {
            WARN_BEFORE.as_secs()
        };
        self.trial.is_none() && self.ends_within(ahead, now)
    }

    /// The request for a new certificate, in PEM, if it is time for one: 30 days before the end, or a third of the
    /// certificate's life where that is shorter.
    ///
    /// # Errors
    /// When the key cannot be made or written down.
    pub fn request(&self, now: u64) -> Result<Option<String>, RenewalError> {
        if self.trial.is_some() || self.key.is_none() || !self.ends_within(self.before(), now) {
            return Ok(None);
        }
        let key = self.new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, &self.identifier);
        Ok(Some(params.serialize_request(&key)?.pem()?))
    }

    /// The key of the request: the one that was written down before, or a new one, written down.
    fn new_key(&self) -> Result<KeyPair, RenewalError> {
        if let Ok(text) = fs::read_to_string(self.next_key())
            && let Ok(key) = KeyPair::from_pem(&text)
        {
            return Ok(key);
        }
        let key = KeyPair::generate()?;
        self.write(&self.next_key(), &key.serialize_pem())?;
        Ok(key)
    }

    /// A file that only the agent reads; on disk when this returns.
    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let temporary = self.directory.join("new");
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(&self.directory)?.sync_all()
    }

    /// The new certificate came, perhaps with its issuers behind it: from the next connection on it is shown.
    ///
    /// # Errors
    /// When it is not what was asked for; the old one stays.
    pub fn issued(&mut self, pem: &str) -> Result<(), RenewalError> {
        let key_text = fs::read_to_string(self.next_key()).map_err(|_| RenewalError::NotAsked)?;
        let key = KeyPair::from_pem(&key_text)?;
        let found = Certificate::parse(pem.as_bytes())?;
        if !found.is_for(&key) {
            return Err(RenewalError::OtherKey);
        }
        if found.identifier != self.identifier {
            return Err(RenewalError::OtherDevice {
                found: found.identifier,
                ours: self.identifier.clone(),
            });
        }
        if found.not_after <= self.shown.not_after {
            return Err(RenewalError::NotNewer);
        }
        self.write(&self.next(), &format!("{}\n{key_text}", pem.trim_end()))?;
        fs::remove_file(self.next_key())?;
        self.trial = Some(Trial::default());
        Ok(())
    }

    /// The link was not opened; whether another certificate is to be shown from now on.
    pub fn failed(&mut self) -> bool {
        let Some(trial) = &mut self.trial else {
            return false;
        };
        trial.failures += 1;
        let turns = trial.failures.is_multiple_of(FAILURES_MAX);
        if turns {
            trial.old_is_shown = !trial.old_is_shown;
        }
        turns
    }

    /// The server has joined us on a connection by the certificate of this file: it is good, and one on trial that gave way
    /// to it is not. A connection from before the trial says nothing.
    ///
    /// # Errors
    /// When the disk fails; it is tried again after the next join.
    pub fn joined(&mut self, by: &Path) -> io::Result<()> {
        let Some(trial) = &self.trial else {
            return Ok(());
        };
        if by == self.next() {
            let proved = Certificate::read(by).map_err(io::Error::other)?;
            fs::rename(by, self.current())?;
            self.shown = proved;
            tracing::info!(certificate.expires = self.shown.not_after, "certificate renewed");
        } else if trial.old_is_shown {
            tracing::warn!("renewed certificate is refused, the one before is kept");
            fs::remove_file(self.next())?;
        } else {
            return Ok(());
        }
        self.trial = None;
        fs::File::open(&self.directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests;
