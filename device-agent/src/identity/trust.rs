//! Whether a server's certificate is good, also where nobody knows the time.
//!
//! Chain, signature and name are always checked. Validity is checked by [`TrustedTime::known`]; where no time is known, a
//! certificate passes if there is a moment since [`EPOCH`] at which it and its issuers are valid, since to refuse one that
//! is newer would lock out every board without a battery whenever its server gets a new certificate. Expiry since then is
//! thus not noticed before the server's first `Date`, and is from then on.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::time::{EPOCH, TrustedTime};
use crate::clock;

/// A chain is at most this long; each of its certificates may begin later than the one before.
const BEGINNINGS_MAX: usize = 6;

#[derive(Debug)]
pub(super) struct Verifier {
    pub inner: Arc<WebPkiServerVerifier>,
    pub time: Arc<TrustedTime>,
}

impl Verifier {
    fn verify(
        &self,
        known: Option<u64>,
        check: impl Fn(UnixTime) -> Result<ServerCertVerified, Error>,
    ) -> Result<ServerCertVerified, Error> {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        if let Some(known) = known {
            return check(at(known));
        }
        let mut moment = at(EPOCH);
        for _ in 0..BEGINNINGS_MAX {
            match check(moment) {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                    moment = not_before;
                }
                result => return result,
            }
        }
        check(moment)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(self.time.known(clock::now()), |moment| {
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, moment)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
    use rustls::RootCertStore;

    use super::*;

    /// A verifier, and a certificate that is valid in these years.
    fn chain(from: i32, to: i32) -> (Verifier, CertificateDer<'static>) {
        super::super::install_provider();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(vec!["hub".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap().der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let inner = WebPkiServerVerifier::builder(Arc::new(roots)).build().unwrap();
        let time = Arc::default();
        (Verifier { inner, time }, leaf)
    }

    fn passes(chain: &(Verifier, CertificateDer<'static>), name: &str, known: Option<u64>) -> bool {
        let (verifier, leaf) = chain;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let check = |moment| verifier.inner.verify_server_cert(leaf, &[], &name, &[], moment);
        verifier.verify(known, check).is_ok()
    }

    const YEAR: u64 = 31_557_600;

    #[test]
    fn known_time_is_held_against_the_certificate() {
        let chain = chain(2026, 2030);
        assert!(passes(&chain, "hub", Some(EPOCH)));
        assert!(!passes(&chain, "hub", Some(EPOCH + 10 * YEAR)));
        assert!(!passes(&chain, "hub", Some(EPOCH - 10 * YEAR)));
    }

    #[test]
    fn without_a_known_time_everything_else_is_checked() {
        for years in [(2026, 2030), (2031, 2040)] {
            let chain = chain(years.0, years.1);
            assert!(passes(&chain, "hub", None), "{years:?}");
            assert!(!passes(&chain, "other", None), "{years:?}");
        }
        assert!(!passes(&chain(2020, 2022), "hub", None));
        let (stranger, _) = chain(2026, 2030);
        let (_, leaf) = chain(2026, 2030);
        assert!(!passes(&(stranger, leaf), "hub", None));
    }
}
