use rcgen::{BasicConstraints, CertificateSigningRequestParams, CertifiedIssuer, IsCa, PublicKeyData, date_time_ymd};

use super::*;

const DAY: u64 = 86_400;

struct Bench {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Bench {
    /// A device whose certificate is valid from 2026 to the beginning of 2027.
    fn new() -> Self {
        crate::identity::install_provider();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let bench = Self {
            directory: tempfile::tempdir().unwrap(),
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        };
        let key = KeyPair::generate().unwrap();
        let mut params = named("kiosk-0001");
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let cert = params.signed_by(&key, &bench.issuer).unwrap();
        fs::write(bench.path("device.pem"), cert.pem()).unwrap();
        fs::write(bench.path("device.key"), key.serialize_pem()).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self) -> Renewal {
        self.open_with(false)
    }

    fn open_with(&self, has_signer: bool) -> Renewal {
        let text = r#"
            [server]
            url = "wss://host"
            ca = "ca.pem"
            [identity]
            identifier = "kiosk-0001"
            cert = "device.pem"
            key = "device.key"
            [firmware]
            disk = "disk.img"
            [agent]
            state_dir = "state"
            platform = "linux"
        "#;
        let settings = Settings::parse(text, &self.path("agent.toml")).unwrap();
        Renewal::open(&settings, has_signer).unwrap().unwrap()
    }

    /// What the server makes of a request.
    fn issue(&self, request: &str, name: &str, year: i32) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.params.not_before = date_time_ymd(2026, 12, 1);
        request.params.not_after = date_time_ymd(year, 1, 1);
        request.params.distinguished_name.push(DnType::CommonName, name);
        request.signed_by(&self.issuer).unwrap().pem()
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// 2026-12-10: within the last 30 days.
fn late(renewal: &Renewal) -> u64 {
    renewal.expires() - 20 * DAY
}

#[test]
fn renewal_is_asked_for_in_time_and_the_warning_is_for_those_whom_nobody_renews() {
    let bench = Bench::new();
    let renewal = bench.open();
    let early = renewal.expires() - 31 * DAY;
    assert!(!renewal.warns(early, false) && renewal.warns(late(&renewal), false));
    assert!(!renewal.warns(late(&renewal), true) && renewal.warns(late(&renewal) + 6 * DAY, true));
    assert_eq!(renewal.request(early).unwrap(), None);
    assert!(!bench.path("state/identity/next.key").exists());
    let request = renewal.request(late(&renewal)).unwrap().unwrap();
    assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    assert!(bench.path("state/identity/next.key").exists());
    let again = bench.open().request(late(&renewal)).unwrap().unwrap();
    let key = |pem: &str| {
        CertificateSigningRequestParams::from_pem(pem)
            .unwrap()
            .public_key
            .der_bytes()
            .to_vec()
    };
    assert_eq!(key(&again), key(&request), "a restart makes no other key");
}

#[test]
fn new_certificate_takes_the_old_ones_place_when_it_has_proved_itself() {
    let bench = Bench::new();
    let mut renewal = bench.open();
    let old = renewal.shown();
    assert_eq!(old.unwrap().cert, bench.path("device.pem"));
    let request = renewal.request(late(&renewal)).unwrap().unwrap();
    renewal.issued(&bench.issue(&request, "kiosk-0001", 2028)).unwrap();
    assert_eq!(renewal.shown().unwrap().cert, bench.path("state/identity/next.pem"));
    let mut renewal = bench.open();
    assert_eq!(
        renewal.shown().unwrap().cert,
        bench.path("state/identity/next.pem"),
        "a restart goes on"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(renewal.next()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    renewal.joined(&bench.path("device.pem")).unwrap();
    assert_eq!(
        renewal.shown().unwrap().cert,
        bench.path("state/identity/next.pem"),
        "the old connection says nothing"
    );
    renewal.joined(&bench.path("state/identity/next.pem")).unwrap();
    assert_eq!(renewal.shown().unwrap().cert, bench.path("state/identity/current.pem"));
    assert_eq!(
        bench.open().shown().unwrap().cert,
        bench.path("state/identity/current.pem")
    );
    assert_eq!(renewal.request(late(&renewal) - 400 * DAY).unwrap(), None);
}

#[test]
fn certificate_that_was_not_asked_for_is_refused_and_the_old_one_stays() {
    let bench = Bench::new();
    let mut renewal = bench.open();
    let (old, now) = (renewal.shown(), late(&renewal));
    let request = || {
        named("kiosk-0001")
            .serialize_request(&KeyPair::generate().unwrap())
            .unwrap()
            .pem()
            .unwrap()
    };
    let strange = bench.issue(&request(), "kiosk-0001", 2028);
    assert!(matches!(renewal.issued(&strange), Err(RenewalError::NotAsked)));
    let own = renewal.request(now).unwrap().unwrap();
    assert!(matches!(renewal.issued(&strange), Err(RenewalError::OtherKey)));
    let other = renewal.issued(&bench.issue(&own, "kiosk-0002", 2028));
    assert!(matches!(other, Err(RenewalError::OtherDevice { .. })));
    let short = renewal.issued(&bench.issue(&own, "kiosk-0001", 2027));
    assert!(matches!(short, Err(RenewalError::NotNewer)));
    assert!(matches!(renewal.issued("nothing"), Err(RenewalError::Certificate(_))));
    assert_eq!(renewal.shown(), old);
}

#[test]
fn refused_certificate_gives_way_to_the_old_one() {
    let bench = Bench::new();
    let mut renewal = bench.open();
    let (old, now) = (renewal.shown(), late(&renewal));
    assert!(!renewal.failed());
    let request = renewal.request(now).unwrap().unwrap();
    renewal.issued(&bench.issue(&request, "kiosk-0001", 2028)).unwrap();
    let turns: Vec<bool> = (0..6).map(|_| renewal.failed()).collect();
    assert_eq!(turns, [false, false, true, false, false, true]);
    assert_ne!(renewal.shown(), old, "both are tried in turn while neither connects");
    for _ in 0..3 {
        renewal.failed();
    }
    assert_eq!(renewal.shown(), old);
    renewal.joined(&bench.path("device.pem")).unwrap();
    assert_eq!(bench.open().shown(), old);
}

#[test]
fn certificate_that_was_put_there_by_hand_later_counts() {
    let bench = Bench::new();
    let mut renewal = bench.open();
    let request = renewal.request(late(&renewal)).unwrap().unwrap();
    renewal.issued(&bench.issue(&request, "kiosk-0001", 2028)).unwrap();
    renewal.joined(&bench.path("state/identity/next.pem")).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = named("kiosk-0001");
    params.not_before = date_time_ymd(2027, 6, 1);
    params.not_after = date_time_ymd(2027, 9, 1);
    fs::write(
        bench.path("device.pem"),
        params.signed_by(&key, &bench.issuer).unwrap().pem(),
    )
    .unwrap();
    assert_eq!(bench.open().shown().unwrap().cert, bench.path("device.pem"));
}

#[test]
fn key_that_is_in_no_file_is_not_renewed_but_its_end_is_told() {
    let bench = Bench::new();
    let renewal = bench.open_with(true);
    assert_eq!(renewal.shown(), None);
    assert_eq!(renewal.request(late(&renewal)).unwrap(), None);
    assert!(!renewal.is_possible() && renewal.warns(late(&renewal), false));
}
