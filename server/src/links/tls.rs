//! TLS of the device listener. A client certificate is optional here, since devices with a shared secret have none; whoever
//! shows one must prove that the private key is theirs, and that is all. Who it is, and whether it may come in, is decided
//! on every connection by `devices::identity` from [`PeerChain`]: a resumed session has not been verified anew.

use std::path::Path;
use std::sync::Arc;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use anyhow::Context as _;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::platform::tickets::Tickets;

/// The certificates that the peer showed, its own first. A link without it showed none.
#[derive(Debug, Clone)]
pub struct PeerChain(pub Vec<CertificateDer<'static>>);

/// Stores the peer's certificates with the connection, where `HttpRequest::conn_data::<PeerChain>()` finds them.
pub fn note_peer(stream: &TlsStream<TcpStream>, data: &mut Extensions) {
    if let Some(chain) = stream.get_ref().1.peer_certificates() {
        data.insert(PeerChain(chain.iter().map(|one| one.clone().into_owned()).collect()));
    }
}

/// The listener's TLS, from the PEM files of its certificate chain and key.
///
/// # Errors
/// When a file cannot be read, or the key is not the certificate's.
pub fn from_files(cert: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .with_context(|| format!("the certificate of the device listener, {}", cert.display()))?;
    anyhow::ensure!(!chain.is_empty(), "{} holds no certificate in PEM", cert.display());
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("the private key of the device listener, {}", key.display()))?;
    config(chain, private).with_context(|| format!("{} and {}", cert.display(), key.display()))
}

/// The listener's TLS: versions 1.2 and 1.3, client certificate asked for but not required.
///
/// # Errors
/// When the key is not the certificate's.
pub fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(Possession(Arc::clone(&provider)));
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
}

/// The same with session tickets, one a connection: a device keeps one session.
pub fn with_tickets(mut config: ServerConfig, tickets: Tickets) -> ServerConfig {
    config.ticketer = Arc::new(tickets);
    config.send_tls13_tickets = 1;
    config
}

/// Accepts every certificate whose private key the peer has.
#[derive(Debug)]
struct Possession(Arc<CryptoProvider>);

impl ClientCertVerifier for Possession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No hint: the CAs of all orgs would not fit, and devices have one certificate each.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
