//! Archives over REST: in, listed, out by a link of an hour, deleted; and what releases make of them.

use actix_web::http::header;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use sqlx::PgPool;
use time::Duration;
use uuid::Uuid;

use super::ArchiveId;
use crate::accounts::Role;
use crate::firmware::FirmwareId;
use crate::packages::tests::{alpha, archive, form, kiosk, owner, send, trust};
use crate::packages::upload::{UploadError, begin_up_to};
use crate::packages::{Holder, Kind, service};
use crate::platform::blobs::BlobName;
use crate::platform::sweep::Sweep;
use crate::testing::{Answer, Stage};

const PRODUCT: &str = "/api/orgs/acme/products/kiosk";
const ARCHIVES: &str = "/api/orgs/acme/products/kiosk/archives";
const GROUP: &str = "/api/orgs/acme/products/kiosk/deployments/prod";

async fn upload(stage: &Stage, token: &str, version: &str) -> Answer {
    let bytes = archive(&kiosk(version), 5000, &alpha());
    send(stage, token, ARCHIVES, form(&[("archive", &bytes)])).await
}

/// The UUID of an archive that was taken.
async fn made(stage: &Stage, token: &str, version: &str) -> Value {
    let answer = upload(stage, token, version).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.data()["uuid"].clone()
}

/// The UUID of firmware that was taken.
async fn firmware(stage: &Stage, token: &str, path: &str) -> Value {
    let bytes = archive(&kiosk("1.0.0"), 1000, &alpha());
    let answer = send(
        stage,
        token,
        &format!("{path}/firmwares"),
        form(&[("firmware", &bytes)]),
    )
    .await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.data()["uuid"].clone()
}

async fn group(stage: &Stage, token: &str, firmware: &Value) {
    let body = json!({ "name": "prod", "firmware": firmware, "conditions": {} });
    let answer = stage.post(token, &format!("{PRODUCT}/deployments"), body).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
}

async fn release(stage: &Stage, token: &str, parts: Value) -> Answer {
    stage.put(token, GROUP, json!({ "deployment": parts })).await
}

