use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::ca::authority::pem;

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_pinned_certificate_is_its_device_whatever_its_dates(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.register("kiosk-1").await;
    let certificate = hall.certificate(&key(), "kiosk-1");
    let peer = hall.who(&certificate).await.unwrap();
    assert_eq!((peer.identifier(), peer.product()), ("kiosk-1", hall.product.id()));
    hall.stage.platform().clock.advance(Duration::days(365 * 30));
    assert_eq!(hall.who(&certificate).await.unwrap(), peer);
    let (sha256, sha1): (Vec<u8>, Vec<u8>) =
        sqlx::query_as("SELECT fingerprint, fingerprint_sha1 FROM device_certificates")
            .fetch_one(&hall.stage.platform().db)
            .await
            .unwrap();
    assert_eq!(
        (sha256.as_slice(), sha1.as_slice()),
        (&certificate.fingerprint[..], &certificate.fingerprint_sha1[..])
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn many_are_looked_up_at_once_and_strangers_are_left_open(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.register("kiosk-1").await;
    let pinned = hall.certificate(&key(), "kiosk-1");
    hall.who(&pinned).await.unwrap();
    let stranger = hall.certificate(&key(), "kiosk-2");
    let all = [stranger.clone(), pinned.clone(), pinned, stranger];
    let answers = known(hall.stage.platform(), proof(), &all).await.unwrap();
    let found: Vec<bool> = answers.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, true, true, false]);
    assert_eq!(known(hall.stage.platform(), proof(), &[]).await.unwrap(), []);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_deleted_device_is_refused_until_it_is_restored(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.register("kiosk-1").await;
    let key = key();
    let certificate = hall.certificate(&key, "kiosk-1");
    hall.who(&certificate).await.unwrap();
    let path = format!("{DEVICES}/kiosk-1");
    assert_eq!(hall.stage.delete(&hall.token, &path).await.status, 204);
    for shown in [
        &certificate,
        &hall.certificate(&key, "kiosk-1"),
        &hall.certificate(&super::key(), "kiosk-1"),
    ] {
        assert_eq!(hall.who(shown).await, Err(Refusal::Deleted));
    }
    assert_eq!(hall.refusals().await, [("kiosk-1".to_owned(), "deleted".to_owned())]);
    hall.stage
        .post(&hall.token, &format!("{path}/restore"), json!({}))
        .await;
    assert!(hall.who(&certificate).await.is_ok());
    let product = "/api/orgs/acme/products/kiosk";
    assert_eq!(hall.stage.delete(&hall.token, product).await.status, 204);
    assert_eq!(hall.who(&certificate).await, Err(Refusal::Deleted));
    assert_eq!(
        hall.who(&hall.certificate(&key, "kiosk-1")).await,
        Err(Refusal::Deleted)
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_revoked_certificate_does_not_come_back_by_its_ca(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.register("kiosk-1").await;
    let old = key();
    let certificate = hall.certificate(&old, "kiosk-1");
    hall.who(&certificate).await.unwrap();
    hall.revoke("kiosk-1").await;
    let path = format!("{DEVICES}/kiosk-1/certificates");
    assert_eq!(hall.stage.get(&hall.token, &path).await.data(), json!([]));
    assert_eq!(hall.who(&certificate).await, Err(Refusal::Revoked));
    assert_eq!(
        hall.who(&hall.certificate(&old, "kiosk-1")).await,
        Err(Refusal::Revoked)
    );
    // A new key is taken, as after the device was provisioned again.
    assert!(hall.who(&hall.certificate(&key(), "kiosk-1")).await.is_ok());
    hall.revoke("kiosk-1").await;
    let again = json!({ "cert": STANDARD.encode(pem(&certificate.der)) });
    let added = hall.stage.post(&hall.token, &path, again).await;
    assert_eq!(added.status, 201, "{}", added.json());
    assert_eq!(added.data()["serial"], certificate.serial);
    assert!(hall.who(&certificate).await.is_ok());
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_known_key_gets_a_new_certificate_under_its_own_name_and_org_only(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.register("kiosk-1").await;
    hall.register("kiosk-2").await;
    let key = key();
    let first = hall.who(&hall.certificate(&key, "kiosk-1")).await.unwrap();
    hall.stage.platform().clock.advance(Duration::days(60));
    let rotated = hall.who(&hall.certificate(&key, "kiosk-1")).await.unwrap();
    assert_eq!(rotated.device(), first.device());
    assert_ne!(pinned(&rotated).id, pinned(&first).id);
    assert!(!pinned(&rotated).is_unproven);
    assert_eq!(
        hall.who(&hall.certificate(&key, "kiosk-2")).await,
        Err(Refusal::ForeignKey)
    );
    let (_, lamp) = other_org(&hall.stage).await;
    let foreign = own_ca(&hall.stage, lamp.org().id()).await;
    let theirs = certificate(&hall.stage, &foreign, &key, "kiosk-1");
    assert_eq!(hall.who(&theirs).await, Err(Refusal::ForeignKey));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn an_unknown_key_needs_a_registered_ca_and_a_device_without_one(db: PgPool) {
    let hall = Hall::new(db).await;
    let first = hall.certificate(&key(), "kiosk-1");
    assert_eq!(hall.who(&first).await, Err(Refusal::NotRegistered));
    hall.register("kiosk-1").await;
    assert!(hall.who(&first).await.is_ok());
    assert_eq!(
        hall.who(&hall.certificate(&key(), "kiosk-1")).await,
        Err(Refusal::OtherKey)
    );
    let (stranger, _) = Authority::create("stranger", [1; 16], hall.stage.platform().clock.now()).unwrap();
    let unknown = certificate(&hall.stage, &stranger, &key(), "kiosk-2");
    assert_eq!(hall.who(&unknown).await, Err(Refusal::UnknownCa));
    // Whoever has no issuer's key identifier names no CA.
    let mut nameless = CertificateParams::default();
    nameless.distinguished_name.push(DnType::CommonName, "kiosk-2");
    let nameless = Certificate::from_der(nameless.self_signed(&key()).unwrap().der()).unwrap();
    assert_eq!(
        (nameless.aki.clone(), hall.who(&nameless).await),
        (None, Err(Refusal::UnknownCa))
    );
    hall.register("kiosk-3").await;
    hall.stage.platform().clock.advance(Duration::days(91));
    let mut late = hall.certificate(&key(), "kiosk-3");
    assert!(hall.who(&late).await.is_ok());
    late = first;
    assert!(hall.who(&late).await.is_ok(), "a pinned one has no end");
    let used: bool = sqlx::query_scalar("SELECT last_used_at IS NOT NULL FROM ca_certificates")
        .fetch_one(&hall.stage.platform().db)
        .await
        .unwrap();
    assert!(used);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn an_expired_leaf_is_not_introduced(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.register("kiosk-1").await;
    let certificate = hall.certificate(&key(), "kiosk-1");
    hall.stage.platform().clock.advance(Duration::days(91));
    assert_eq!(hall.who(&certificate).await, Err(Refusal::NotInDate));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_profile_makes_devices_and_takes_back_none_that_was_deleted(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.provision().await;
    let certificate = hall.certificate(&key(), "new-1");
    let peer = hall.who(&certificate).await.unwrap();
    assert_eq!(peer.product(), hall.product.id());
    let shown = hall.device("new-1").await;
    assert_eq!(
        (&shown["tags"], &shown["description"]),
        (&json!(["beta"]), &json!("new"))
    );
    hall.stage.delete(&hall.token, &format!("{DEVICES}/new-1")).await;
    assert_eq!(
        hall.who(&hall.certificate(&key(), "new-1")).await,
        Err(Refusal::Deleted)
    );
    let bad = hall.certificate(&key(), "new 2");
    assert_eq!(hall.who(&bad).await, Err(Refusal::NoIdentifier));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn devices_that_come_at_the_same_moment_are_one_device_with_one_key(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.provision().await;
    let same = hall.certificate(&key(), "new-1");
    let answers = futures_util::future::join_all((0..8).map(|_| hall.who(&same))).await;
    let first = answers[0].clone().unwrap();
    assert!(
        answers.iter().all(|answer| answer.as_ref() == Ok(&first)),
        "{answers:?}"
    );
    hall.register("old-1").await;
    for name in ["new-2", "old-1"] {
        one_of_many_keys_is_taken(&hall, name).await;
    }
}

async fn one_of_many_keys_is_taken(hall: &Hall, name: &str) {
    let others: Vec<Certificate> = (0..8).map(|_| hall.certificate(&key(), name)).collect();
    let answers = futures_util::future::join_all(others.iter().map(|other| hall.who(other))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(
        refused.into_iter().all(|refusal| *refusal == Refusal::OtherKey),
        "{answers:?}"
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_key_never_belongs_to_two_devices_even_at_the_same_moment(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.provision().await;
    let key = key();
    let both: Vec<Certificate> = (0..6)
        .map(|number| hall.certificate(&key, &format!("new-{number}")))
        .collect();
    let answers = futures_util::future::join_all(both.iter().map(|one| hall.who(one))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn two_certificates_of_one_serial_number_are_refused(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.register("kiosk-1").await;
    let key = key();
    let request = Request::from_pem(&request(&key, "kiosk-1")).unwrap();
    let issue = |days| {
        let now = hall.stage.platform().clock.now();
        let pem = hall
            .authority
            .issue_for(&request, [5; 16], now, now + Duration::days(days))
            .unwrap();
        Certificate::from_pem(&pem).unwrap()
    };
    assert!(hall.who(&issue(1)).await.is_ok());
    assert_eq!(hall.who(&issue(2)).await, Err(Refusal::SerialTaken));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn who_is_revoked_or_deleted_while_it_comes_in_is_not_joined_but_cut(db: PgPool) {
    let hall = Hall::new(db).await;
    let cuts = async || {
        let cuts: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE kind = 'device.cut'")
            .fetch_one(&hall.stage.platform().db)
            .await
            .unwrap();
        cuts
    };
    hall.register("kiosk-1").await;
    hall.register("kiosk-2").await;
    let first = hall.who(&hall.certificate(&key(), "kiosk-1")).await.unwrap();
    let second = hall.who(&hall.certificate(&key(), "kiosk-2")).await.unwrap();
    assert_eq!((hall.joins(&first).await, cuts().await), (1, 0));
    hall.revoke("kiosk-1").await;
    assert_eq!(cuts().await, 1, "what was there is cut");
    assert_eq!((hall.joins(&first).await, cuts().await), (0, 2));
    hall.stage.delete(&hall.token, &format!("{DEVICES}/kiosk-2")).await;
    assert_eq!((hall.joins(&second).await, cuts().await), (0, 4));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn use_is_noted_once_an_hour(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.register("kiosk-1").await;
    let certificate = hall.certificate(&key(), "kiosk-1");
    let path = format!("{DEVICES}/kiosk-1/certificates");
    let used = async || hall.stage.get(&hall.token, &path).await.data()[0]["last_used"].clone();
    hall.who(&certificate).await.unwrap();
    assert_eq!(used().await, Value::Null);
    let mut seen = Vec::new();
    for minutes in [0, 59, 1] {
        hall.stage.platform().clock.advance(Duration::minutes(minutes));
        let peer = hall.who(&certificate).await.unwrap();
        assert_eq!(peer.is_noted(), minutes == 59);
        hall.joins(&peer).await;
        seen.push(used().await);
    }
    assert!(seen[0] == seen[1] && seen[1] != seen[2], "{seen:?}");
}
