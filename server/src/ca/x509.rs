//! Reading a certificate, and whether a CA issued it (device-link §1.4).

use aws_lc_rs::digest;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

/// Largest certificate that is read, in bytes of DER.
pub const CERTIFICATE_MAX: usize = 16 * 1024;

/// Why bytes are not a usable certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not one PEM block of a certificate.
    #[error("is not a certificate in PEM")]
    NotPem,
    /// Not DER of an X.509 certificate.
    #[error("is not an X.509 certificate")]
    NotX509,
    /// Larger than [`CERTIFICATE_MAX`].
    #[error("is larger than 16 KiB")]
    TooLarge,
}

/// What is kept of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The bytes.
    pub der: Vec<u8>,
    /// First common name of the subject: a device's identifier.
    pub common_name: Option<String>,
    /// Serial number in decimal.
    pub serial: String,
    /// Key identifier of the issuer.
    pub aki: Option<Vec<u8>>,
    /// Key identifier of its own key.
    pub ski: Option<Vec<u8>>,
    /// Valid from.
    pub not_before: OffsetDateTime,
    /// Valid until.
    pub not_after: OffsetDateTime,
    /// SHA-256 of the DER.
    pub fingerprint: [u8; 32],
    /// SHA-1 of the DER, by which peers' records name it.
    pub fingerprint_sha1: [u8; 20],
    /// SHA-256 of the public key's DER.
    pub public_key_fingerprint: [u8; 32],
    /// Whether it may sign certificates.
    pub is_ca: bool,
    /// URIs of its alternative names.
    pub uris: Vec<String>,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError`] when it is none, or too large.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > CERTIFICATE_MAX {
            return Err(CertificateError::TooLarge);
        }
        let parsed = parse(der)?;
        let mut certificate = Self {
            der: der.to_vec(),
            common_name: parsed
                .subject()
                .iter_common_name()
                .next()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
            serial: parsed.serial.to_str_radix(10),
            aki: None,
            ski: None,
            not_before: parsed.validity().not_before.to_datetime(),
            not_after: parsed.validity().not_after.to_datetime(),
            fingerprint: sha256(der),
            fingerprint_sha1: sha1(der),
            public_key_fingerprint: sha256(parsed.public_key().raw),
            is_ca: parsed.is_ca(),
            uris: Vec::new(),
        };
        for extension in parsed.extensions() {
            certificate.read_extension(extension.parsed_extension());
        }
        Ok(certificate)
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`CertificateError`] when there is none.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        if pem.len() > 2 * CERTIFICATE_MAX {
            return Err(CertificateError::TooLarge);
        }
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| CertificateError::NotPem)?;
        if block.label != "CERTIFICATE" {
            return Err(CertificateError::NotPem);
        }
        Self::from_der(&block.contents)
    }

    fn read_extension(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::AuthorityKeyIdentifier(aki) => {
                self.aki = aki.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::SubjectKeyIdentifier(ski) => self.ski = Some(ski.0.to_vec()),
            ParsedExtension::SubjectAlternativeName(names) => {
                self.uris
                    .extend(names.general_names.iter().filter_map(|name| match name {
                        GeneralName::URI(uri) => Some((*uri).to_owned()),
                        _ => None,
                    }));
            }
            _ => {}
        }
    }

    /// Whether it is in date.
    pub fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether the CA with this DER signed it, is a CA, and is its issuer by name. Says nothing of dates.
    pub fn was_issued_by(&self, ca_der: &[u8]) -> bool {
        let (Ok(leaf), Ok(ca)) = (parse(&self.der), parse(ca_der)) else {
            return false;
        };
        ca.is_ca() && leaf.issuer() == ca.subject() && leaf.verify_signature(Some(ca.public_key())).is_ok()
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::NotX509),
    }
}

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    array(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    array(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref())
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};

    fn key() -> KeyPair {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
    }

    fn ca(name: &str) -> (Issuer<'static, KeyPair>, Vec<u8>) {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        (Issuer::new(params, key), der)
    }

    fn leaf(issuer: &Issuer<'static, KeyPair>) -> Certificate {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "kiosk-0001");
        params.use_authority_key_identifier_extension = true;
        Certificate::from_der(params.signed_by(&key(), issuer).unwrap().der()).unwrap()
    }

    #[test]
    fn leaf_names_its_device_and_its_issuer() {
        let (issuer, ca_der) = ca("root");
        let leaf = leaf(&issuer);
        assert_eq!(leaf.common_name.as_deref(), Some("kiosk-0001"));
        assert_eq!(leaf.aki, Certificate::from_der(&ca_der).unwrap().ski);
        assert!(leaf.was_issued_by(&ca_der));
    }

    #[test]
    fn ca_of_the_same_name_with_another_key_did_not_issue_it() {
        let leaf = leaf(&ca("root").0);
        assert!(!leaf.was_issued_by(&ca("root").1));
        assert!(!leaf.was_issued_by(&leaf.der));
    }

    #[test]
    fn what_is_not_a_certificate_is_refused() {
        let der = leaf(&ca("root").0).der;
        assert_eq!(Certificate::from_der(&[]), Err(CertificateError::NotX509));
        assert_eq!(
            Certificate::from_der(&der[..der.len() - 1]),
            Err(CertificateError::NotX509)
        );
        assert_eq!(
            Certificate::from_der(&[der.as_slice(), &[0]].concat()),
            Err(CertificateError::NotX509)
        );
        assert_eq!(
            Certificate::from_der(&vec![0; CERTIFICATE_MAX + 1]),
            Err(CertificateError::TooLarge)
        );
        assert_eq!(
            Certificate::from_pem("-----BEGIN X-----"),
            Err(CertificateError::NotPem)
        );
    }
}
