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

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn extensions_are_taken_from_one_device_and_given_back(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, token) = owner(&stage).await;
    add(&stage, &token, "sn-0001", json!([])).await;
    let path = format!("{DEVICES}/sn-0001");
    let all = |geo: bool, health: bool| json!({"health": health, "geo": geo, "logging": true, "network_identity": true, "local_shell": true});
    assert_eq!(stage.get(&token, &path).await.data()["extensions"], all(true, true));
    for (extensions, shown) in [
        (json!({"geo": false, "health": "false"}), all(false, false)),
        (json!({"health": true}), all(false, true)),
        (json!({}), all(false, true)),
    ] {
        let answer = stage.put(&token, &path, json!({ "extensions": extensions })).await;
        assert_eq!((answer.status.as_u16(), &answer.data()["extensions"]), (201, &shown));
    }
    let answer = stage
        .put(&token, &path, json!({"extensions": {"telepathy": false}}))
        .await;
    assert_eq!(answer.status, 422);
    assert!(
        answer.json()["errors"]["extensions"][0]
            .as_str()
            .unwrap()
            .starts_with("has no telepathy")
    );
    let answer = stage
        .put(&token, &path, json!({"extensions": {"geo": "perhaps"}}))
        .await;
    assert_eq!(answer.status, 400);
    let news: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE kind = 'extensions.switched'")
        .fetch_one(&stage.platform().db)
        .await
        .unwrap();
    assert_eq!(news, 2);
    let detail: Value = sqlx::query_scalar(
        "SELECT detail->'extensions' FROM audit_entries WHERE action = 'device.updated' ORDER BY ctid LIMIT 1",
    )
    .fetch_one(&stage.platform().db)
    .await
    .unwrap();
    assert_eq!(detail, json!({"geo": false, "health": false}));

    // The form says which are off for the whole product, and leaves those alone.
    stage
        .put(
            &token,
            "/api/orgs/acme/products/kiosk",
            json!({"extensions": {"health": true}}),
        )
        .await;
    let url = "/org/acme/kiosk/devices/sn-0001/edit";
    let page = String::from_utf8(stage.get(&token, url).await.bytes.to_vec()).unwrap();
    assert_eq!(
        (
            page.matches(" disabled").count(),
            page.matches("Off for the product.").count()
        ),
        (4, 4)
    );
    let form = [("was_health", "true"), ("description", "x"), ("updates_enabled", "on")];
    let request = TestRequest::post().uri(url).set_form(form);
    assert_eq!(stage.call(Some(&token), request).await.status, 303);
    assert_eq!(stage.get(&token, &path).await.data()["extensions"], all(false, false));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn keys_in_overlay_networks_are_listed_and_shown(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, token) = owner(&stage).await;
    let (stranger, _) = stage.member("other", "eve@x.io", Role::Admin).await;
    let stranger = stage.token(&stranger).await;
    add(&stage, &token, "sn-0001", json!([])).await;
    let page = async || {
        let answer = stage.get(&token, "/org/acme/kiosk/devices/sn-0001").await;
        String::from_utf8(answer.bytes.to_vec()).unwrap()
    };
    assert!(!page().await.contains("Network identities"));
    sqlx::query(
        r#"INSERT INTO network_identities SELECT id, s, i, k, '{"ip": "10.8.0.4", "mtu": 1420}', '2026-08-20 10:11:12.5Z',
               '2026-08-20 10:11:12Z', '2026-08-20 10:11:12Z'
           FROM devices, (VALUES ('wireguard', 'wg0', 'one'), ('wireguard', 'wg1', 'two'), ('iroh', 'default', 'three'))
               AS n (s, i, k)"#,
    )
    .execute(&stage.platform().db)
    .await
    .unwrap();
    let path = format!("{DEVICES}/sn-0001/network_identities");
    let keys = async |query: &str| -> Vec<String> {
        let data = stage.get(&token, &format!("{path}{query}")).await.data();
        let keys = data.as_array().unwrap().iter();
        keys.map(|one| one["identifier"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("").await, ["three", "one", "two"]);
    assert_eq!(keys("?service=wireguard").await, ["one", "two"]);
    assert_eq!(keys("?service=wireguard&instance=wg1").await, ["two"]);
    assert_eq!(keys("?service=&instance=default").await, ["three"]);
    let first = stage
        .get(&token, "/api/devices/sn-0001/network_identities")
        .await
        .data()[0]
        .clone();
    let expected = json!({
        "identifier": "three", "service": "iroh", "instance": "default", "source": "device_reported",
        "details": {"ip": "10.8.0.4", "mtu": 1420}, "last_reported_at": "2026-08-20T10:11:12Z",
        "inserted_at": "2026-08-20T10:11:12", "updated_at": "2026-08-20T10:11:12"
    });
    assert_eq!(first, expected);
    let unknown = stage.get(&token, &format!("{path}?service=zerotier")).await;
    assert_eq!(unknown.status, 422);
    assert!(
        unknown.json()["errors"]["service"][0]
            .as_str()
            .unwrap()
            .starts_with("is unknown: there are iroh")
    );
    assert_eq!(stage.get(&stranger, &path).await.status, 404);
    let shown = page().await;
    assert!(shown.contains("Network identities") && shown.contains("10.8.0.4") && shown.contains("1420"));
}
