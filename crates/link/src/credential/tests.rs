use super::*;

const FIRST: &str = "SFMyNTY.g2gDbQAAAAhkZXYtMDAwMW4GAADALMiZAWIAAVGA.fxKyVrLtzeJ_ALs26FW9i2l0HgBBgkaebMUDl42IHDY";
const SECOND: &str = "SFMyNTY.g2gDbQAAAAdycGk0LWFibgYAeKAuyJkBYgABUYA.pOApWIHdWpVKoMUArOwzpQ64Ho_nCKUMJ2jh3OlPhLM";
const AT: u64 = 1_760_000_000;

fn first_key() -> String {
    format!("nhp_{}", "A".repeat(43))
}

fn first_secret() -> String {
    "b".repeat(43)
}

fn claim(signature: &str) -> Result<Claim, CredentialError> {
    Claim::read(ALG, &first_key(), &AT.to_string(), signature)
}

#[test]
fn both_vectors_are_signed_and_verified() {
    let key = format!("nhd_{}", "Z".repeat(43));
    for (alg, key, secret, identifier, time, token) in [
        (ALG, first_key(), first_secret(), "dev-0001", AT, FIRST),
        (
            "NH1-HMAC-sha512-2000-64",
            key,
            "s3cr3t".to_owned(),
            "rpi4-ab",
            AT + 123,
            SECOND,
        ),
    ] {
        let signed = Signed::new(alg, &key, &secret, identifier, time).unwrap();
        assert_eq!(signed.signature, token);
        let claim = Claim::read(alg, &signed.key, &signed.time, token).unwrap();
        assert_eq!((claim.key(), claim.identifier()), (key.as_str(), identifier));
        assert_eq!(claim.verify(&secret, time * 1000), Ok(()));
        assert_eq!(claim.verify("other", time * 1000), Err(CredentialError::Signature));
    }
    assert_eq!(salt(ALG, &first_key(), &AT.to_string()).len(), 152);
}

#[test]
fn every_header_is_part_of_what_is_signed() {
    let (key, secret, time) = (first_key(), first_secret(), AT.to_string());
    let verify =
        |alg: &str, key: &str, time: &str| Claim::read(alg, key, time, FIRST).unwrap().verify(&secret, AT * 1000);
    assert_eq!(verify(ALG, &key, &time), Ok(()));
    assert_eq!(
        verify("NH1-HMAC-SHA256-1000-32", &key, &time),
        Err(CredentialError::Signature)
    );
    assert_eq!(
        verify("NH1-HMAC-sha256-1001-32", &key, &time),
        Err(CredentialError::Signature)
    );
    assert_eq!(verify(ALG, "nhp_x", &time), Err(CredentialError::Signature));
    assert_eq!(verify(ALG, &key, "1760000001"), Err(CredentialError::Signature));
}

#[test]
fn digest_is_read_in_any_case() {
    let alg = "NH1-HMAC-SHA384-10-48";
    let signed = Signed::new(alg, "nhd_k", "s", "a", AT).unwrap();
    let claim = Claim::read(alg, "nhd_k", &signed.time, &signed.signature).unwrap();
    assert_eq!(claim.verify("s", AT * 1000), Ok(()));
}

#[test]
fn a_clock_may_be_ninety_seconds_off_in_either_direction() {
    let claim = claim(FIRST).unwrap();
    let (secret, at) = (first_secret(), AT * 1000);
    for now in [at, at - 90_000, at + 90_000] {
        assert_eq!(claim.verify(&secret, now), Ok(()));
    }
    for now in [at - 90_001, at + 90_001, 0, u64::MAX] {
        assert_eq!(claim.verify(&secret, now), Err(CredentialError::Expired));
    }
}

#[test]
fn a_header_buys_no_more_work_than_is_allowed() {
    for alg in [
        "NH1-HMAC-sha256-10001-32",
        "NH1-HMAC-sha256-4294967296-32",
        "NH1-HMAC-sha256-0-32",
        "NH1-HMAC-sha256-1000-15",
        "NH1-HMAC-sha256-1000-65",
        "NH1-HMAC-sha256-1000-99999999999999999999",
        "NH1-HMAC-sha256-+1000-32",
        "NH1-HMAC-sha256-1000-32-1",
        "NH1-HMAC-sha256-1000",
        "NH1-HMAC-md5-1000-32",
        "NH2-HMAC-sha256-1000-32",
    ] {
        let read = Claim::read(alg, &first_key(), &AT.to_string(), FIRST);
        assert_eq!(read, Err(CredentialError::Algorithm), "{alg}");
    }
    assert!(Claim::read("NH1-HMAC-sha512-10000-64", "k", "1", FIRST).is_ok());
}

#[test]
fn odd_headers_are_refused() {
    let long = "x".repeat(CREDENTIAL_HEADER_MAX + 1);
    for (alg, key, time, signature) in [
        ("", "k", "1", FIRST),
        (ALG, "", "1", FIRST),
        (ALG, "k", "", FIRST),
        (ALG, "k", "1", ""),
        (ALG, "k", "-1", FIRST),
        (ALG, "k", "1.5", FIRST),
        (ALG, &long, "1", FIRST),
        (ALG, "k", "1", &long),
    ] {
        assert_eq!(Claim::read(alg, key, time, signature), Err(CredentialError::Headers));
    }
    let payload = FIRST.split('.').nth(1).unwrap();
    for signature in [
        "SFMyNTY",
        "SFMyNTY.abc",
        &format!("SFMzODQ.{payload}.AA"),
        &format!("SFMyNTY.{payload}.A*"),
        "SFMyNTY.g2QAAWE.AA",
    ] {
        assert_eq!(claim(signature), Err(CredentialError::Token), "{signature}");
    }
}

#[test]
fn changed_signature_is_wrong() {
    let changed = FIRST.replace(".fxKy", ".fxKz");
    assert_eq!(
        claim(&changed).unwrap().verify(&first_secret(), AT * 1000),
        Err(CredentialError::Signature)
    );
    let short = claim(FIRST.get(..FIRST.len() - 8).unwrap()).unwrap();
    assert_eq!(
        short.verify(&first_secret(), AT * 1000),
        Err(CredentialError::Signature)
    );
}
