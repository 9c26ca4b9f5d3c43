use actix_web::http::header;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::accounts::{self, Role};
use crate::deployments::service;
use crate::devices::DeviceId;
use crate::platform::sweep::Sweep;
use crate::products::ProductId;
use crate::testing::{Answer, Stage};

const PRODUCT: &str = "/api/orgs/acme/products/kiosk";
const DEPLOYMENTS: &str = "/api/orgs/acme/products/kiosk/deployments";
const ALPHA: &str = "NpjkAsCCtnGM7+CqyHNlpdMXpf/HF4bGxY6LSsgmHh0=";
const KIOSK_1_0: &[u8] = include_bytes!("../../../tests/fixtures/fwup/fw/kiosk-1.0.0.fw");
const KIOSK_1_1: &[u8] = include_bytes!("../../../tests/fixtures/fwup/fw/kiosk-1.1.0.fw");

/// An admin's token, and the UUIDs of two versions.
async fn owner(stage: &Stage) -> (String, Value, Value) {
    let (viewer, _) = stage.product("acme", "ada@x.io", "kiosk").await;
    let token = stage.token(&viewer).await;
    stage
        .post(&token, "/api/orgs/acme/keys", json!({"name": "prod", "key": ALPHA}))
        .await;
    let (first, second) = (
        upload(stage, &token, KIOSK_1_0).await,
        upload(stage, &token, KIOSK_1_1).await,
    );
    (token, first, second)
}

async fn upload(stage: &Stage, token: &str, archive: &[u8]) -> Value {
    let head = b"--limit\r\ncontent-disposition: form-data; name=\"firmware\"; filename=\"x\"\r\n\r\n";
    let body = [head, archive, b"\r\n--limit--\r\n"].concat();
    let request = TestRequest::post()
        .uri(&format!("{PRODUCT}/firmwares"))
        .insert_header((header::CONTENT_TYPE, "multipart/form-data; boundary=limit"))
        .set_payload(body);
    let answer = stage.call(Some(token), request).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.data()["uuid"].clone()
}

