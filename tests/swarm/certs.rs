//! A certificate and key for each device: made from a CA, or read from a folder.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::args::{Authority, Certs, Range};

/// What a device shows and proves.
#[derive(Debug)]
pub struct Credential {
    /// Its name.
    pub identifier: String,
    /// Its certificate, without the CA's: so does the real client.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// Makes the files that are not there yet.
pub fn make(certs: &Certs) -> anyhow::Result<()> {
    let issuer = issuer(&certs.authority)?;
    fs::create_dir_all(&certs.out).with_context(|| format!("{} cannot be made", certs.out.display()))?;
    for identifier in certs.range.identifiers() {
        let path = certs.out.join(format!("{identifier}.pem"));
        if path.exists() {
            continue;
        }
        let (certificate, key) = issue(&issuer, &identifier)?;
        fs::write(&path, certificate.pem() + &key.serialize_pem())
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// The credentials of these devices: from the folder, or made in memory where none is given.
pub fn load(range: &Range, folder: Option<&Path>, authority: &Authority) -> anyhow::Result<Vec<Credential>> {
    if let Some(folder) = folder {
        return range.identifiers().map(|identifier| read(folder, identifier)).collect();
    }
    let issuer = issuer(authority)?;
    range
        .identifiers()
        .map(|identifier| in_memory(&issuer, identifier))
        .collect()
}

fn read(folder: &Path, identifier: String) -> anyhow::Result<Credential> {
    let path = folder.join(format!("{identifier}.pem"));
    let pem = fs::read(&path).with_context(|| format!("{}: make it with `muster-swarm certs`", path.display()))?;
    Ok(Credential {
        identifier,
        chain: vec![CertificateDer::from_pem_slice(&pem).with_context(|| path.display().to_string())?],
        key: PrivateKeyDer::from_pem_slice(&pem).with_context(|| path.display().to_string())?,
    })
}

fn in_memory(issuer: &Issuer<'_, KeyPair>, identifier: String) -> anyhow::Result<Credential> {
    let (certificate, key) = issue(issuer, &identifier)?;
    Ok(Credential {
        identifier,
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?,
    })
}

fn issuer(authority: &Authority) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let text = |path: &Option<std::path::PathBuf>, flag: &str| {
        let path = path.as_ref().with_context(|| format!("{flag} is missing"))?;
        fs::read_to_string(path).with_context(|| path.display().to_string())
    };
    let key = KeyPair::from_pem(&text(&authority.ca_key, "--ca-key")?).context("--ca-key")?;
    Issuer::from_ca_cert_pem(&text(&authority.ca, "--ca")?, key).context("--ca")
}

fn issue(issuer: &Issuer<'_, KeyPair>, identifier: &str) -> anyhow::Result<(rcgen::Certificate, KeyPair)> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, identifier);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok((params.signed_by(&key, issuer)?, key))
}
