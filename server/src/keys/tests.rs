use actix_web::http::header;
use actix_web::test::TestRequest;
use serde_json::json;
use sqlx::PgPool;

use crate::accounts::Role;
use crate::testing::Stage;

/// The public half of the test key pair alpha.
const ALPHA: &str = "NpjkAsCCtnGM7+CqyHNlpdMXpf/HF4bGxY6LSsgmHh0=";

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_key_is_added_shown_and_deleted(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.member("acme", "ada@x.io", Role::Manage).await;
    let token = stage.token(&viewer).await;
    let made = stage
        .post(&token, "/api/orgs/acme/keys", json!({"name": "prod 1", "key": ALPHA}))
        .await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header(header::LOCATION), "/api/orgs/acme/keys/prod%201");
    let shown = json!({"name": "prod 1", "key": ALPHA, "scheme": "ed25519"});
    assert_eq!(stage.get(&token, "/api/orgs/acme/keys").await.data(), json!([shown]));
    assert_eq!(stage.get(&token, "/api/orgs/acme/keys/prod%201").await.data(), shown);
    let old_client = TestRequest::delete()
        .uri("/api/orgs/acme/keys/prod%201")
        .insert_header((header::USER_AGENT, "mint/1.7.1"));
    let gone = stage.call(Some(&token), old_client).await;
    assert_eq!((gone.status.as_u16(), gone.bytes.as_ref()), (200, b"\"\"".as_slice()));
    assert_eq!(stage.delete(&token, "/api/orgs/acme/keys/prod%201").await.status, 404);
    let audited = stage.audited().await;
    assert_eq!(audited[2..], ["signing_key.created", "signing_key.deleted"]);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn keys_that_cannot_be_are_422(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.member("acme", "ada@x.io", Role::Manage).await;
    let token = stage.token(&viewer).await;
    stage
        .post(&token, "/api/orgs/acme/keys", json!({"name": "prod", "key": ALPHA}))
        .await;
    let other = muster_fwup::PrivateKey::generate().unwrap().public().to_string();
    for (body, field) in [
        (json!({"key": other}), "name"),
        (json!({"name": "x"}), "key"),
        (json!({"name": "x", "key": "c2hvcnQ="}), "key"),
        (json!({"name": "x", "key": ALPHA}), "key"),
        (json!({"name": "prod", "key": other}), "name"),
        (json!({"name": "a/b", "key": other}), "name"),
        (
            json!({"name": "x", "key": other, "scheme": "secure_boot_v2_rsa"}),
            "scheme",
        ),
    ] {
        let answer = stage.post(&token, "/api/orgs/acme/keys", body.clone()).await;
        assert_eq!(answer.status, 422, "{body}");
        assert!(answer.json()["errors"][field].is_array(), "{body}: {}", answer.json());
    }
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn another_orgs_key_is_404_and_a_guest_may_only_look(db: PgPool) {
    let stage = Stage::new(db).await;
    let (owner, _) = stage.member("acme", "ada@x.io", Role::Manage).await;
    let owner = stage.token(&owner).await;
    stage
        .post(&owner, "/api/orgs/acme/keys", json!({"name": "prod", "key": ALPHA}))
        .await;
    let (stranger, _) = stage.member("other", "eve@x.io", Role::Admin).await;
    let stranger = stage.token(&stranger).await;
    assert_eq!(stage.get(&stranger, "/api/orgs/acme/keys/prod").await.status, 404);
    assert_eq!(stage.delete(&stranger, "/api/orgs/other/keys/prod").await.status, 404);
    let same = stage
        .post(&stranger, "/api/orgs/other/keys", json!({"name": "prod", "key": ALPHA}))
        .await;
    assert_eq!(same.status, 201);
    let (guest, _) = stage.member("acme", "bob@x.io", Role::View).await;
    let guest = stage.token(&guest).await;
    assert_eq!(stage.get(&guest, "/api/orgs/acme/keys").await.status, 200);
    assert_eq!(stage.delete(&guest, "/api/orgs/acme/keys/prod").await.status, 403);
    assert_eq!(
        stage
            .post(&guest, "/api/orgs/acme/keys", json!({"name": "x", "key": ALPHA}))
            .await
            .status,
        403
    );
}
