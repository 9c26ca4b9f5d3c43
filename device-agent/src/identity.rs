//! Who the device is and whom it trusts: the TLS configurations of the link and of downloads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Settings, TlsVersions};

/// What proves which device this is.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// The name under which the server knows the device: the certificate's common name.
    pub identifier: String,
    /// PEM file of the device's certificate, its issuers after it if the server needs them.
    pub cert: PathBuf,
    /// PEM file of the certificate's private key.
    pub key: PathBuf,
}

/// Why no TLS connection can be made.
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
}

/// The two TLS configurations.
#[derive(Debug, Clone)]
pub struct Tls {
    /// For the link: shows the device's certificate.
    pub link: Arc<ClientConfig>,
    /// For downloads: shows nothing, since the URL may lead to another party.
    pub download: Arc<ClientConfig>,
}

impl Tls {
    /// Reads certificates and key.
    ///
    /// # Errors
    /// When a file is missing, empty or not what it should be.
    pub fn new(settings: &Settings) -> Result<Self, IdentityError> {
        let identity = &settings.identity;
        let chain = certificates("a certificate", &identity.cert)?;
        let key = PrivateKeyDer::from_pem_file(&identity.key)
            .map_err(|cause| unreadable("a private key", &identity.key, &cause.to_string()))?;
        let roots = trusted(&[&settings.server.ca])?;
        let mut link = builder(settings.server.tls)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        link.resumption = Resumption::in_memory_sessions(SESSIONS);

        let mut files = vec![settings.server.ca.as_path()];
        files.extend(settings.firmware.ca.as_deref());
        let mut download = builder(settings.server.tls)?
            .with_root_certificates(trusted(&files)?)
            .with_no_client_auth();
        download.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self {
            link: Arc::new(link),
            download: Arc::new(download),
        })
    }
}

/// The agent talks to one server; rustls' default of 256 remembered sessions is memory for nothing.
const SESSIONS: usize = 2;

/// Makes aws-lc-rs the process's cryptography, whatever else is linked in.
pub fn install_provider() {
    // An error says that one is installed already, which is what was asked for.
    let _ = aws_lc_rs::default_provider().install_default();
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder(versions: TlsVersions) -> Result<Builder, rustls::Error> {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let versions: &[&'static SupportedProtocolVersion] = match versions {
        TlsVersions::Both => &[&TLS13, &TLS12],
        TlsVersions::Only12 => &[&TLS12],
        TlsVersions::Only13 => &[&TLS13],
    };
    ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)
}

fn trusted(files: &[&Path]) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for path in files {
        for certificate in certificates("a CA certificate", path)? {
            roots
                .add(certificate)
                .map_err(|cause| unreadable("a CA certificate", path, &cause.to_string()))?;
        }
    }
    Ok(roots)
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
