//! Who signs with the device's private key: by default a key file; a library's user may put a secure element here.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::sign::SigningKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[error("the private key does not sign: {0}")]
pub struct SignError(pub String);

/// The device's private key, wherever it is. TLS waits while it signs, so it should take less than a second.
pub trait Signer: Debug + Send + Sync {
    /// What it can do, the preferred first. An ECDSA key on P-256 does `ECDSA_NISTP256_SHA256`.
    fn schemes(&self) -> &[SignatureScheme];

    /// Signs a message, which is not hashed yet; the result is as TLS wants it, an ECDSA signature in DER.
    ///
    /// # Errors
    /// When the key is out of reach.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// The public key, if it can be told; it is then held against the certificate.
    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'static>> {
        None
    }
}

/// A key that lies in a PEM file.
#[derive(Debug)]
pub struct FileSigner {
    key: Arc<dyn SigningKey>,
    schemes: Vec<SignatureScheme>,
}

/// What keys in files may be asked for.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
];

impl FileSigner {
    /// Reads the file.
    ///
    /// # Errors
    /// When it holds no private key that can sign.
    pub fn read(path: &Path) -> Result<Self, SignError> {
        let der = PrivateKeyDer::from_pem_file(path).map_err(|cause| SignError(cause.to_string()))?;
        let key = aws_lc_rs::sign::any_supported_type(&der).map_err(|cause| SignError(cause.to_string()))?;
        let can = |scheme: &SignatureScheme| key.choose_scheme(&[*scheme]).is_some();
        let schemes = SCHEMES.into_iter().filter(can).collect();
        Ok(Self { key, schemes })
    }
}

impl Signer for FileSigner {
    fn schemes(&self) -> &[SignatureScheme] {
        &self.schemes
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signer = self.key.choose_scheme(&[scheme]);
        let signer = signer.ok_or_else(|| SignError(format!("it does not do {scheme:?}")))?;
        signer.sign(message).map_err(|cause| SignError(cause.to_string()))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'static>> {
        self.key.public_key().map(SubjectPublicKeyInfoDer::into_owned)
    }
}

/// A [`Signer`] in the shape that TLS wants.
#[derive(Debug)]
pub(super) struct TlsKey(pub Arc<dyn Signer>);

#[derive(Debug)]
struct TlsSigner {
    key: Arc<dyn Signer>,
    scheme: SignatureScheme,
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let scheme = self.0.schemes().iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(TlsSigner {
            key: Arc::clone(&self.0),
            scheme: *scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.schemes().first() {
            Some(
                SignatureScheme::RSA_PSS_SHA256
                | SignatureScheme::RSA_PSS_SHA384
                | SignatureScheme::RSA_PSS_SHA512
                | SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512,
            ) => SignatureAlgorithm::RSA,
            Some(SignatureScheme::ED25519) => SignatureAlgorithm::ED25519,
            _ => SignatureAlgorithm::ECDSA,
        }
    }
}

impl rustls::sign::Signer for TlsSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key
            .sign(self.scheme, message)
            .map_err(|cause| rustls::Error::General(cause.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData;

    use super::*;

    #[test]
    fn key_file_signs_by_its_own_scheme_only() {
        super::super::install_provider();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device.key");
        let pair = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&path, pair.serialize_pem()).unwrap();
        let signer = FileSigner::read(&path).unwrap();
        assert_eq!(signer.schemes(), [SignatureScheme::ECDSA_NISTP256_SHA256]);
        assert_eq!(signer.public_key().unwrap().as_ref(), pair.subject_public_key_info());
        assert!(signer.sign(SignatureScheme::ECDSA_NISTP256_SHA256, b"message").is_ok());
        assert!(signer.sign(SignatureScheme::ED25519, b"message").is_err());
        let key = TlsKey(Arc::new(signer));
        assert!(key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).is_none());
        assert_eq!(key.algorithm(), SignatureAlgorithm::ECDSA);
        std::fs::write(&path, "nothing").unwrap();
        assert!(FileSigner::read(&path).is_err());
    }
}
