use actix_web::http::header;
use actix_web::test::TestRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sqlx::PgPool;
use time::Duration;

use crate::accounts::{Role, Viewer};
use crate::ca::authority::Authority;
use crate::testing::{Answer, Stage};

const DEVICES: &str = "/api/orgs/acme/products/kiosk/devices";

async fn owner(stage: &Stage) -> (Viewer, String) {
    let (viewer, _) = stage.product("acme", "ada@x.io", "kiosk").await;
    let token = stage.token(&viewer).await;
    (viewer, token)
}

async fn add(stage: &Stage, token: &str, identifier: &str, tags: Value) -> Answer {
    let answer = stage
        .post(token, DEVICES, json!({"identifier": identifier, "tags": tags}))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer
}

fn identifiers(answer: &Answer) -> Vec<String> {
    let data = answer.data();
    let rows = data.as_array().unwrap_or_else(|| panic!("{}", answer.json()));
    rows.iter()
        .map(|row| row["identifier"].as_str().unwrap().to_owned())
        .collect()
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_device_is_made_shown_changed_and_deleted(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, token) = owner(&stage).await;
    let body = json!({"identifier": "sn-0001", "description": "lobby", "tags": "beta, lobby"});
    let made = stage.post(&token, DEVICES, body).await;
    assert_eq!(made.status, 201);
    let path = format!("{DEVICES}/sn-0001");
    assert_eq!(made.header(header::LOCATION), path);
    let shown = stage.get(&token, &path).await.data();
    for (key, value) in [
        ("tags", json!(["beta", "lobby"])),
        ("connection_status", json!("not_seen")),
        ("online", json!("not_seen")),
        ("status", json!("not_seen")),
        ("firmware_metadata", Value::Null),
        ("version", json!("unknown")),
        ("deployment_group", Value::Null),
        ("updates_enabled", json!(true)),
        ("updates_blocked_until", Value::Null),
        ("last_communication", json!("never")),
        ("org_name", json!("acme")),
        ("product_name", json!("kiosk")),
        ("deleted", json!(false)),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert_eq!(stage.get(&token, "/api/devices/sn-0001").await.data(), shown);
    let body = json!({"identifier": "sn-0001", "tags": ["x"], "updates_enabled": "false", "status": "ignored"});
    let changed = stage.put(&token, &path, body).await;
    assert_eq!(changed.status, 201);
    assert_eq!(changed.data()["tags"], json!(["x"]));
    assert_eq!(changed.data()["updates_enabled"], false);
    assert_eq!(changed.data()["description"], "lobby");
    assert_eq!(stage.delete(&token, &format!("{path}/penalty")).await.status, 204);
    assert_eq!(stage.get(&token, &path).await.data()["updates_enabled"], true);
    assert_eq!(
        stage.put(&token, &path, json!({"identifier": "sn-2"})).await.status,
        422
    );
    assert_eq!(stage.delete(&token, &path).await.status, 204);
    assert_eq!(stage.get(&token, &path).await.data()["deleted"], true);
    assert_eq!(stage.delete(&token, &path).await.status, 404);
    assert_eq!(stage.put(&token, &path, json!({})).await.status, 404);
    let again = stage.post(&token, DEVICES, json!({"identifier": "sn-0001"})).await;
    assert_eq!(again.status, 422);
    assert!(
        again.json()["errors"]["identifier"][0]
            .as_str()
            .unwrap()
            .contains("deleted device")
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn devices_that_cannot_be_are_422_by_field(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, token) = owner(&stage).await;
    add(&stage, &token, "taken", json!([])).await;
    for (body, field) in [
        (json!({}), "identifier"),
        (json!({"identifier": "a b"}), "identifier"),
        (json!({"identifier": "taken"}), "identifier"),
        (json!({"identifier": "x", "tags": ["two words"]}), "tags"),
        (
            json!({"identifier": "x", "description": "d".repeat(501)}),
            "description",
        ),
    ] {
        let answer = stage.post(&token, DEVICES, body).await;
        assert_eq!(answer.status, 422);
        assert!(answer.json()["errors"][field].is_array(), "{}", answer.json());
    }
    assert_eq!(stage.post(&token, DEVICES, json!({"identifier": 7})).await.status, 400);
    let wrapped = stage
        .post(&token, DEVICES, json!({"device": {"identifier": "inside"}}))
        .await;
    assert_eq!(wrapped.status, 201);
    let long = json!({"description": "d".repeat(501)});
    assert_eq!(stage.put(&token, &format!("{DEVICES}/taken"), long).await.status, 422);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn the_list_has_pages_filters_and_orders(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, token) = owner(&stage).await;
    for number in 0..12 {
        let tags = if number % 2 == 0 { json!(["even"]) } else { json!([]) };
        add(&stage, &token, &format!("sn-{number:02}"), tags).await;
    }
    stage.delete(&token, &format!("{DEVICES}/sn-11")).await;
    let first = stage.get(&token, DEVICES).await;
    assert_eq!(identifiers(&first).len(), 10);
    let pagination = json!({"page_number": 1, "page_size": 10, "total_entries": 11, "total_pages": 2});
    assert_eq!(first.json()["pagination"], pagination);
    let second = stage
        .get(
            &token,
            &format!("{DEVICES}?pagination[page]=2&pagination%5Bpage_size%5D=4"),
        )
        .await;
    assert_eq!(identifiers(&second), ["sn-04", "sn-05", "sn-06", "sn-07"]);
    let old = TestRequest::get()
        .uri(DEVICES)
        .insert_header((header::USER_AGENT, "mint/1.7.1"));
    assert_eq!(identifiers(&stage.call(Some(&token), old).await).len(), 11);
    let list = async |query: &str| identifiers(&stage.get(&token, &format!("{DEVICES}?{query}")).await);
    assert_eq!(
        list("sort=identifier&sort_direction=desc&pagination[page_size]=1").await,
        ["sn-10"]
    );
    assert_eq!(list("filters[tags]=even").await.len(), 6);
    assert_eq!(list("filters[has_no_tags]=true").await.len(), 5);
    assert_eq!(
        list("filters[has_no_tags]=false&filters[identifier]=-1").await,
        ["sn-10"]
    );
    assert_eq!(list("filters[identifier]=%25").await, [""; 0]);
    assert_eq!(list("filters[search]=sn-03").await, ["sn-03"]);
    assert_eq!(list("filters[connection]=connected").await, [""; 0]);
    assert_eq!(list("filters[display_deleted]=only").await, ["sn-11"]);
    assert_eq!(list("filters[updates]=disabled").await, [""; 0]);
    for bad in [
        "filters[colour]=red",
        "sort=password",
        "pagination[page]=0",
        "filters[connection]=x",
    ] {
        let answer = stage.get(&token, &format!("{DEVICES}?{bad}")).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_short_path_that_matches_in_several_orgs_names_them(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, token) = owner(&stage).await;
    add(&stage, &token, "sn-1", json!([])).await;
    let (other, _) = stage.product("zenith", "eve@x.io", "lamp").await;
    let other = stage.token(&other).await;
    let place = "/api/orgs/zenith/products/lamp/devices";
    assert_eq!(
        stage.post(&other, place, json!({"identifier": "sn-1"})).await.status,
        201
    );
    assert_eq!(stage.get(&token, "/api/devices/sn-1").await.data()["org_name"], "acme");
    assert_eq!(stage.get(&token, &format!("{place}/sn-1")).await.status, 404);
    let platform = stage.platform();
    crate::accounts::service::add_member(platform, "zenith", viewer.email(), Role::View)
        .await
        .unwrap();
    let several = stage.get(&token, "/api/devices/sn-1").await;
    assert_eq!(several.status, 409);
    assert!(
        several.detail().contains("acme (kiosk), zenith (lamp)"),
        "{}",
        several.detail()
    );
    stage.delete(&other, &format!("{place}/sn-1")).await;
    assert_eq!(stage.get(&token, "/api/devices/sn-1").await.data()["org_name"], "acme");
    assert_eq!(stage.get(&token, "/api/devices/none").await.status, 404);
    assert_eq!(stage.get(&token, "/api/devices/sn-1/nothing").await.status, 404);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_device_of_another_product_or_org_is_404_and_a_guest_may_only_look(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, token) = owner(&stage).await;
    add(&stage, &token, "sn-1", json!([])).await;
    stage
        .post(&token, "/api/orgs/acme/products", json!({"name": "lamp"}))
        .await;
    assert_eq!(
        stage
            .get(&token, "/api/orgs/acme/products/lamp/devices/sn-1")
            .await
            .status,
        404
    );
    let (stranger, _) = stage.product("other", "eve@x.io", "kiosk").await;
    let stranger = stage.token(&stranger).await;
    for path in [
        format!("{DEVICES}/sn-1"),
        DEVICES.to_owned(),
        "/api/devices/sn-1".to_owned(),
    ] {
        assert_eq!(stage.get(&stranger, &path).await.status, 404, "{path}");
    }
    let (guest, _) = stage.member("acme", "bob@x.io", Role::View).await;
    let guest = stage.token(&guest).await;
    assert_eq!(stage.get(&guest, DEVICES).await.status, 200);
    assert_eq!(
        stage.post(&guest, DEVICES, json!({"identifier": "x"})).await.status,
        403
    );
    assert_eq!(stage.delete(&guest, &format!("{DEVICES}/sn-1")).await.status, 403);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn certificates_are_pinned_by_common_name_and_removed(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, token) = owner(&stage).await;
    add(&stage, &token, "sn-1", json!([])).await;
    add(&stage, &token, "sn-2", json!([])).await;
    let now = stage.platform().clock.now();
    let (authority, _) = Authority::create("factory", [1; 16], now).unwrap();
    let cert = |name: &str, serial: u8| {
        let issued = authority
            .issue_device(name, [serial; 16], now, Duration::days(1))
            .unwrap();
        STANDARD.encode(issued.certificate_pem)
    };
    let path = format!("{DEVICES}/sn-1/certificates");
    let first = cert("sn-1", 3);
    let made = stage
        .post(&token, &path, json!({"identifier": "sn-1", "cert": first}))
        .await;
    assert_eq!(made.status, 201, "{}", made.json());
    let serial = made.data()["serial"].as_str().unwrap().to_owned();
    assert_eq!(made.header(header::LOCATION), format!("{path}/{serial}"));
    assert!(made.data()["not_after"].as_str().unwrap().ends_with('Z'));
    assert_eq!(stage.get(&token, &path).await.data(), json!([made.data()]));
    assert_eq!(stage.get(&token, &format!("{path}/{serial}")).await.data(), made.data());
    for bad in [
        json!({}),
        json!({"cert": "%"}),
        json!({"cert": first}),
        json!({"cert": cert("sn-2", 4)}),
    ] {
        let answer = stage.post(&token, &path, bad).await;
        assert_eq!(answer.status, 422);
        assert!(answer.json()["errors"]["cert"].is_array(), "{}", answer.json());
    }
    assert_eq!(
        stage
            .get(&token, &format!("/api/devices/sn-1/certificates/{serial}"))
            .await
            .status,
        200
    );
    assert_eq!(
        stage
            .get(&token, &format!("{DEVICES}/sn-2/certificates/{serial}"))
            .await
            .status,
        404
    );
    assert_eq!(
        stage
            .delete(&token, &format!("{DEVICES}/sn-2/certificates/{serial}"))
            .await
            .status,
        404
    );
    assert_eq!(stage.delete(&token, &format!("{path}/{serial}")).await.status, 204);
    assert_eq!(stage.get(&token, &path).await.data(), json!([]));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_deleted_device_is_restored_or_destroyed_before_its_name_is_used_again(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, token) = owner(&stage).await;
    let (path, body) = (format!("{DEVICES}/sn-0001"), json!({"identifier": "sn-0001"}));
    assert_eq!(stage.post(&token, DEVICES, body.clone()).await.status, 201);
    let early = stage.post(&token, &format!("{path}/destroy"), json!({})).await;
    assert!((400..500).contains(&early.status.as_u16()), "{}", early.status);
    stage.delete(&token, &path).await;
    let taken = stage.post(&token, DEVICES, body.clone()).await;
    assert!(taken.json().to_string().contains("restore or destroy"));
    assert_eq!(
        stage.post(&token, &format!("{path}/restore"), json!({})).await.status,
        204
    );
    assert_eq!(stage.get(&token, &path).await.data()["deleted"], json!(false));
    stage.delete(&token, &path).await;
    assert_eq!(
        stage.post(&token, &format!("{path}/destroy"), json!({})).await.status,
        204
    );
    assert_eq!(stage.post(&token, DEVICES, body).await.status, 201);
}
