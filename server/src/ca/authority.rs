//! A CA of the server's own: made with rcgen, its key under the vault. It issues the device listener's certificate, and
//! device certificates for demonstrations, tests and renewals.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::request::Request;
use super::x509::Certificate;

/// How long a CA of ours is good.
const CA_LIFETIME: Duration = Duration::days(20 * 365);
/// How long a listener's certificate of ours is good; it is made anew at a start in its last third.
pub const SERVER_LIFETIME: Duration = Duration::days(365);

/// A CA with its key.
#[derive(Debug)]
pub struct Authority {
    certificate_pem: String,
    certificate_der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// The PKCS#8 private key.
    pub key_pem: Zeroizing<String>,
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("a certificate could not be made: {0}")]
pub struct AuthorityError(#[from] rcgen::Error);

impl Authority {
    /// Makes a CA of this name, with a new P-256 key. `serial` is random; its top bit is cleared.
    ///
    /// # Errors
    /// When the name does not fit a certificate.
    pub fn create(
        name: &str,
        serial: [u8; 16],
        now: OffsetDateTime,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let key_der = Zeroizing::new(key.serialize_der());
        let mut params = parameters(name, serial, now, CA_LIFETIME)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params.self_signed(&key)?;
        let authority = Self {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key),
        };
        Ok((authority, key_der))
    }

    /// The CA that was stored.
    ///
    /// # Errors
    /// When certificate or key do not parse.
    pub fn load(certificate_der: &[u8], key_der: &[u8]) -> Result<Self, AuthorityError> {
        let key = KeyPair::try_from(key_der)?;
        let der = rustls_pki_types::CertificateDer::from(certificate_der.to_vec());
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self {
            certificate_pem: pem(certificate_der),
            certificate_der: certificate_der.to_vec(),
            issuer,
        })
    }

    /// The CA's certificate in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// When the CA itself expires.
    ///
    /// # Errors
    /// When its certificate does not parse.
    pub fn ends(&self) -> Result<OffsetDateTime, AuthorityError> {
        let certificate =
            Certificate::from_der(&self.certificate_der).map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        Ok(certificate.not_after)
    }

    /// A certificate for a TLS server with these names and addresses.
    ///
    /// # Errors
    /// When a name does not fit a certificate.
    pub fn issue_server(
        &self,
        names: &[String],
        serial: [u8; 16],
        now: OffsetDateTime,
    ) -> Result<Issued, AuthorityError> {
        let mut params = parameters("muster", serial, now, SERVER_LIFETIME)?;
        params.subject_alt_names = CertificateParams::new(names.to_vec())?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A certificate for the device with this identifier.
    ///
    /// # Errors
    /// When the identifier does not fit a certificate.
    pub fn issue_device(
        &self,
        identifier: &str,
        serial: [u8; 16],
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<Issued, AuthorityError> {
        let mut params = parameters(identifier, serial, now, lifetime)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// A certificate for the key and the name of this request, in PEM, good between these times.
    ///
    /// # Errors
    /// When the name does not fit a certificate.
    pub fn issue_for(
        &self,
        request: &Request,
        serial: [u8; 16],
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<String, AuthorityError> {
        let mut params = parameters(&request.common_name, serial, from, until - from)?;
        params.not_before = from;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(request.public_key_fingerprint[..20].to_vec());
        Ok(params.signed_by(&request.public_key, &self.issuer)?.pem())
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(subject_key_identifier(&key));
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }
}

fn parameters(
    name: &str,
    mut serial: [u8; 16],
    now: OffsetDateTime,
    lifetime: Duration,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    serial[0] &= 0x7f;
    params.serial_number = Some(serial.to_vec().into());
    // A device's clock may be behind when it meets the certificate first.
    params.not_before = now - Duration::days(1);
    params.not_after = now + lifetime;
    Ok(params)
}

fn subject_key_identifier(key: &KeyPair) -> Vec<u8> {
    super::x509::sha256(&key.subject_public_key_info())[..20].to_vec()
}

/// A certificate in PEM.
pub fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut lines = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines + "-----END CERTIFICATE-----\n"
}
