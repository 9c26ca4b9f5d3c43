//! What becomes firmware, and what does not.

use serde_json::{Value, json};
use sqlx::PgPool;
use time::Duration;

use super::*;
use crate::accounts::Role;
use crate::firmware::FirmwareId;
use crate::packages::service;
use crate::packages::upload::{UploadError, begin, begin_up_to};
use crate::platform::blobs::BlobName;
use crate::platform::sweep::Sweep;

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn signed_archives_become_firmware_listed_newest_first(db: PgPool) {
    let stage = Stage::new(db.clone()).await;
    let (_, _, token) = owner(&stage).await;
    let made = upload(&stage, &token, KIOSK_1_0).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let uuid = made.data()["uuid"].as_str().unwrap().to_owned();
    assert_eq!(made.header(header::LOCATION), format!("{FIRMWARES}/{uuid}"));
    assert_eq!(upload(&stage, &token, KIOSK_1_1).await.status, 201);
    for version in ["1.10.0", "1.9.0", "1.10.0-rc.1"] {
        let made = upload(&stage, &token, &archive(&kiosk(version), 300_000, &alpha())).await;
        assert_eq!(made.status, 201, "{}", made.json());
    }
    let listed = stage.get(&token, FIRMWARES).await.data();
    let versions: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["1.10.0", "1.10.0-rc.1", "1.9.0", "1.1.0", "1.0.0"]);
    let shown = stage.get(&token, &format!("{FIRMWARES}/{uuid}")).await.data();
    for (key, value) in [
        ("platform", "generic"),
        ("architecture", "x86_64"),
        ("author", "Kiosk Makers"),
        ("product", "kiosk"),
        ("tool", "fwup"),
        ("signed_by", "prod"),
    ] {
        assert_eq!(shown[key], value);
    }
    assert_eq!(shown["size"], KIOSK_1_0.len());
    assert_eq!(rows_and_blobs(&stage).await, (5, 5));
    let events: Vec<String> = sqlx::query_scalar("SELECT kind FROM events")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(events, vec!["firmware.changed"; 5]);
    assert_eq!(
        stage
            .audited()
            .await
            .iter()
            .filter(|action| *action == "firmware.uploaded")
            .count(),
        5
    );
    assert!(
        stage
            .platform()
            .metrics
            .text()
            .unwrap()
            .contains(r#"uploads_total{outcome="stored"} 5"#)
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn an_archive_and_a_version_are_taken_once_in_a_product(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _, token) = owner(&stage).await;
    assert_eq!(upload(&stage, &token, KIOSK_1_0).await.status, 201);
    let again = upload(&stage, &token, KIOSK_1_0).await;
    assert_eq!(again.status, 422);
    assert_eq!(again.json(), json!({"errors": {"uuid": ["has already been taken"]}}));
    let same_version = archive(&kiosk("1.0.0"), 1000, &alpha());
    let answer = upload(&stage, &token, &same_version).await;
    assert_eq!(answer.status, 422);
    assert!(
        answer.json()["errors"]["version"][0]
            .as_str()
            .unwrap()
            .starts_with("has already been taken")
    );
    assert_eq!(rows_and_blobs(&stage).await, (1, 1));
    let body = json!({"require_unique_firmware_version": false});
    stage.put(&token, "/api/orgs/acme/products/kiosk", body).await;
    assert_eq!(upload(&stage, &token, &same_version).await.status, 201);
    let (_, beta_product) = stage.product("beta", "bob@x.io", "kiosk").await;
    let stranger = stage.token(&viewer).await;
    assert_eq!(
        stage
            .get(
                &stranger,
                &format!("/api/orgs/{}/products/kiosk/firmwares", beta_product.org().name())
            )
            .await
            .status,
        404
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn what_is_no_good_is_422_with_a_sentence_and_leaves_nothing(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, _, token) = owner(&stage).await;
    let (other, _) = stage.member("other", "eve@x.io", Role::Admin).await;
    let other = stage.token(&other).await;
    trust(&stage, &other, "other", &beta()).await;
    let lines = kiosk("1.0.0");
    let without = |line: &str| {
        lines
            .lines()
            .filter(|kept| !kept.starts_with(line))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("unsigned", UNSIGNED.to_vec(), "is not signed"),
        (
            "a key of another org",
            archive(&lines, 300_000, &beta()),
            "none of this org's signing keys",
        ),
        ("truncated", KIOSK_1_0[..40_000].to_vec(), "ends in the middle"),
        (
            "truncated late",
            archive(&lines, 400_000, &alpha())[..390_000].to_vec(),
            "ends in the middle",
        ),
        (
            "a changed byte",
            flipped(&archive(&lines, 400_000, &alpha())),
            "refused",
        ),
        (
            "a name that climbs",
            with_entry(KIOSK_1_0, "data/../x"),
            "named 'data/../x'",
        ),
        ("a name at the root", with_entry(KIOSK_1_0, "../x"), "named '../x'"),
        ("a delta", KIOSK_DELTA.to_vec(), "bzImage"),
        (
            "megabytes behind it",
            [KIOSK_1_0, &vec![0; 5 * 1024 * 1024]].concat(),
            "stand behind its last entry",
        ),
        ("no archive", b"hello".to_vec(), "refused"),
        ("nothing", Vec::new(), "refused"),
        (
            "another product",
            archive(&lines.replace("kiosk", "toaster"), 10, &alpha()),
            "for the product \"toaster\", not for \"kiosk\"",
        ),
        (
            "no product",
            archive(&without("meta-product"), 10, &alpha()),
            "no meta-product",
        ),
        (
            "no version",
            archive(&without("meta-version"), 10, &alpha()),
            "no meta-version",
        ),
        (
            "no platform",
            archive(&without("meta-platform"), 10, &alpha()),
            "no meta-platform",
        ),
        (
            "no architecture",
            archive(&without("meta-architecture"), 10, &alpha()),
            "no meta-architecture",
        ),
        (
            "a version that does not sort",
            archive(&kiosk("1.0"), 10, &alpha()),
            "\"1.0\" is not a semantic version",
        ),
    ];
    for (name, bytes, sentence) in cases {
        let answer = upload(&stage, &token, &bytes).await;
        assert_eq!(answer.status, 422, "{name}: {}", answer.json());
        assert!(answer.detail().contains(sentence), "{name}: {}", answer.detail());
        assert_eq!(rows_and_blobs(&stage).await, (0, 0), "{name}");
    }
    assert_eq!(stage.files(), Vec::<String>::new());
}

/// The archive with its middle byte changed.
fn flipped(archive: &[u8]) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

/// The archive with one more stored entry of this name, before the directory.
fn with_entry(archive: &[u8], name: &str) -> Vec<u8> {
    let at = archive.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let content = b"evil";
    let mut entry = b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0".to_vec();
    entry.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
    entry.extend_from_slice(&(content.len() as u32).to_le_bytes());
    entry.extend_from_slice(&(content.len() as u32).to_le_bytes());
    entry.extend_from_slice(&(name.len() as u16).to_le_bytes());
    entry.extend_from_slice(&[0, 0]);
    entry.extend_from_slice(name.as_bytes());
    entry.extend_from_slice(content);
    [&archive[..at], &entry, &archive[at..]].concat()
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn forms_that_hold_no_whole_archive_are_422(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, _, token) = owner(&stage).await;
    let whole = form(&[("firmware", KIOSK_1_0)]);
    for (body, sentence) in [
        (form(&[("file", KIOSK_1_0)]), "no file part named \"firmware\""),
        (whole[..50_000].to_vec(), "ended in the middle"),
        (whole[..whole.len() - 11].to_vec(), "ended in the middle"),
        (form(&[("firmware", KIOSK_1_0), ("ttl", b"soon")]), "ttl must be"),
        (form(&[("ttl", b"0"), ("firmware", KIOSK_1_0)]), "ttl must be"),
        (b"garbage".to_vec(), "ended in the middle"),
    ] {
        let answer = send(&stage, &token, FIRMWARES, body).await;
        assert_eq!(answer.status, 422, "{}", answer.json());
        assert!(answer.detail().contains(sentence), "{}", answer.detail());
    }
    let json = stage.post(&token, FIRMWARES, json!({})).await;
    assert_eq!(json.status, 422);
    assert_eq!(rows_and_blobs(&stage).await, (0, 0));
    assert_eq!(stage.files(), Vec::<String>::new());
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn an_oversized_upload_ends_at_the_limit(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, product, _) = owner(&stage).await;
    let mut upload = begin_up_to::<FirmwareId>(stage.platform(), &product, 50_000)
        .await
        .unwrap();
    upload.write(&KIOSK_1_0[..50_000]).await.unwrap();
    let error = upload.write(&KIOSK_1_0[50_000..50_001]).await.unwrap_err();
    assert!(matches!(error, UploadError::TooLarge(50_000)));
    upload.abort().await;
    assert_eq!(rows_and_blobs(&stage).await, (0, 0));
    assert_eq!(
        UploadError::TooLarge(200 * 1024 * 1024).to_string(),
        "The archive is larger than 200 MiB, which is the most that is taken."
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_client_that_hangs_up_leaves_nothing(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, product, _) = owner(&stage).await;
    let bytes = archive(&kiosk("1.0.0"), 7 * 1024 * 1024, &alpha());
    let mut upload = begin::<FirmwareId>(stage.platform(), &product).await.unwrap();
    for piece in bytes[..6 * 1024 * 1024].chunks(30_000) {
        upload.write(piece).await.unwrap();
    }
    assert_eq!(stage.files().len(), 1, "the unfinished part");
    drop(upload);
    for _ in 0..500 {
        if stage.files().is_empty() {
            break;
        }
        tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
    }
    assert_eq!(stage.files(), Vec::<String>::new());
    assert_eq!(rows_and_blobs(&stage).await, (0, 0));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_store_that_fails_is_our_failure_and_leaves_no_row(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, _, token) = owner(&stage).await;
    stage.break_store();
    let answer = upload(&stage, &token, KIOSK_1_0).await;
    assert_eq!(answer.status, 500);
    assert_eq!(rows_and_blobs(&stage).await.0, 0);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn what_changes_during_an_upload_is_noticed_at_its_end(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, product, token) = owner(&stage).await;
    let mut first = begin::<FirmwareId>(stage.platform(), &product).await.unwrap();
    let mut second = begin::<FirmwareId>(stage.platform(), &product).await.unwrap();
    let mut third = begin::<FirmwareId>(stage.platform(), &product).await.unwrap();
    for upload in [&mut first, &mut second, &mut third] {
        upload.write(KIOSK_1_0).await.unwrap();
    }
    first.finish(None).await.unwrap();
    assert!(matches!(second.finish(None).await, Err(UploadError::UuidTaken)));
    assert_eq!(stage.delete(&token, "/api/orgs/acme/products/kiosk").await.status, 204);
    assert!(matches!(third.finish(None).await, Err(UploadError::ProductGone)));
    assert_eq!(rows_and_blobs(&stage).await, (1, 1));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn only_who_may_manage_the_product_uploads(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, _, token) = owner(&stage).await;
    let (guest, _) = stage.member("acme", "bob@x.io", Role::View).await;
    let guest = stage.token(&guest).await;
    assert_eq!(upload(&stage, &guest, KIOSK_1_0).await.status, 403);
    let (stranger, product) = stage.product("other", "eve@x.io", "kiosk").await;
    let stranger = stage.token(&stranger).await;
    assert_eq!(upload(&stage, &stranger, KIOSK_1_0).await.status, 404);
    let answer = send(
        &stage,
        &stranger,
        "/api/orgs/other/products/kiosk/firmwares",
        form(&[("firmware", KIOSK_1_0)]),
    )
    .await;
    assert_eq!(answer.status, 422);
    assert!(answer.detail().starts_with("This org has no signing key."));
    assert_eq!(rows_and_blobs(&stage).await, (0, 0));
    let made = upload(&stage, &token, KIOSK_1_0).await.data();
    let path = format!("{FIRMWARES}/{}", made["uuid"].as_str().unwrap());
    assert_eq!(stage.get(&guest, &path).await.status, 200);
    assert_eq!(stage.get(&stranger, &path).await.status, 404);
    assert_eq!(stage.get(&stranger, &path.replace("acme", "other")).await.status, 404);
    assert_eq!(stage.delete(&guest, &path).await.status, 403);
    assert_eq!(stage.get(&guest, &format!("{path}/download")).await.status, 403);
    assert_eq!(product.org().name(), "other");
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn firmware_is_deleted_with_its_blob_unless_a_release_uses_it(db: PgPool) {
    let stage = Stage::new(db.clone()).await;
    let (_, product, token) = owner(&stage).await;
    let used = upload(&stage, &token, KIOSK_1_0).await.data();
    let free = upload(&stage, &token, KIOSK_1_1).await.data();
    release(&db, &product, &used).await;
    let path = |made: &Value| format!("{FIRMWARES}/{}", made["uuid"].as_str().unwrap());
    let refused = stage.delete(&token, &path(&used)).await;
    assert_eq!(refused.status, 422);
    assert!(refused.json()["errors"]["deployment_releases"].is_array());
    assert_eq!(stage.delete(&token, &path(&free)).await.status, 204);
    assert_eq!(stage.delete(&token, &path(&free)).await.status, 404);
    assert_eq!(stage.get(&token, &format!("{FIRMWARES}/nonsense")).await.status, 404);
    assert_eq!(rows_and_blobs(&stage).await, (1, 1));
    let key = stage.delete(&token, "/api/orgs/acme/keys/prod").await;
    assert_eq!(key.status, 409);
    assert!(key.json()["errors"]["firmwares"].is_array());
}

async fn release(db: &PgPool, product: &Product, firmware: &Value) {
    let uuid: uuid::Uuid = firmware["uuid"].as_str().unwrap().parse().unwrap();
    sqlx::query(
        "WITH made AS (INSERT INTO deployment_groups (id, org_id, product_id, name, created_at, updated_at)
             VALUES (gen_random_uuid(), $1, $2, 'prod', now(), now()) RETURNING id)
         INSERT INTO releases (id, group_id, number, firmware_id, created_at)
         SELECT gen_random_uuid(), made.id, 1, f.id, now() FROM made, firmwares f WHERE f.uuid = $3",
    )
    .bind(product.org().id())
    .bind(product.id())
    .bind(uuid)
    .execute(db)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn the_sweep_removes_what_expired_and_what_no_row_has(db: PgPool) {
    let stage = Stage::new(db.clone()).await;
    let (_, product, token) = owner(&stage).await;
    let made = send(
        &stage,
        &token,
        FIRMWARES,
        form(&[("firmware", KIOSK_1_0), ("ttl", b"3600")]),
    )
    .await;
    assert_eq!(made.data()["expires_at"], "2026-08-20T11:11:12Z");
    let kept = send(
        &stage,
        &token,
        FIRMWARES,
        form(&[("ttl", b"3600"), ("firmware", KIOSK_1_1)]),
    )
    .await;
    release(&db, &product, &kept.data()).await;
    let orphan = BlobName::stored("firmware/nobody/orphan.fw".to_owned());
    stage
        .platform()
        .blobs
        .write(&orphan)
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    let sweep = || service::sweep::<FirmwareId>(stage.platform(), Sweep::of_the_server());
    stage.platform().clock.advance(Duration::minutes(59));
    sweep().await.unwrap();
    assert_eq!(rows_and_blobs(&stage).await, (2, 3));
    stage.platform().clock.advance(Duration::days(36500));
    sweep().await.unwrap();
    assert_eq!(rows_and_blobs(&stage).await, (1, 1));
}
