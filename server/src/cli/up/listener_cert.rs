//! The certificate of `up`'s device listener, signed by the CA of the first org and made anew before it expires.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::dir::DataDir;
use crate::app::Urls;
use crate::ca::authority::{Authority, SERVER_LIFETIME};
use crate::platform::{Platform, files};

/// The files of a certificate.
#[derive(Debug)]
pub(super) struct CertFiles {
    /// Its chain in PEM.
    pub(super) certificate: PathBuf,
    /// Its key in PEM.
    pub(super) key: PathBuf,
}

/// The listener's certificate: the one that is there, unless it is in the last third of its life, lacks a name, or is not
/// of this CA.
pub(super) fn ensure(
    dir: &DataDir,
    platform: &Platform,
    authority: &Authority,
    urls: &Urls,
    listens_on: IpAddr,
) -> anyhow::Result<CertFiles> {
    let names = names(urls, listens_on);
    let folder = dir.tls();
    let files = CertFiles {
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
    };
    write(&dir.ca(), authority.certificate_pem(), files::write_public)?;
    let now = platform.clock.now();
    if !is_good(&files.certificate, authority, &names, now) || !files.key.exists() {
        let issued = authority.issue_server(&names, platform.random.bytes(), now)?;
        // The key first: a certificate without its key would be taken for good at the next start.
        let _ = std::fs::remove_file(&files.certificate);
        write(&files.key, &issued.key_pem, files::write_private)?;
        write(&files.certificate, &issued.certificate_pem, files::write_public)?;
        tracing::info!(names = names.join(" "), "made a certificate for the device listener");
    }
    Ok(files)
}

fn write(path: &Path, text: &str, how: fn(&Path, &[u8]) -> std::io::Result<()>) -> anyhow::Result<()> {
    how(path, text.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))
}

/// Every name by which a device may call the listener.
fn names(urls: &Urls, listens_on: IpAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.push(urls.firmware.host().trim_matches(['[', ']']).to_owned());
    names.push(urls.public.host().trim_matches(['[', ']']).to_owned());
    if !listens_on.is_unspecified() {
        names.push(listens_on.to_string());
    }
    names.sort();
    names.dedup();
    names
}

fn is_good(path: &Path, authority: &Authority, names: &[String], now: OffsetDateTime) -> bool {
    let Ok(der) = CertificateDer::from_pem_file(path) else {
        return false;
    };
    let (Ok((_, certificate)), Ok((_, ca))) = (
        parse_x509_certificate(&der),
        parse_x509_certificate(authority.certificate_der()),
    ) else {
        return false;
    };
    let validity = certificate.validity();
    let fresh =
        validity.not_before.to_datetime() <= now && validity.not_after.to_datetime() - now > SERVER_LIFETIME / 3;
    let ours = certificate.verify_signature(Some(ca.public_key())).is_ok();
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return false;
    };
    let has: Vec<String> = alternatives.value.general_names.iter().filter_map(text).collect();
    fresh && ours && names.iter().all(|name| has.contains(name))
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}
