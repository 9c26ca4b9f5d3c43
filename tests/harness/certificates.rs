//! A CA of the tests' own, and device certificates by it.

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

/// A CA that is not the server's.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub cert: String,
    /// The PKCS#8 key.
    pub key: String,
}

impl Authority {
    /// A new CA of this name.
    ///
    /// # Errors
    /// When the name does not fit a certificate.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for the device of this identifier.
    ///
    /// # Errors
    /// When the identifier does not fit a certificate.
    pub fn device(&self, identifier: &str) -> anyhow::Result<Issued> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, identifier);
        self.issue(params)
    }

    /// A certificate for a listener at this IP address.
    ///
    /// # Errors
    /// When it is no IP address.
    pub fn server(&self, ip: &str) -> anyhow::Result<Issued> {
        self.issue(CertificateParams::new(vec![ip.to_owned()])?)
    }

    /// The proof that this CA is ours: a certificate with the server's token.
    ///
    /// # Errors
    /// When the token does not fit a certificate.
    pub fn verification(&self, token: &str) -> anyhow::Result<Issued> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        let uri = format!("urn:nerveshub:verify:{token}");
        params
            .subject_alt_names
            .push(SanType::URI(uri.as_str().try_into().context("the token")?));
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> anyhow::Result<Issued> {
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued {
            cert,
            key: key.serialize_pem(),
        })
    }
}
