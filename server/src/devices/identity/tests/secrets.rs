use actix_web::test::TestRequest;
use muster_link::credential::{ALG, Claim, Signed};

use super::*;
use crate::devices::identity::{by_secrets, now_ms};

const SECRETS: &str = "/api/orgs/acme/products/kiosk/shared_secrets";

/// A key and its secret, as the API shows them once.
struct Pair {
    id: String,
    key: String,
    secret: String,
}

impl Hall {
    async fn secret(&self, path: &str) -> Pair {
        let made = self.stage.post(&self.token, path, json!({})).await;
        assert_eq!(made.status, 201, "{}", made.json());
        let text = |field: &str| made.data()[field].as_str().unwrap().to_owned();
        Pair {
            id: text("id"),
            key: text("key"),
            secret: text("secret"),
        }
    }

    fn signed(&self, pair: &Pair, identifier: &str) -> Signed {
        let now = now_ms(self.stage.platform()) / 1000;
        Signed::new(ALG, &pair.key, &pair.secret, identifier, now).unwrap()
    }

    fn claim(&self, pair: &Pair, identifier: &str) -> Claim {
        let signed = self.signed(pair, identifier);
        Claim::read(&signed.alg, &signed.key, &signed.time, &signed.signature).unwrap()
    }

    async fn by(&self, claims: Vec<Claim>) -> Vec<Result<Peer, Refusal>> {
        by_secrets(self.stage.platform(), proof(), claims).await.unwrap()
    }

