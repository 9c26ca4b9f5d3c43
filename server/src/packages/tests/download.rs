//! Archives by signed links.

use actix_web::http::Method;
use sqlx::PgPool;
use time::Duration;

use super::*;
use crate::firmware::FirmwareId;
use crate::packages::Holder;

/// A link of a device to what was uploaded, and the archive's bytes.
async fn linked(stage: &Stage) -> (String, Vec<u8>) {
    let (_, product, token) = owner(stage).await;
    let bytes = archive(&kiosk("1.0.0"), 1_300_000, &alpha());
    assert_eq!(upload(stage, &token, &bytes).await.status, 201);
    let id: FirmwareId = sqlx::query_scalar("SELECT id FROM firmwares")
        .fetch_one(&stage.platform().db)
        .await
        .unwrap();
    let (now, holder) = (stage.platform().clock.now(), Holder::Device(uuid::Uuid::from_u128(9)));
    let url = stage.app.package_urls.sign(product.org().id(), id, holder, now);
    let path = url.strip_prefix("https://localhost:4001").unwrap().to_owned();
    (path, bytes)
}

async fn fetch(stage: &Stage, path: &str, range: &str) -> Answer {
    let mut request = TestRequest::get().uri(path);
    if !range.is_empty() {
        request = request.insert_header((header::RANGE, range));
    }
    stage.call(None, request).await
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_link_gives_the_archive_and_any_part_of_it(db: PgPool) {
    let stage = Stage::new(db).await;
    let (path, bytes) = linked(&stage).await;
    let size = bytes.len();
    let whole = fetch(&stage, &path, "").await;
    assert_eq!(whole.status, 200);
    assert!(whole.bytes == bytes);
    assert_eq!(whole.header(header::ACCEPT_RANGES), "bytes");
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=600000-", 600_000, size),
        ("bytes=600000-99999999", 600_000, size),
        ("bytes=-100", size - 100, size),
        ("bytes=524287-1048577", 524_287, 1_048_578),
    ] {
        let part = fetch(&stage, &path, range).await;
        assert_eq!(part.status, 206, "{range}");
        assert!(part.bytes == bytes[from..to], "{range}");
        assert_eq!(
            part.header(header::CONTENT_RANGE),
            format!("bytes {from}-{}/{size}", to - 1)
        );
    }
    let outside = fetch(&stage, &path, &format!("bytes={size}-")).await;
    assert_eq!(outside.status, 416);
    assert_eq!(outside.header(header::CONTENT_RANGE), format!("bytes */{size}"));
    let several = fetch(&stage, &path, "bytes=0-1,4-5").await;
    assert_eq!((several.status.as_u16(), several.bytes.len()), (200, size));
    let sent = stage.platform().metrics.package_bytes_sent.get();
    assert!(sent >= 3 * size as u64, "{sent}");
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_resumed_download_is_whole_when_the_archive_is_another(db: PgPool) {
    let stage = Stage::new(db).await;
    let (path, bytes) = linked(&stage).await;
    let etag = fetch(&stage, &path, "").await.header(header::ETAG).to_owned();
    for (condition, status) in [(etag.as_str(), 206), ("\"other\"", 200)] {
        let request = TestRequest::get()
            .uri(&path)
            .insert_header((header::RANGE, "bytes=10-"))
            .insert_header((header::IF_RANGE, condition));
        assert_eq!(stage.call(None, request).await.status, status);
    }
    let head = stage
        .call(None, TestRequest::with_uri(&path).method(Method::HEAD))
        .await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header(header::ETAG), etag);
    assert!(head.bytes.is_empty() && !bytes.is_empty());
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn links_that_ended_or_are_foreign_are_403_with_a_sentence(db: PgPool) {
    let stage = Stage::new(db).await;
    let (path, _) = linked(&stage).await;
    let (file, query) = path.split_once('?').unwrap();
    let foreign = "This link is not valid for this file.";
    for bad in [
        file.to_owned(),
        format!("{file}?{}", query.replace("expires=", "expires=1")),
        format!("{file}?{}", query.replace("device=0", "device=1")),
        format!("{file}?{query}A"),
        format!("{}?{query}", file.replace("/firmware/0", "/firmware/1")),
        format!("{file}?expires=soon&signature=x"),
    ] {
        let answer = fetch(&stage, &bad, "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.detail().as_str()),
            (403, foreign),
            "{bad}"
        );
    }
    assert_eq!(
        fetch(&stage, "/firmware/x/y.fw?expires=1&signature=x", "").await.status,
        404
    );
    stage.platform().clock.advance(Duration::hours(24));
    let ended = fetch(&stage, &path, "").await;
    assert_eq!(
        (ended.status.as_u16(), ended.detail().as_str()),
        (403, "This link has expired; ask for a new one.")
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn deleted_firmware_is_404_by_an_old_link(db: PgPool) {
    let stage = Stage::new(db).await;
    let (path, _) = linked(&stage).await;
    assert_eq!(fetch(&stage, &path, "").await.status, 200);
    stage.remove_blobs();
    assert_eq!(fetch(&stage, &path, "").await.status, 404);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn an_operator_is_sent_to_the_archive(db: PgPool) {
    let stage = Stage::new(db).await;
    let (_, _, token) = owner(&stage).await;
    let made = upload(&stage, &token, KIOSK_1_0).await.data();
    let path = format!("{FIRMWARES}/{}/download", made["uuid"].as_str().unwrap());
    let sent = stage.get(&token, &path).await;
    assert_eq!(sent.status, 302);
    let file = fetch(&stage, sent.header(header::LOCATION), "").await;
    assert!(file.bytes == KIOSK_1_0);
}