async fn count(stage: &Stage) -> (i64, usize) {
    let rows = sqlx::query_scalar("SELECT count(*) FROM archives").fetch_one(&stage.platform().db);
    let blobs = stage.platform().blobs.list_written_before("archives", i64::MAX);
    (rows.await.unwrap(), blobs.await.unwrap().len())
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn signed_archives_are_taken_listed_and_fetched(db: PgPool) {
    let stage = Stage::new(db.clone()).await;
    let (_, _, token) = owner(&stage).await;
    let bytes = archive(&kiosk("0.3.1"), 700_000, &alpha());
    let made = send(&stage, &token, ARCHIVES, form(&[("archive", &bytes)])).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let uuid = made.data()["uuid"].as_str().unwrap().to_owned();
    let path = format!("{ARCHIVES}/{uuid}");
    assert_eq!(made.header(header::LOCATION), path);
    assert_eq!(upload(&stage, &token, "0.10.0").await.status, 201);
    let listed = stage.get(&token, ARCHIVES).await.data();
    let versions: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["0.10.0", "0.3.1"]);
    let shown = stage.get(&token, &path).await.data();
    assert_eq!(
        (&shown["size"], &shown["signed_by"]),
        (&json!(bytes.len()), &json!("prod"))
    );
    assert_eq!(
        stage.get(&token, &format!("{PRODUCT}/firmwares")).await.data(),
        json!([])
    );

    let sent = stage.get(&token, &format!("{path}/download")).await;
    assert_eq!(sent.status, 302);
    let file = stage
        .call(None, TestRequest::get().uri(sent.header(header::LOCATION)))
        .await;
    assert!(file.bytes == bytes);
    let again = send(&stage, &token, ARCHIVES, form(&[("archive", &bytes)])).await;
    assert_eq!(again.json(), json!({"errors": {"uuid": ["has already been taken"]}}));
    let kinds: Vec<String> = sqlx::query_scalar("SELECT kind FROM events")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(kinds, ["archive.changed"; 2]);
    assert!(stage.audited().await.contains(&"archive.uploaded".to_owned()));
    assert_eq!(stage.delete(&token, &path).await.status, 204);
    assert_eq!(stage.delete(&token, &path).await.status, 404);
    assert_eq!(count(&stage).await, (1, 1));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn what_is_no_good_leaves_nothing_and_only_who_may_manage_uploads(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, product, token) = owner(&stage).await;
    let bytes = archive(&kiosk("1.0.0"), 60_000, &alpha());
    let foreign = muster_fwup::PrivateKey::generate().unwrap();
    let other_product = kiosk("1.0.0").replace("kiosk", "toaster");
    for (body, sentence) in [
        (
            form(&[("archive", &archive(&kiosk("1.0.0"), 1000, &foreign))]),
            "none of this org's signing keys",
        ),
        (
            form(&[("archive", &archive(&other_product, 1000, &alpha()))]),
            "not for \"kiosk\"",
        ),
        (form(&[("archive", &bytes[..50_000])]), "ends in the middle"),
        (form(&[("firmware", &bytes)]), "no file part named \"archive\""),
    ] {
        let answer = send(&stage, &token, ARCHIVES, body).await;
        assert_eq!(answer.status, 422);
        assert!(answer.detail().contains(sentence), "{}", answer.detail());
    }
    let mut upload = begin_up_to::<ArchiveId>(stage.platform(), &product, 50_000)
        .await
        .unwrap();
    upload.write(&bytes[..50_000]).await.unwrap();
    let error = upload.write(&bytes[50_000..50_001]).await.unwrap_err();
    assert!(matches!(error, UploadError::TooLarge(50_000)));
    upload.abort().await;
    assert_eq!(count(&stage).await, (0, 0));
    assert_eq!(crate::packages::model::MAX_ARCHIVE_BYTES, 200 * 1024 * 1024);

    let (guest, _) = stage.member("acme", "bob@x.io", Role::View).await;
    let guest = stage.token(&guest).await;
    let answer = send(&stage, &guest, ARCHIVES, form(&[("archive", &bytes)])).await;
    assert_eq!(answer.status, 403);
    let (stranger, _) = stage.product("other", "eve@x.io", "kiosk").await;
    let stranger = stage.token(&stranger).await;
    assert_eq!(stage.get(&stranger, ARCHIVES).await.status, 404);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_link_is_good_for_an_hour_and_opens_no_firmware(db: PgPool) {
    let stage = Stage::new(db.clone()).await;
    let (_, product, token) = owner(&stage).await;
    made(&stage, &token, "1.0.0").await;
    let id: ArchiveId = sqlx::query_scalar("SELECT id FROM archives")
        .fetch_one(&db)
        .await
        .unwrap();
    let (org, now, holder) = (
        product.org().id(),
        stage.platform().clock.now(),
        Holder::Device(Uuid::from_u128(9)),
    );
    let url = stage.app.package_urls.sign(org, id, holder, now);
    let path = url.strip_prefix("https://localhost:4001").unwrap();
    assert!(path.starts_with(&format!("/archives/{org}/{id}.fw?device=")));
    let get = |path: String, range: &'static str| {
        let request = TestRequest::get().uri(&path).insert_header((header::RANGE, range));
        stage.call(None, request)
    };
    let whole = get(path.to_owned(), "").await;
    assert_eq!(whole.status, 200);
    let part = get(path.to_owned(), "bytes=1000-9999999").await;
    assert_eq!(part.status, 206);
    assert!(part.bytes == whole.bytes[1000..]);
    // The same id and signature do not open another kind.
    let as_firmware = get(path.replace("/archives/", "/firmware/"), "").await;
    assert_eq!(as_firmware.status, 403);
    let firmware = stage.app.package_urls.sign(org, FirmwareId(id.0), holder, now);
    let as_archive = firmware
        .strip_prefix("https://localhost:4001")
        .unwrap()
        .replace("/firmware/", "/archives/");
    assert_eq!(get(as_archive, "").await.status, 403);
    stage.platform().clock.advance(Duration::seconds(3599));
    assert_eq!(get(path.to_owned(), "").await.status, 200);
    stage.platform().clock.advance(Duration::seconds(1));
    assert_eq!(get(path.to_owned(), "").await.status, 403);
    assert_eq!(ArchiveId::LINK_LIFETIME, Some(Duration::hours(1)));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_release_has_the_archive_that_is_named_and_none_otherwise(db: PgPool) {
    let stage = Stage::new(db.clone()).await;
    let (_, _, token) = owner(&stage).await;
    let (fw, archive) = (
        firmware(&stage, &token, PRODUCT).await,
        made(&stage, &token, "0.1.0").await,
    );
    group(&stage, &token, &fw).await;
    assert_eq!(stage.get(&token, GROUP).await.data()["archive_uuid"], Value::Null);
    let news = || async {
        let sql = "SELECT count(*) FROM events WHERE kind = 'deployment.archive'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&db).await.unwrap()
    };
    for (parts, expected, told) in [
        (json!({"firmware": fw, "archive": archive}), archive.clone(), 1),
        (json!({"firmware": fw, "archive_id": archive}), archive.clone(), 1),
        (json!({"firmware_id": fw}), Value::Null, 1),
        (json!({"firmware": fw, "archive": archive}), archive.clone(), 2),
        (json!({"firmware": fw, "archive": null}), Value::Null, 2),
    ] {
        let released = release(&stage, &token, parts.clone()).await;
        assert_eq!(released.status, 200, "{parts}: {}", released.json());
        assert_eq!(released.data()["archive_uuid"], expected, "{parts}");
        assert_eq!(news().await, told, "{parts}");
    }
    let refused = stage
        .delete(&token, &format!("{ARCHIVES}/{}", archive.as_str().unwrap()))
        .await;
    assert_eq!(refused.status, 422);
    let sentence = "use it: release 5 of prod, release 3 of prod, release 2 of prod";
    assert_eq!(refused.json()["errors"]["deployment_releases"][0], sentence);
    let alone = release(&stage, &token, json!({"archive": archive})).await;
    assert_eq!(alone.json(), json!({"errors": {"firmware": ["can't be blank"]}}));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn an_archive_of_another_product_or_org_is_422(db: PgPool) {
    let stage = Stage::new(db.clone()).await;
    let (_, _, token) = owner(&stage).await;
    let fw = firmware(&stage, &token, PRODUCT).await;
    group(&stage, &token, &fw).await;
    stage
        .post(&token, "/api/orgs/acme/products", json!({"name": "toaster"}))
        .await;
    let (stranger, _) = stage.product("other", "eve@x.io", "kiosk").await;
    let stranger = stage.token(&stranger).await;
    trust(&stage, &stranger, "other", &alpha()).await;
    let mut foreign = Vec::new();
    for (token, path, lines) in [
        (
            &token,
            "/api/orgs/acme/products/toaster/archives",
            kiosk("1.0.0").replace("kiosk", "toaster"),
        ),
        (&stranger, "/api/orgs/other/products/kiosk/archives", kiosk("7.0.0")),
    ] {
        let made = send(
            &stage,
            token,
            path,
            form(&[("archive", &archive(&lines, 1000, &alpha()))]),
        )
        .await;
        assert_eq!(made.status, 201, "{}", made.json());
        foreign.push(made.data()["uuid"].clone());
    }
    foreign.push(json!(Uuid::nil()));
    for uuid in foreign {
        let answer = release(&stage, &token, json!({"firmware": fw, "archive": uuid})).await;
        assert_eq!(answer.status, 422);
        assert_eq!(
            answer.json(),
            json!({"errors": {"archive": ["is not an archive of this product"]}})
        );
        let body = json!({ "name": "second", "firmware": fw, "archive": uuid, "conditions": {} });
        assert_eq!(
            stage.post(&token, &format!("{PRODUCT}/deployments"), body).await.status,
            422
        );
    }
    let nonsense = release(&stage, &token, json!({"firmware": fw, "archive": "x"})).await;
    assert_eq!(nonsense.json(), json!({"errors": {"archive": ["is not a UUID"]}}));
    let releases: i64 = sqlx::query_scalar("SELECT count(*) FROM releases")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(releases, 1);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn the_sweep_knows_archives_and_leaves_other_kinds_alone(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, _, token) = owner(&stage).await;
    let fw = firmware(&stage, &token, PRODUCT).await;
    let bytes = archive(&kiosk("0.1.0"), 1000, &alpha());
    let expires = send(&stage, &token, ARCHIVES, form(&[("ttl", b"3600"), ("archive", &bytes)])).await;
    assert_eq!(expires.data()["expires_at"], "2026-08-20T11:11:12Z");
    let used = archive(&kiosk("0.2.0"), 1000, &alpha());
    let used = send(&stage, &token, ARCHIVES, form(&[("ttl", b"3600"), ("archive", &used)])).await;
    group(&stage, &token, &fw).await;
    let parts = json!({"firmware": fw, "archive": used.data()["uuid"]});
    assert_eq!(release(&stage, &token, parts).await.status, 200);
    let orphan = BlobName::stored("archives/nobody/orphan.fw".to_owned());
    stage
        .platform()
        .blobs
        .write(&orphan)
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    let proof = Sweep::of_the_server();
    service::sweep::<FirmwareId>(stage.platform(), proof).await.unwrap();
    assert_eq!(count(&stage).await, (2, 3));
    stage.platform().clock.advance(Duration::days(36500));
    service::sweep::<FirmwareId>(stage.platform(), proof).await.unwrap();
    assert_eq!(count(&stage).await, (2, 3));
    service::sweep::<ArchiveId>(stage.platform(), proof).await.unwrap();
    assert_eq!(count(&stage).await, (1, 1));
    let firmware = stage
        .platform()
        .blobs
        .list_written_before("firmware", i64::MAX)
        .await
        .unwrap();
    assert_eq!(firmware.len(), 1);
    let key = stage.delete(&token, "/api/orgs/acme/keys/prod").await;
    assert_eq!(key.status, 409);
}