    async fn signs(&self, pair: &Pair, identifier: &str) -> Result<Peer, Refusal> {
        self.by(vec![self.claim(pair, identifier)]).await.remove(0)
    }
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_secret_is_shown_once_and_lies_sealed(db: PgPool) {
    let hall = Hall::new(db).await;
    let pair = hall.secret(SECRETS).await;
    assert_eq!((pair.key.len(), pair.secret.len()), (47, 43));
    assert!(pair.key.starts_with("nhp_"));
    let listed = hall.stage.get(&hall.token, SECRETS).await.data();
    assert_eq!(listed[0]["key"], pair.key.as_str());
    assert!(listed[0].get("secret").is_none() && listed[0]["deactivated_at"].is_null());
    let row: String = sqlx::query_scalar("SELECT encode(sealed, 'escape') || key FROM shared_secrets")
        .fetch_one(&hall.stage.platform().db)
        .await
        .unwrap();
    assert!(!row.contains(&pair.secret));
    hall.register("kiosk-1").await;
    let of_device = format!("{DEVICES}/kiosk-1/shared_secrets");
    assert!(hall.secret(&of_device).await.key.starts_with("nhd_"));
    assert_eq!(
        hall.stage
            .get(&hall.token, SECRETS)
            .await
            .data()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        hall.stage
            .delete(&hall.token, &format!("{of_device}/{}", pair.id))
            .await
            .status,
        404
    );
    assert_eq!(
        hall.stage.delete(&hall.token, &format!("{SECRETS}/x")).await.status,
        404
    );
    let (guest, _) = hall.stage.member("acme", "bob@x.io", crate::accounts::Role::View).await;
    let guest = hall.stage.token(&guest).await;
    assert_eq!(hall.stage.post(&guest, SECRETS, json!({})).await.status, 403);
    assert_eq!(
        hall.stage
            .delete(&guest, &format!("{SECRETS}/{}", pair.id))
            .await
            .status,
        403
    );
    let (eve, _) = other_org(&hall.stage).await;
    let eve = hall.stage.token(&eve).await;
    assert_eq!(hall.stage.get(&eve, SECRETS).await.status, 404);
    assert!(hall.stage.audited().await.contains(&"shared_secret.created".to_owned()));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn so_many_secrets_and_no_more_are_active(db: PgPool) {
    use crate::devices::service::secrets::SECRETS_MAX;
    let hall = Hall::new(db).await;
    let first = hall.secret(SECRETS).await;
    for _ in 1..SECRETS_MAX {
        hall.secret(SECRETS).await;
    }
    assert_eq!(hall.stage.post(&hall.token, SECRETS, json!({})).await.status, 409);
    hall.stage.delete(&hall.token, &format!("{SECRETS}/{}", first.id)).await;
    hall.secret(SECRETS).await;
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_products_secret_makes_its_devices_and_finds_them_again(db: PgPool) {
    let hall = Hall::new(db).await;
    let pair = hall.secret(SECRETS).await;
    let peer = hall.signs(&pair, "kiosk-9").await.unwrap();
    assert_eq!((peer.identifier(), peer.product()), ("kiosk-9", hall.product.id()));
    assert_eq!(hall.signs(&pair, "kiosk-9").await.unwrap(), peer);
    assert_eq!(hall.device("kiosk-9").await["product_name"], "kiosk");
    hall.register("kiosk-1").await;
    assert!(hall.signs(&pair, "kiosk-1").await.is_ok());
    for bad in ["", "a b", "a/b", "a\0b"] {
        assert_eq!(hall.signs(&pair, bad).await, Err(Refusal::NoIdentifier), "{bad:?}");
    }
    hall.stage.delete(&hall.token, &format!("{DEVICES}/kiosk-9")).await;
    assert_eq!(hall.signs(&pair, "kiosk-9").await, Err(Refusal::Deleted));
    hall.stage
        .post(&hall.token, "/api/orgs/acme/products", json!({"name": "lamp"}))
        .await;
    let lamps = "/api/orgs/acme/products/lamp/devices";
    hall.stage
        .post(&hall.token, lamps, json!({"identifier": "lamp-1"}))
        .await;
    assert_eq!(hall.signs(&pair, "lamp-1").await, Err(Refusal::ForeignSecret));
    let refused: Vec<String> = hall.refusals().await.into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(refused, ["deleted", "foreign_secret"]);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_devices_secret_is_that_devices_only(db: PgPool) {
    let hall = Hall::new(db).await;
    hall.register("kiosk-1").await;
    hall.register("kiosk-2").await;
    let pair = hall.secret(&format!("{DEVICES}/kiosk-1/shared_secrets")).await;
    assert_eq!(hall.signs(&pair, "kiosk-1").await.unwrap().identifier(), "kiosk-1");
    for other in ["kiosk-2", "kiosk-3"] {
        assert_eq!(hall.signs(&pair, other).await, Err(Refusal::ForeignSecret));
    }
    hall.stage.delete(&hall.token, &format!("{DEVICES}/kiosk-1")).await;
    assert_eq!(hall.signs(&pair, "kiosk-1").await, Err(Refusal::Deleted));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_wrong_unknown_or_deactivated_secret_proves_nothing(db: PgPool) {
    let hall = Hall::new(db).await;
    let pair = hall.secret(SECRETS).await;
    let wrong = Pair {
        secret: "b".repeat(43),
        key: pair.key.clone(),
        id: String::new(),
    };
    let unknown = Pair {
        key: format!("nhp_{}", "A".repeat(43)),
        secret: pair.secret.clone(),
        id: String::new(),
    };
    let claims = vec![
        hall.claim(&wrong, "kiosk-1"),
        hall.claim(&pair, "kiosk-1"),
        hall.claim(&unknown, "kiosk-1"),
    ];
    let answers = hall.by(claims).await;
    assert_eq!(answers[0], Err(Refusal::WrongSignature));
    assert!(answers[1].is_ok());
    assert_eq!(answers[2], Err(Refusal::UnknownSecret));
    let old = hall.claim(&pair, "kiosk-1");
    let let_in = answers[1].clone().unwrap();
    assert_eq!(hall.joins(&let_in).await, 1);
    let path = format!("{SECRETS}/{}", pair.id);
    assert_eq!(hall.stage.delete(&hall.token, &path).await.status, 204);
    assert_eq!(hall.stage.delete(&hall.token, &path).await.status, 404);
    assert_eq!(hall.joins(&let_in).await, 0);
    assert_eq!(hall.signs(&pair, "kiosk-1").await, Err(Refusal::SecretOff));
    hall.stage.platform().clock.advance(Duration::seconds(91));
    let other = hall.secret(SECRETS).await;
    let late = hall.claim(&other, "kiosk-1");
    hall.stage.platform().clock.advance(Duration::seconds(91));
    assert_eq!(
        hall.by(vec![late, old]).await,
        [Err(Refusal::NotOfNow), Err(Refusal::SecretOff)]
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn secrets_are_sealed_anew_when_keys_are_rotated(db: PgPool) {
    let hall = Hall::new(db).await;
    let pair = hall.secret(SECRETS).await;
    let platform = hall.stage.platform();
    let mut tx = platform.db.begin().await.unwrap();
    let kept = platform.vault.rotate(&mut tx).await.unwrap();
    platform.vault.reseal_secrets(&mut tx).await.unwrap();
    ca::reseal(&mut tx, platform, proof()).await.unwrap();
    let resealed = crate::devices::service::secrets::reseal(&mut tx, platform, proof())
        .await
        .unwrap();
    assert_eq!(resealed, 1);
    platform.vault.retire(&mut tx, kept).await.unwrap();
    tx.commit().await.unwrap();
    assert!(hall.signs(&pair, "kiosk-1").await.is_ok());
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn what_is_refused_on_the_web_listener_says_so_by_the_book(db: PgPool) {
    let hall = Hall::new(db).await;
    let pair = hall.secret(SECRETS).await;
    let reason = "nh-connection-error-reason";
    let upgrade = |query: &str| {
        TestRequest::get()
            .uri(&format!("/device-socket/websocket{query}"))
            .insert_header(("host", "hub.example.com"))
            .insert_header(("upgrade", "websocket"))
            .insert_header(("connection", "upgrade"))
            .insert_header(("sec-websocket-version", "13"))
            .insert_header(("sec-websocket-key", "7uul3C8MqLJlXEoic0RM0w=="))
    };
    let nobody = hall
        .stage
        .call(
            None,
            upgrade("?vsn=2.0.0").insert_header(("x-forwarded-for", "1.2.3.4")),
        )
        .await;
    assert_eq!(nobody.status, 401);
    assert!(nobody.headers.get(reason).is_some() && nobody.bytes.starts_with(b"no certificate pair"));
    for query in ["", "?vsn=1.0.0", "?vsn=4.0.0"] {
        assert_eq!(hall.stage.call(None, upgrade(query)).await.status, 403, "{query}");
    }
    let foreign = upgrade("?vsn=2.0.0").insert_header(("origin", "https://evil.example.com"));
    assert_eq!(hall.stage.call(None, foreign).await.status, 403);
    let own = upgrade("?vsn=2.0.0").insert_header(("origin", "https://hub.example.com"));
    assert_eq!(hall.stage.call(None, own).await.status, 401);
    for plain in [
        TestRequest::get().uri("/device-socket/websocket?vsn=2.0.0"),
        TestRequest::post().uri("/device-socket/websocket?vsn=2.0.0"),
    ] {
        let answer = hall.stage.call(None, plain).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.is_empty()), (400, false));
    }
    let signed = hall.signed(&pair, "kiosk-1");
    for (missing, _) in signed.headers() {
        let mut request = upgrade("?vsn=2.0.0");
        for (name, value) in signed.headers().into_iter().filter(|(name, _)| *name != missing) {
            request = request.insert_header((name, value));
        }
        let answer = hall.stage.call(None, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.bytes.is_empty()),
            (401, true),
            "{missing}"
        );
        assert!(answer.headers.get(reason).is_none());
    }
    // Nobody answers look-ups on this stage: the device is told to try again.
    assert_eq!(
        hall.stage
            .call(None, TestRequest::get().uri("/socket/websocket?vsn=2.0.0"))
            .await
            .status,
        404
    );
}
