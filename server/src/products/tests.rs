use actix_web::http::header;
use actix_web::test::TestRequest;
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
        "allowed_update_tools": ["fwup"], "allow_unsigned_esp_idf_firmware": false,
        "extensions": {"health": false, "geo": false, "logging": false, "network_identity": false, "local_shell": false}
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

/// The news of switched extensions, and whom they are of.
async fn switched(stage: &Stage) -> Vec<uuid::Uuid> {
    sqlx::query_scalar("SELECT subject_id FROM events WHERE kind = 'extensions.switched' ORDER BY id")
        .fetch_all(&stage.platform().db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn extensions_are_switched_one_by_one_with_audit_and_news(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, product) = stage.product("acme", "ada@x.io", "kiosk").await;
    let (guest, _) = stage.member("acme", "bob@x.io", Role::View).await;
    let (token, guest) = (stage.token(&viewer).await, stage.token(&guest).await);
    let path = "/api/orgs/acme/products/kiosk";
    let put = async |extensions: serde_json::Value| stage.put(&token, path, json!({ "extensions": extensions })).await;
    let on = put(json!({ "health": true, "geo": "true" })).await.data()["extensions"].clone();
    assert_eq!(
        (&on["health"], &on["geo"], &on["local_shell"]),
        (&json!(true), &json!(true), &json!(false))
    );
    assert_eq!(switched(&stage).await, [product.id().0]);
    // What is not named stays, and what changes nothing is no news.
    let on = put(json!({ "geo": false })).await.data()["extensions"].clone();
    assert_eq!((&on["health"], &on["geo"]), (&json!(true), &json!(false)));
    assert_eq!(put(json!({ "geo": false })).await.status, 200);
    assert_eq!(stage.get(&token, path).await.data()["extensions"], on);
    assert_eq!(switched(&stage).await.len(), 2);
    let detail: serde_json::Value = sqlx::query_scalar(
        "SELECT detail->'extensions' FROM audit_entries WHERE action = 'product.changed' ORDER BY ctid LIMIT 1",
    )
    .fetch_one(&stage.platform().db)
    .await
    .unwrap();
    assert_eq!(detail, json!({ "health": true, "geo": true }));

    for (extensions, message) in [
        (
            json!({ "telepathy": true }),
            "has no telepathy: there are health, geo, local_shell, logging, network_identity",
        ),
        (
            json!({ "renewal": true }),
            "has no renewal: it is switched on with the CA certificate",
        ),
        (json!(["health"]), "must be names with true or false"),
        (json!({ "health": "perhaps" }), "must be names with true or false"),
    ] {
        let answer = put(extensions).await;
        assert_eq!(answer.status, 422);
        let said = answer.json()["errors"]["extensions"][0].clone();
        assert!(said.as_str().unwrap().starts_with(message), "{said}");
    }
    let body = json!({ "extensions": { "health": false } });
    assert_eq!(stage.put(&guest, path, body).await.status, 403);
    assert_eq!(switched(&stage).await.len(), 2);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn settings_page_switches_only_what_was_touched(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.product("acme", "ada@x.io", "kiosk").await;
    let (guest, _) = stage.member("acme", "bob@x.io", Role::View).await;
    let (token, guest) = (stage.token(&viewer).await, stage.token(&guest).await);
    let url = "/org/acme/kiosk/settings";
    let page = async |token: &str| String::from_utf8(stage.get(token, url).await.bytes.to_vec()).unwrap();
    let shown = page(&token).await;
    assert_eq!(shown.matches("type=\"checkbox\"").count(), 5);
    assert!(!shown.contains(" checked") && !shown.contains(" disabled"));
    // Somebody else switches geo on while the form is open.
    let path = "/api/orgs/acme/products/kiosk";
    stage.put(&token, path, json!({ "extensions": { "geo": true } })).await;
    let form = [
        ("was_health", "false"),
        ("on_health", "on"),
        ("was_geo", "false"),
        ("was_renewal", "false"),
        ("on_renewal", "on"),
    ];
    let send = async |token: &str| {
        let request = TestRequest::post().uri(url).set_form(form);
        stage.call(Some(token), request).await.status
    };
    assert_eq!(send(&token).await, 303);
    let on = stage.get(&token, path).await.data()["extensions"].clone();
    assert_eq!((&on["health"], &on["geo"]), (&json!(true), &json!(true)));
    assert_eq!(page(&token).await.matches(" checked").count(), 2);
    assert_eq!(page(&guest).await.matches(" disabled").count(), 5);
    assert_eq!(send(&guest).await, 403);
}
