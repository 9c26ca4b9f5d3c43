//! Reading a certificate request (PKCS#10): whose key it is for, proven by its own signature.

use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::x509::{CERTIFICATE_MAX, sha256};

/// Why a text is no usable request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not one PEM block of a request, or too large.
    #[error("the request is not a certificate request in PEM")]
    NotPem,
    /// Not DER of a request.
    #[error("the request is not PKCS#10")]
    NotPkcs10,
    /// The key that it is for did not sign it.
    #[error("the request is not signed by its own key")]
    BadSignature,
    /// No common name, or several.
    #[error("the request must have one common name")]
    Name,
    /// A kind of key that certificates are not made for.
    #[error("certificates are not made for keys of this kind")]
    Key,
}

/// A request whose signature is good. Nothing of it counts but name and key.
#[derive(Debug)]
pub struct Request {
    /// The subject's common name.
    pub common_name: String,
    /// SHA-256 of the public key's DER.
    pub public_key_fingerprint: [u8; 32],
    pub(super) public_key: SubjectPublicKeyInfo,
}

impl Request {
    /// Reads a request in PEM.
    ///
    /// # Errors
    /// [`RequestError`] says what it lacks.
    pub fn from_pem(pem: &str) -> Result<Self, RequestError> {
        if pem.len() > CERTIFICATE_MAX {
            return Err(RequestError::NotPem);
        }
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| RequestError::NotPem)?;
        if !matches!(block.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
            return Err(RequestError::NotPem);
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(&block.contents) else {
            return Err(RequestError::NotPkcs10);
        };
        request.verify_signature().map_err(|_| RequestError::BadSignature)?;
        let info = &request.certification_request_info;
        let mut names = info.subject.iter_common_name();
        let (Some(name), None) = (names.next(), names.next()) else {
            return Err(RequestError::Name);
        };
        let public_key = info.subject_pki.raw;
        Ok(Self {
            common_name: name.as_str().map_err(|_| RequestError::Name)?.to_owned(),
            public_key_fingerprint: sha256(public_key),
            public_key: SubjectPublicKeyInfo::from_der(public_key).map_err(|_| RequestError::Key)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn pem(names: &[&str]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params
            .serialize_request(&KeyPair::generate().unwrap())
            .unwrap()
            .pem()
            .unwrap()
    }

    #[test]
    fn request_names_a_device_and_its_key() {
        let request = Request::from_pem(&pem(&["kiosk-1"])).unwrap();
        assert_eq!(request.common_name, "kiosk-1");
        assert_ne!(
            request.public_key_fingerprint,
            Request::from_pem(&pem(&["kiosk-1"])).unwrap().public_key_fingerprint
        );
    }

    #[test]
    fn what_is_no_request_is_refused() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let read = |pem: &str| Request::from_pem(pem).map(|_| ());
        let good = pem(&["kiosk-1"]);
        assert_eq!(read(&pem(&[])), Err(RequestError::Name));
        assert_eq!(read(""), Err(RequestError::NotPem));
        assert_eq!(
            read(&good.replace("CERTIFICATE REQUEST", "CERTIFICATE")),
            Err(RequestError::NotPem)
        );
        assert_eq!(read(&"x".repeat(CERTIFICATE_MAX + 1)), Err(RequestError::NotPem));
        let body: String = good.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(body).unwrap();
        let with = |der: &[u8]| {
            let text = STANDARD.encode(der);
            format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
        };
        assert_eq!(read(&with(&der)), Ok(()));
        assert_eq!(read(&with(&der[..der.len() - 1])), Err(RequestError::NotPkcs10));
        // The name is changed, and so is what was signed.
        let at = der.windows(7).position(|window| window == b"kiosk-1").unwrap();
        let mut forged = der;
        forged[at] = b'K';
        assert_eq!(read(&with(&forged)), Err(RequestError::BadSignature));
    }
}
