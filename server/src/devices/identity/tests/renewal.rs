use super::*;
use crate::devices::service::credentials::{RenewalError, prune, renew};

async fn renewing(db: PgPool) -> (Hall, Peer, KeyPair) {
    let hall = Hall::new(db).await;
    hall.register("kiosk-1").await;
    let key = key();
    hall.who(&hall.certificate(&key, "kiosk-1")).await.unwrap();
    let cas = "/api/orgs/acme/ca_certificates";
    let shown = hall.stage.get(&hall.token, cas).await.data();
    assert_eq!(shown[0]["renews"], false);
    let path = format!("{cas}/{}", shown[0]["serial"].as_str().unwrap());
    let changed = hall.stage.put(&hall.token, &path, json!({ "renews": true })).await;
    assert_eq!(
        (changed.status.as_u16(), &changed.data()["renews"]),
        (200, &json!(true))
    );
    let peer = hall.who(&hall.certificate(&key, "kiosk-1")).await.unwrap();
    assert!(pinned(&peer).may_renew);
    (hall, peer, key)
}

async fn ask(hall: &Hall, peer: &Peer, key: &KeyPair, name: &str) -> Result<Certificate, RenewalError> {
    let pem = renew(hall.stage.platform(), proof(), peer, &request(key, name)).await?;
    Ok(Certificate::from_pem(&pem).unwrap())
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn the_old_certificate_is_good_until_the_device_joins_by_the_new_one(db: PgPool) {
    let (hall, peer, old) = renewing(db).await;
    hall.stage.platform().clock.advance(Duration::days(60));
    let new = key();
    let issued = ask(&hall, &peer, &new, "kiosk-1").await.unwrap();
    assert_eq!(issued.common_name.as_deref(), Some("kiosk-1"));
    let lifetime = issued.not_after - issued.not_before;
    assert_eq!(lifetime, Duration::days(90));
    let still = hall.who(&hall.certificate(&old, "kiosk-1")).await.unwrap();
    assert_eq!(still.device(), peer.device());
    // Looking it up retires nothing; the join does.
    let by_new = hall.who(&issued).await.unwrap();
    assert!(pinned(&by_new).is_unproven && pinned(&by_new).may_renew);
    assert_eq!(by_new.device(), peer.device());
    let shown = hall
        .stage
        .get(&hall.token, &format!("{DEVICES}/kiosk-1/certificates"))
        .await
        .data();
    assert!(
        shown
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["serial"] == issued.serial.as_str())
    );
    hall.joins(&by_new).await;
    assert!(!pinned(&hall.who(&issued).await.unwrap()).is_unproven);
    let replaced: i64 = sqlx::query_scalar("SELECT count(*) FROM device_certificates WHERE revoked_at IS NOT NULL")
        .fetch_one(&hall.stage.platform().db)
        .await
        .unwrap();
    assert_eq!(replaced, 1);
    let audited = hall.stage.audited().await;
    assert!(audited.contains(&"device.certificate_issued".to_owned()));
    assert!(audited.contains(&"device.certificate_renewed".to_owned()));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn what_was_retired_is_refused_and_forgotten_once_it_has_expired(db: PgPool) {
    let (hall, peer, _) = renewing(db).await;
    let platform = hall.stage.platform();
    platform.clock.advance(Duration::SECOND);
    let issued = ask(&hall, &peer, &key(), "kiosk-1").await.unwrap();
    let old: Vec<u8> = sqlx::query_scalar("SELECT der FROM device_certificates WHERE id = $1")
        .bind(pinned(&peer).id.0)
        .fetch_one(&platform.db)
        .await
        .unwrap();
    let old = Certificate::from_der(&old).unwrap();
    assert_eq!(hall.who(&old).await.unwrap(), peer);
    hall.joins(&hall.who(&issued).await.unwrap()).await;
    assert_eq!(hall.who(&old).await, Err(Refusal::Revoked));
    platform.clock.advance(Duration::days(91));
    prune(&mut platform.db.acquire().await.unwrap(), platform, proof())
        .await
        .unwrap();
    assert_eq!(hall.who(&old).await, Err(Refusal::NotInDate));
    assert!(hall.who(&issued).await.is_ok());
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_repeated_request_gets_the_same_certificate_and_another_key_waits(db: PgPool) {
    let (hall, peer, _) = renewing(db).await;
    let clock = &hall.stage.platform().clock;
    clock.advance(Duration::SECOND);
    let (first, second) = (key(), key());
    let issued = ask(&hall, &peer, &first, "kiosk-1").await.unwrap();
    assert_eq!(ask(&hall, &peer, &first, "kiosk-1").await.unwrap(), issued);
    assert!(matches!(
        ask(&hall, &peer, &second, "kiosk-1").await,
        Err(RenewalError::TooSoon)
    ));
    clock.advance(Duration::minutes(1));
    let other = ask(&hall, &peer, &second, "kiosk-1").await.unwrap();
    assert_ne!(other, issued);
    assert_eq!(
        hall.who(&issued).await,
        Err(Refusal::OtherKey),
        "nobody came by it, so it is forgotten"
    );
    let by_other = hall.who(&other).await.unwrap();
    hall.joins(&by_other).await;
    let by_other = hall.who(&other).await.unwrap();
    assert!(matches!(
        ask(&hall, &by_other, &key(), "kiosk-1").await,
        Err(RenewalError::TooSoon)
    ));
    assert!(matches!(
        ask(&hall, &peer, &key(), "kiosk-1").await,
        Err(RenewalError::NoCertificate)
    ));
    clock.advance(Duration::hours(1));
    assert!(ask(&hall, &by_other, &key(), "kiosk-1").await.is_ok());
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn other_names_used_keys_and_other_cas_are_refused(db: PgPool) {
    let (hall, peer, old) = renewing(db).await;
    hall.stage.platform().clock.advance(Duration::SECOND);
    assert!(matches!(
        ask(&hall, &peer, &key(), "kiosk-2").await,
        Err(RenewalError::OtherName)
    ));
    assert!(matches!(
        ask(&hall, &peer, &old, "kiosk-1").await,
        Err(RenewalError::UsedKey)
    ));
    let garbage = renew(hall.stage.platform(), proof(), &peer, "garbage").await;
    assert!(matches!(garbage, Err(RenewalError::Request(_))));
    let stranger = Peer::of_test(peer.device(), peer.org(), peer.product());
    assert!(matches!(
        ask(&hall, &stranger, &key(), "test").await,
        Err(RenewalError::NoCertificate)
    ));
    sqlx::query("UPDATE ca_certificates SET renews = false")
        .execute(&hall.stage.platform().db)
        .await
        .unwrap();
    assert!(matches!(
        ask(&hall, &peer, &key(), "kiosk-1").await,
        Err(RenewalError::NotOffered)
    ));
    hall.revoke("kiosk-1").await;
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn revoking_a_certificate_revokes_the_one_that_waits_to_replace_it(db: PgPool) {
    let (hall, peer, _) = renewing(db).await;
    hall.stage.platform().clock.advance(Duration::SECOND);
    let issued = ask(&hall, &peer, &key(), "kiosk-1").await.unwrap();
    let path = format!("{DEVICES}/kiosk-1/certificates");
    let shown = hall.stage.get(&hall.token, &path).await.data();
    for one in shown.as_array().unwrap() {
        let serial = one["serial"].as_str().unwrap();
        if serial != issued.serial {
            hall.stage.delete(&hall.token, &format!("{path}/{serial}")).await;
        }
    }
    assert_eq!(hall.who(&issued).await, Err(Refusal::Revoked));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_ca_whose_key_is_elsewhere_cannot_renew(db: PgPool) {
    let hall = Hall::new(db).await;
    sqlx::query("UPDATE ca_certificates SET sealed_key = NULL, vault_key_id = NULL")
        .execute(&hall.stage.platform().db)
        .await
        .unwrap();
    let cas = "/api/orgs/acme/ca_certificates";
    let shown = hall.stage.get(&hall.token, cas).await.data();
    assert_eq!(shown[0]["renews"], Value::Null);
    let path = format!("{cas}/{}", shown[0]["serial"].as_str().unwrap());
    let refused = hall.stage.put(&hall.token, &path, json!({ "renews": true })).await;
    assert_eq!(refused.status, 422);
    assert!(refused.json()["errors"]["renews"].is_array(), "{}", refused.json());
    let checked = hall
        .stage
        .put(&hall.token, &path, json!({ "check_expiration": "true" }))
        .await;
    assert_eq!(checked.data()["check_expiration"], true);
}
