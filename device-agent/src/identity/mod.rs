//! Who the device is and whom it trusts: its certificate or shared secret, and the TLS of the link and of downloads.

pub mod secret;
pub mod signer;
pub mod time;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use self::secret::{SecretSettings, SharedSecret};
use self::signer::{FileSigner, SignError, Signer, TlsKey};
use self::time::TrustedTime;
use self::trust::Verifier;
use crate::config::{Settings, TlsVersions};

/// What proves which device this is.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// The name under which the server knows the device: the certificate's common name.
    pub identifier: String,
    /// The proof.
    pub proof: Proof,
    /// A new certificate is asked for this long before the end, in place of the ordinary rule.
    pub renew_before: Option<Duration>,
}

/// How the device proves who it is.
#[derive(Debug, Clone)]
pub enum Proof {
    /// By a certificate in the TLS handshake.
    Certificate {
        /// PEM file of the device's certificate, its issuers after it if the server needs them.
        cert: PathBuf,
        /// PEM file of the certificate's private key; none where a [`Signer`] is given.
        key: Option<PathBuf>,
    },
    /// By signed headers.
    Secret(SecretSettings),
}

/// Why the device cannot prove who it is, or no TLS connection can be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file is not there or holds no such thing.
    #[error("cannot read {what} from {path}: {reason}")]
    Unreadable {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// The certificate and key do not fit, or TLS refuses them.
    #[error("the device's certificate or key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The CA certificates cannot be used.
    #[error("the CA certificates cannot be used: {0}")]
    NoTrust(#[from] rustls::client::VerifierBuilderError),
    /// Neither a key file nor a signer is there.
    #[error("identity.key is not set, and the program brings no signer")]
    NoKey,
}

/// What the device shows and whom it trusts.
#[derive(Debug)]
pub struct Identity {
    /// The name under which the server knows the device.
    pub identifier: String,
    /// For downloads: shows nothing, since the URL may lead to another party.
    pub download: Arc<ClientConfig>,
    /// The shared secret, if that is the proof.
    pub secret: Option<SharedSecret>,
    /// What time it is.
    pub time: Arc<TrustedTime>,
    link: Mutex<LinkTls>,
    trust: Trust,
}

/// TLS of the link.
#[derive(Debug, Clone)]
pub struct LinkTls {
    /// How to connect.
    pub config: Arc<ClientConfig>,
    /// The file of the certificate that is shown, if one is.
    pub cert: Option<Arc<Path>>,
}

/// Whom the link trusts.
#[derive(Debug, Clone)]
struct Trust {
    versions: TlsVersions,
    verifier: Arc<Verifier>,
}

impl Identity {
    /// Reads certificates, key and secret. A signer takes the place of the key file.
    ///
    /// # Errors
    /// When a file is missing, empty or not what it should be.
    pub fn new(settings: &Settings, signer: Option<Arc<dyn Signer>>) -> Result<Self, IdentityError> {
        let time = Arc::new(TrustedTime::default());
        let trust = |files: &[&Path]| {
            Ok::<_, IdentityError>(Trust {
                versions: settings.server.tls,
                verifier: verifier(files, &time)?,
            })
        };
        let server = trust(&[&settings.server.ca])?;
        let mut files = vec![settings.server.ca.as_path()];
        files.extend(settings.firmware.ca.as_deref());
        let (config, cert, secret) = match &settings.identity.proof {
            Proof::Certificate { cert, key } => {
                let signer = signer.map_or_else(|| file_signer(key.as_deref()), Ok)?;
                (
                    server.with_certificate(cert, signer)?,
                    Some(Arc::from(cert.as_path())),
                    None,
                )
            }
            Proof::Secret(secret) => (server.without_certificate()?, None, Some(SharedSecret::read(secret)?)),
        };
        let config = Arc::new(config);
        Ok(Self {
            identifier: settings.identity.identifier.clone(),
            download: Arc::new(trust(&files)?.without_certificate()?),
            secret,
            time,
            link: Mutex::new(LinkTls { config, cert }),
            trust: server,
        })
    }

    /// TLS of the link: shows the device's certificate, if it has one.
    pub fn link(&self) -> LinkTls {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From the next connection on, this certificate is shown.
    ///
    /// # Errors
    /// When certificate and key cannot be read or do not fit; the one of before stays.
    pub fn show(&self, cert: &Path, key: &Path) -> Result<(), IdentityError> {
        let link = LinkTls {
            config: Arc::new(self.trust.with_certificate(cert, file_signer(Some(key))?)?),
            cert: Some(Arc::from(cert)),
        };
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
        Ok(())
    }
}

impl Trust {
    fn builder(&self) -> Result<Builder, rustls::Error> {
        let versions: &[&'static SupportedProtocolVersion] = match self.versions {
            TlsVersions::Both => &[&TLS13, &TLS12],
            TlsVersions::Only12 => &[&TLS12],
            TlsVersions::Only13 => &[&TLS13],
        };
        let verifier = Arc::clone(&self.verifier);
        Ok(ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(verifier))
    }

    fn without_certificate(&self) -> Result<ClientConfig, IdentityError> {
        let mut config = self.builder()?.with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(config)
    }

    fn with_certificate(&self, cert: &Path, signer: Arc<dyn Signer>) -> Result<ClientConfig, IdentityError> {
        let chain = certificates("a certificate", cert)?;
        let certified = CertifiedKey::new(chain, Arc::new(TlsKey(signer)));
        match certified.keys_match() {
            // A signer need not tell its public key.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(cause) => return Err(cause.into()),
        }
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let mut config = self.builder()?.with_client_cert_resolver(resolver);
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(config)
    }
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

/// The agent talks to one server; rustls' default of 256 remembered sessions is memory for nothing.
const SESSIONS: usize = 2;

/// Makes aws-lc-rs the process's cryptography, whatever else is linked in.
pub fn install_provider() {
    // An error says that one is installed already, which is what was asked for.
    let _ = aws_lc_rs::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn verifier(files: &[&Path], time: &Arc<TrustedTime>) -> Result<Arc<Verifier>, IdentityError> {
    let mut roots = RootCertStore::empty();
    for path in files {
        for certificate in certificates("a CA certificate", path)? {
            roots
                .add(certificate)
                .map_err(|cause| unreadable("a CA certificate", path, &cause.to_string()))?;
        }
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    Ok(Arc::new(Verifier {
        inner,
        time: Arc::clone(time),
    }))
}

fn file_signer(key: Option<&Path>) -> Result<Arc<dyn Signer>, IdentityError> {
    let path = key.ok_or(IdentityError::NoKey)?;
    let signer = FileSigner::read(path).map_err(|SignError(cause)| unreadable("a private key", path, &cause))?;
    Ok(Arc::new(signer))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|cause| unreadable(what, path, &cause.to_string()))?;
    if certificates.is_empty() {
        return Err(unreadable(what, path, "the file holds none"));
    }
    Ok(certificates)
}

fn unreadable(what: &'static str, path: &Path, reason: &str) -> IdentityError {
    IdentityError::Unreadable {
        what,
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}
