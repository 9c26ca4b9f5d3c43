//! What must be known of a certificate.

use std::io;
use std::path::Path;

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a certificate cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// There is none.
    #[error("no certificate: {0}")]
    Missing(String),
    /// It is none.
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    /// It names nobody.
    #[error("the certificate has no common name")]
    Nameless,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name.
    pub identifier: String,
    /// Seconds since 1970 from which it is valid.
    pub not_before: u64,
    /// Seconds since 1970 after which it is not.
    pub not_after: u64,
    public_key: Vec<u8>,
}

impl Certificate {
    /// Reads the first certificate of a PEM file.
    ///
    /// # Errors
    /// When there is none, or it names nobody.
    pub fn read(path: &Path) -> Result<Self, CertificateError> {
        let missing = |cause: io::Error| CertificateError::Missing(format!("{}: {cause}", path.display()));
        Self::parse(&std::fs::read(path).map_err(missing)?)
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// As [`Certificate::read`].
    pub fn parse(pem: &[u8]) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|cause| CertificateError::Missing(cause.to_string()))?;
        let malformed = |cause: x509_parser::nom::Err<_>| CertificateError::Malformed(cause.to_string());
        let (_, certificate) = X509Certificate::from_der(&der).map_err(malformed)?;
        let name = certificate.subject().iter_common_name().next();
        let identifier = name
            .and_then(|name| name.as_str().ok())
            .ok_or(CertificateError::Nameless)?;
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        Ok(Self {
            identifier: identifier.to_owned(),
            not_before: seconds(certificate.validity().not_before),
            not_after: seconds(certificate.validity().not_after),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }

    /// Whether it is for this key.
    pub fn is_for(&self, key: &KeyPair) -> bool {
        self.public_key == key.subject_public_key_info()
    }
}