async fn create(stage: &Stage, token: &str, name: &str, firmware: &Value) -> Answer {
    let body = json!({
        "name": name, "firmware": firmware, "is_active": true,
        "conditions": {"version": ">= 0.1.0", "tags": ["prod"]}
    });
    stage.post(token, DEPLOYMENTS, body).await
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_deployment_is_made_off_started_released_and_deleted(db: PgPool) {
    let stage = Stage::new(db).await;
    let (token, first, second) = owner(&stage).await;
    let made = create(&stage, &token, "prod east", &first).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let path = format!("{DEPLOYMENTS}/prod%20east");
    assert_eq!(made.header(header::LOCATION), path);
    let shown = stage.get(&token, &path).await.data();
    for (key, value) in [
        ("name", json!("prod east")),
        ("is_active", json!(false)),
        ("state", json!("off")),
        ("firmware_uuid", first.clone()),
        ("archive_uuid", Value::Null),
        (
            "conditions",
            json!({"version": ">= 0.1.0", "tags": ["prod"], "tag_operator": "and"}),
        ),
        ("concurrent_updates", json!(10)),
        ("penalty_timeout_minutes", json!(1440)),
        ("device_count", json!(0)),
        ("releases_count", json!(1)),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert_eq!(shown["current_release"]["number"], 1);
    assert_eq!(shown["current_release"]["firmware"]["version"], "1.0.0");
    assert_eq!(stage.get(&token, DEPLOYMENTS).await.data(), json!([shown]));
    let on = stage.put(&token, &path, json!({"deployment": {"state": "on"}})).await;
    assert_eq!((on.status.as_u16(), on.data()["state"].clone()), (200, json!("on")));
    let body = json!({"deployment": {"firmware": second, "name": "ignored"}});
    let released = stage.put(&token, &path, body).await;
    assert_eq!(released.data()["firmware_uuid"], second);
    assert_eq!(released.data()["releases_count"], 2);
    assert_eq!(released.data()["name"], "prod east");
    let running = stage.delete(&token, &path).await;
    assert_eq!(running.status, 409);
    let off = stage
        .put(&token, &path, json!({"deployment": {"is_active": "false"}}))
        .await;
    assert_eq!(off.data()["is_active"], false);
    assert_eq!(stage.delete(&token, &path).await.status, 204);
    assert_eq!(stage.get(&token, &path).await.status, 404);
    let audited = stage.audited().await;
    let of_deployments: Vec<&String> = audited
        .iter()
        .filter(|action| action.starts_with("deployment."))
        .collect();
    assert_eq!(of_deployments.last().unwrap().as_str(), "deployment.deleted");
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn settings_are_taken_as_strings_and_by_shortcut(db: PgPool) {
    let stage = Stage::new(db).await;
    let (token, first, _) = owner(&stage).await;
    create(&stage, &token, "prod", &first).await;
    let path = format!("{DEPLOYMENTS}/prod");
    let body = json!({"deployment": {
        "concurrent_updates": "20", "penalty_timeout_minutes": 60, "tags": "a,b", "version": "~> 1.0",
        "delta_updatable": "true", "notes": "slowly", "conditions": {"tag_operator": "or"}, "name": "slow"
    }});
    let changed = stage.put(&token, &path, body).await;
    assert_eq!(changed.status, 200, "{}", changed.json());
    let data = changed.data();
    assert_eq!(data["concurrent_updates"], 20);
    assert_eq!(data["penalty_timeout_minutes"], 60);
    assert_eq!(
        data["conditions"],
        json!({"version": "~> 1.0", "tags": ["a", "b"], "tag_operator": "or"})
    );
    assert_eq!(
        (data["name"].clone(), data["notes"].clone()),
        (json!("slow"), json!("slowly"))
    );
    assert_eq!(stage.get(&token, &path).await.status, 404);
    let top_level = stage
        .put(&token, &format!("{DEPLOYMENTS}/slow"), json!({"concurrent_updates": 3}))
        .await;
    assert_eq!(top_level.data()["concurrent_updates"], 3);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn deployments_that_cannot_be_are_422(db: PgPool) {
    let stage = Stage::new(db).await;
    let (token, first, _) = owner(&stage).await;
    assert_eq!(create(&stage, &token, "prod", &first).await.status, 201);
    let unknown = json!("00000000-0000-0000-0000-000000000000");
    let base = json!({"name": "x", "firmware": first, "conditions": {}});
    let with = |key: &str, value: Value| {
        let mut body = base.clone();
        body[key] = value;
        body
    };
    for (body, pointer) in [
        (with("name", json!("prod")), "/errors/name/0"),
        (with("name", json!("")), "/errors/name/0"),
        (with("firmware", unknown.clone()), "/errors/firmware/0"),
        (with("firmware", Value::Null), "/errors/firmware/0"),
        (json!({"name": "x", "firmware": first}), "/errors/conditions/0"),
        (
            with("conditions", json!({"version": "later"})),
            "/errors/conditions/version/0",
        ),
        (
            with("conditions", json!({"tags": ["a b"]})),
            "/errors/conditions/tags/0",
        ),
        (
            with("conditions", json!({"tag_operator": "xor"})),
            "/errors/conditions/tag_operator/0",
        ),
        (with("concurrent_updates", json!(0)), "/errors/concurrent_updates/0"),
        (
            with("penalty_timeout_minutes", json!(-1)),
            "/errors/penalty_timeout_minutes/0",
        ),
        (with("queue_management", json!("LIFO")), "/errors/detail"),
    ] {
        let answer = stage.post(&token, DEPLOYMENTS, body.clone()).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.json());
        assert!(answer.json().pointer(pointer).is_some(), "{body}: {}", answer.json());
    }
    let path = format!("{DEPLOYMENTS}/prod");
    for body in [
        json!({"state": "maybe"}),
        json!({"firmware": unknown}),
        json!({"archive": unknown}),
    ] {
        let answer = stage.put(&token, &path, json!({ "deployment": body })).await;
        assert_eq!(answer.status, 422);
    }
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn another_orgs_deployment_and_firmware_are_404_and_422(db: PgPool) {
    let stage = Stage::new(db).await;
    let (token, first, _) = owner(&stage).await;
    create(&stage, &token, "prod", &first).await;
    let (stranger, _) = stage.product("other", "eve@x.io", "kiosk").await;
    let stranger = stage.token(&stranger).await;
    assert_eq!(stage.get(&stranger, &format!("{DEPLOYMENTS}/prod")).await.status, 404);
    let theirs = "/api/orgs/other/products/kiosk/deployments";
    let answer = stage
        .post(
            &stranger,
            theirs,
            json!({"name": "x", "firmware": first, "conditions": {}}),
        )
        .await;
    assert_eq!(answer.status, 422);
    let (guest, _) = stage.member("acme", "bob@x.io", Role::View).await;
    let guest = stage.token(&guest).await;
    assert_eq!(stage.get(&guest, DEPLOYMENTS).await.status, 200);
    assert_eq!(create(&stage, &guest, "x", &first).await.status, 403);
    let body = json!({"deployment": {"state": "on"}});
    assert_eq!(
        stage.put(&guest, &format!("{DEPLOYMENTS}/prod"), body).await.status,
        403
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn code_of_connects_is_set_kept_and_bounded(db: PgPool) {
    let stage = Stage::new(db).await;
    let (token, first, second) = owner(&stage).await;
    let body = json!({ "name": "prod", "firmware": first, "conditions": {}, "connecting_code": "go()" });
    assert_eq!(
        stage.post(&token, DEPLOYMENTS, body).await.data()["connecting_code"],
        "go()"
    );
    let group = format!("{DEPLOYMENTS}/prod");
    for (path, field) in [
        (group.as_str(), "deployment"),
        ("/api/orgs/acme/products/kiosk/devices/sn-1", "device"),
    ] {
        if field == "device" {
            let body = json!({ "identifier": "sn-1", "connecting_code": "go()" });
            let made = stage.post(&token, &format!("{PRODUCT}/devices"), body).await;
            assert_eq!(made.data()["connecting_code"], "go()");
        }
        let set = |code: String| stage.put(&token, path, json!({ "connecting_code": code }));
        let longest = "é".repeat(20_000);
        assert_eq!(set(longest.clone()).await.data()["connecting_code"], longest);
        for bad in [longest + "x", "a\0b".to_owned()] {
            let refused = set(bad).await;
            assert_eq!(refused.status, 422);
            let errors = &refused.json()["errors"]["connecting_code"];
            assert_eq!(*errors, json!(["should be at most 20000 characters, none of them NUL"]));
        }
        set("Toolshed.hi()".to_owned()).await;
        // Other settings leave it.
        let other = match field {
            "device" => json!({ "description": "lobby" }),
            _ => json!({ "deployment": { "notes": "x" } }),
        };
        let kept = stage.put(&token, path, other).await.data();
        assert_eq!(kept["connecting_code"], "Toolshed.hi()", "{field}");
    }
    let released = stage
        .put(&token, &group, json!({ "deployment": { "firmware": second } }))
        .await;
    assert_eq!(released.data()["connecting_code"], "Toolshed.hi()");
    let listed = stage.get(&token, &format!("{PRODUCT}/devices")).await.data();
    assert_eq!(listed[0].get("connecting_code"), None, "a list does not carry it");
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_moved_device_leaves_its_deployment_behind(db: PgPool) {
    let stage = Stage::new(db.clone()).await;
    let (token, first, second) = owner(&stage).await;
    stage.product("other", "eve@x.io", "lamp").await;
    let device = "/api/orgs/acme/products/kiosk/devices/kiosk-1";
    let body = json!({ "identifier": "kiosk-1", "tags": ["prod"] });
    stage.post(&token, "/api/orgs/acme/products/kiosk/devices", body).await;
    create(&stage, &token, "prod", &second).await;
    let on = json!({"deployment": {"state": "on"}});
    stage.put(&token, &format!("{DEPLOYMENTS}/prod"), on).await;
    sqlx::query(
        "UPDATE device_states SET connection = 'connected', connected_at = now(), firmware_uuid = $1::uuid,
             firmware_version = '1.0.0', firmware_platform = f.platform, firmware_architecture = f.architecture
         FROM firmwares f WHERE f.uuid = $1::uuid",
    )
    .bind(first.as_str())
    .execute(&db)
    .await
    .unwrap();
    let (platform, proof) = (stage.platform(), Sweep::of_the_server());
    let (id, product): (DeviceId, ProductId) = sqlx::query_as("SELECT id, product_id FROM devices")
        .fetch_one(&db)
        .await
        .unwrap();
    service::schedule(platform, proof, product).await.unwrap();
    let standing = "SELECT u.status, u.reason, (SELECT count(*) FROM deployment_members) FROM updates u";
    let stands = async || -> (String, Option<String>, i64) { sqlx::query_as(standing).fetch_one(&db).await.unwrap() };
    assert_eq!(stands().await, ("assigned".to_owned(), None, 1));

    let path = format!("{device}/move");
    let to = json!({ "new_org_name": "other", "new_product_name": "lamp" });
    let stranger = stage.post(&token, &path, to.clone()).await;
    assert_eq!(stranger.status, 422, "{}", stranger.json());
    accounts::service::add_member(platform, "other", "ada@x.io", Role::View)
        .await
        .unwrap();
    assert_eq!(stage.post(&token, &path, to.clone()).await.status, 403);
    sqlx::query("UPDATE memberships SET role = 'manage' WHERE role = 'view'")
        .execute(&db)
        .await
        .unwrap();
    let moved = stage.post(&token, &path, to.clone()).await;
    assert_eq!(moved.status, 200, "{}", moved.json());
    assert_eq!(moved.data()["org_name"], "other");
    assert_eq!(moved.data()["product_name"], "lamp");
    assert_eq!(stage.get(&token, device).await.status, 404);
    let reason = "The device was moved to another product.".to_owned();
    assert_eq!(stands().await, ("withdrawn".to_owned(), Some(reason), 0));
    let audited = stage.audited().await;
    assert_eq!(audited[audited.len() - 2..], ["device.moved_away", "device.moved_here"]);
    let cut: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE kind = 'device.cut' AND subject_id = $1")
        .bind(id)
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(cut, 1);

    // What the scheduler wrote at the very moment of the move is told to nobody.
    sqlx::query("UPDATE updates SET status = 'assigned', ended_at = NULL")
        .execute(&db)
        .await
        .unwrap();
    let mut conn = db.acquire().await.unwrap();
    assert!(
        service::take(&mut conn, platform, proof, &[id])
            .await
            .unwrap()
            .is_empty()
    );
}
