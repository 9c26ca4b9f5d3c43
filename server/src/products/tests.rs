use actix_web::http::header;
use serde_json::json;
use sqlx::PgPool;

use crate::accounts::Role;
use crate::testing::Stage;

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_product_is_made_shown_changed_and_deleted(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.member("acme", "ada@x.io", Role::Admin).await;
    let token = stage.token(&viewer).await;
    let made = stage
        .post(&token, "/api/orgs/acme/products", json!({"name": "smart kiosk"}))
        .await;
    assert_eq!(made.status, 201);
    let path = "/api/orgs/acme/products/smart%20kiosk";
    assert_eq!(made.header(header::LOCATION), path);
    let shown = json!({
        "name": "smart kiosk", "require_unique_firmware_version": true,
        "allowed_update_tools": ["fwup"], "allow_unsigned_esp_idf_firmware": false
    });
    assert_eq!(stage.get(&token, path).await.data(), shown);
    assert_eq!(
        stage.get(&token, "/api/orgs/acme/products").await.data(),
        json!([shown])
    );
    let orgs = stage.get(&token, "/api/orgs?include=products").await.data();
    assert_eq!(orgs[0]["products"], json!([shown]));
    assert_eq!(orgs[0]["inserted_at"], "2026-08-20T10:11:12");
    let body = json!({"product": {"require_unique_firmware_version": "false"}});
    let changed = stage.put(&token, path, body).await;
    assert_eq!(changed.data()["require_unique_firmware_version"], false);
    assert_eq!(stage.delete(&token, path).await.status, 204);
    assert_eq!(stage.get(&token, path).await.status, 404);
    assert_eq!(
        stage
            .post(&token, "/api/orgs/acme/products", json!({"name": "Smart kiosk"}))
            .await
            .status,
        201
    );
    let audited = stage.audited().await;
    assert_eq!(
        audited[2..],
        [
            "product.created",
            "product.changed",
            "product.deleted",
            "product.created"
        ]
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn names_and_keys_that_cannot_be_are_422(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.product("acme", "ada@x.io", "kiosk").await;
    let token = stage.token(&viewer).await;
    for (name, message) in [
        ("Kiosk", "has already been taken"),
        ("", "must have 1 to 100 characters, without slashes"),
    ] {
        let answer = stage
            .post(&token, "/api/orgs/acme/products", json!({ "name": name }))
            .await;
        assert_eq!(answer.status, 422);
        assert_eq!(answer.json()["errors"]["name"], json!([message]));
    }
    let none = stage.post(&token, "/api/orgs/acme/products", json!({})).await;
    assert_eq!(none.json()["errors"]["name"], json!(["can't be blank"]));
    let answer = stage
        .put(&token, "/api/orgs/acme/products/kiosk", json!({"colour": "red"}))
        .await;
    assert_eq!(answer.status, 422);
    assert!(answer.detail().contains("colour"));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn another_orgs_product_is_404_and_a_low_role_is_403(db: PgPool) {
    let stage = Stage::new(db).await;
    stage.product("acme", "ada@x.io", "kiosk").await;
    let (stranger, _) = stage.member("other", "eve@x.io", Role::Admin).await;
    let (guest, _) = stage.member("acme", "bob@x.io", Role::View).await;
    let (stranger, guest) = (stage.token(&stranger).await, stage.token(&guest).await);
    for path in ["/api/orgs/acme/products", "/api/orgs/acme/products/kiosk"] {
        assert_eq!(stage.get(&stranger, path).await.status, 404);
        assert_eq!(stage.get(&guest, path).await.status, 200);
    }
    assert_eq!(
        stage.delete(&stranger, "/api/orgs/acme/products/kiosk").await.status,
        404
    );
    let answer = stage.delete(&guest, "/api/orgs/acme/products/kiosk").await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.detail(),
        "This needs the role admin in the org acme; yours is view."
    );
    let answer = stage
        .post(&guest, "/api/orgs/acme/products", json!({"name": "x"}))
        .await;
    assert_eq!(answer.status, 403);
}
