use actix_web::http::header;
use actix_web::test::TestRequest;
use sqlx::PgPool;

use crate::devices::model::{Filter, Page, PageFrom, Sort};
use crate::devices::service::{self, Registration};
use crate::products::Product;
use crate::testing::{Answer, Stage};

async fn register(stage: &Stage, product: &Product, identifier: &str) {
    let registration = Registration {
        identifier: identifier.parse().unwrap(),
        description: String::new(),
        tags: Vec::new(),
        updates_enabled: true,
        connecting_code: String::new(),
    };
    service::create(stage.platform(), product, registration).await.unwrap();
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.bytes.to_vec()).unwrap()
}

/// Every page of the list forwards, then every page backwards from its end.
async fn walk(stage: &Stage, product: &Product, sort: Sort, descending: bool) -> (Vec<String>, Vec<String>) {
    let mut conn = stage.platform().db.acquire().await.unwrap();
    let (mut forwards, mut backwards) = (Vec::new(), Vec::new());
    let mut page = Page {
        sort,
        descending,
        from: PageFrom::Start,
        limit: 3,
    };
    let filter = Filter::default();
    loop {
        let rows = service::page(&mut conn, product, &filter, &page).await.unwrap();
        let Some(last) = rows.last() else { break };
        page.from = PageFrom::After(service::page_key(last, sort));
        forwards.extend(rows.iter().map(|row| row.identifier.clone()));
        assert!(forwards.len() <= 8, "{forwards:?}");
    }
    let PageFrom::After(key) = page.from.clone() else {
        panic!()
    };
    backwards.push(key.identifier.clone());
    page.from = PageFrom::Before(key);
    loop {
        let rows = service::page(&mut conn, product, &filter, &page).await.unwrap();
        let Some(first) = rows.first() else { break };
        page.from = PageFrom::Before(service::page_key(first, sort));
        backwards.extend(rows.iter().rev().map(|row| row.identifier.clone()));
    }
    backwards.reverse();
    (forwards, backwards)
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn pages_by_key_show_every_device_once_both_ways(db: PgPool) {
    let stage = Stage::new(db.clone()).await;
    let (_, product) = stage.product("acme", "ada@x.io", "kiosk").await;
    for number in 1..=8 {
        register(&stage, &product, &format!("kiosk-{number}")).await;
    }
    // Equal values, and none: the identifier decides between them.
    sqlx::query(
        "UPDATE device_states s SET firmware_version = '1.' || (right(d.identifier, 1)::int / 3), connection = 'connected',
             last_seen_at = timestamptz '2026-08-20 10:00Z' + (right(d.identifier, 1)::int / 4) * interval '1.000001 s'
         FROM devices d WHERE d.id = s.device_id AND d.identifier > 'kiosk-2'",
    )
    .execute(&db)
    .await
    .unwrap();
    for sort in [
        Sort::Identifier,
        Sort::Connection,
        Sort::Version,
        Sort::LastSeen,
        Sort::Created,
        Sort::Connected,
        Sort::Tags,
    ] {
        for descending in [false, true] {
            let (forwards, backwards) = walk(&stage, &product, sort, descending).await;
            let mut all = forwards.clone();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 8, "{sort:?} {descending}: {forwards:?}");
            assert_eq!(forwards, backwards, "{sort:?} {descending}");
        }
    }
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn who_is_not_signed_in_is_asked_to_and_another_orgs_product_is_not_there(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.product("acme", "ada@x.io", "kiosk").await;
    stage.product("other", "eve@x.io", "kiosk").await;
    let token = stage.token(&viewer).await;

    let asked = stage
        .call(None, TestRequest::get().uri("/org/acme/kiosk/devices?q=a"))
        .await;
    assert_eq!(asked.status, 303);
    let to = asked.header(header::LOCATION);
    assert_eq!(to, "/sign-in?next=%2Forg%2Facme%2Fkiosk%2Fdevices%3Fq%3Da");

    let ours = stage.get(&token, "/org/acme/kiosk/devices").await;
    assert_eq!(ours.status, 200);
    assert!(text(&ours).contains("No device yet"));
    let policy = ours.headers.get(header::CONTENT_SECURITY_POLICY).unwrap();
    assert!(policy.to_str().unwrap().starts_with("default-src 'none'"));

    let theirs = stage.get(&token, "/org/other/kiosk/devices").await;
    assert_eq!(theirs.status, 404);
    assert!(text(&theirs).contains("<!doctype html>"));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn rows_are_given_by_id_to_their_own_product_only(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, product) = stage.product("acme", "ada@x.io", "kiosk").await;
    let (_, other) = stage.product("other", "eve@x.io", "kiosk").await;
    register(&stage, &product, "ours").await;
    register(&stage, &other, "theirs").await;
    let token = stage.token(&viewer).await;
    let ids: Vec<String> = sqlx::query_scalar("SELECT id::text FROM devices")
        .fetch_all(&stage.platform().db)
        .await
        .unwrap();
    let rows = stage
        .get(
            &token,
            &format!("/org/acme/kiosk/device-rows?ids={},nonsense", ids.join(",")),
        )
        .await;
    assert_eq!(rows.status, 200);
    assert!(text(&rows).contains("ours"));
    assert!(!text(&rows).contains("theirs"));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn what_another_site_sends_is_refused_as_a_page(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.product("acme", "ada@x.io", "kiosk").await;
    let token = stage.token(&viewer).await;
    let request = TestRequest::post()
        .uri("/org/acme/kiosk/devices")
        .insert_header(("sec-fetch-site", "cross-site"))
        .set_form([("identifier", "forged")]);
    let refused = stage.call(Some(&token), request).await;
    assert_eq!(refused.status, 403);
    assert!(text(&refused).contains("another site"));
    assert!(stage.audited().await.iter().all(|action| action != "device.created"));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_secret_is_made_shown_once_and_deactivated_by_the_products_name(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.product("acme", "ada@x.io", "kiosk").await;
    let token = stage.token(&viewer).await;
    let url = "/org/acme/kiosk/secrets";
    let send = async |path: String, fields: &[(&str, &str)]| {
        stage
            .call(Some(&token), TestRequest::post().uri(&path).set_form(fields))
            .await
    };
    assert!(text(&stage.get(&token, url).await).contains("No secret yet"));
    let made = send(url.to_owned(), &[("any", "thing")]).await;
    assert_eq!(made.status, 200);
    assert!(text(&made).contains("shared_key = &#34;nhp_"), "{}", text(&made));
    let listed = text(&stage.get(&token, url).await);
    assert!(listed.contains("nhp_") && !listed.contains("shared_secret ="));
    let id: String = sqlx::query_scalar("SELECT id::text FROM shared_secrets")
        .fetch_one(&stage.platform().db)
        .await
        .unwrap();
    let off = format!("{url}/{id}/deactivate");
    assert!(text(&stage.get(&token, &off).await).contains("Type the product&#39;s name"));
    assert_eq!(send(off.clone(), &[("confirm", "lamp")]).await.status, 422);
    assert_eq!(send(off.clone(), &[("confirm", "kiosk")]).await.status, 303);
    assert!(text(&stage.get(&token, url).await).contains("Deactivated"));
    assert_eq!(stage.get(&token, &off).await.status, 404);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn renewal_is_switched_on_where_the_server_holds_the_cas_key(db: PgPool) {
    use crate::ca::service as ca;
    use crate::platform::sweep::Sweep;
    let stage = Stage::new(db).await;
    let (viewer, product) = stage.product("acme", "ada@x.io", "kiosk").await;
    let token = stage.token(&viewer).await;
    let mut tx = stage.platform().db.begin().await.unwrap();
    let own = ca::create_own(
        &mut tx,
        stage.platform(),
        Sweep::of_the_server(),
        product.org().id(),
        "factory",
    )
    .await;
    own.unwrap();
    tx.commit().await.unwrap();
    let serial: String = sqlx::query_scalar("SELECT serial FROM ca_certificates")
        .fetch_one(&stage.platform().db)
        .await
        .unwrap();
    let url = "/org/acme/settings/authorities";
    assert!(text(&stage.get(&token, url).await).contains("/renewal"));
    let request = TestRequest::post()
        .uri(&format!("{url}/{serial}/renewal"))
        .set_form([("renews", "true")]);
    assert_eq!(stage.call(Some(&token), request).await.status, 303);
    assert!(text(&stage.get(&token, url).await).contains("renews devices' certificates"));
}
