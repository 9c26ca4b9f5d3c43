//! Uploads, and what becomes of them, by firmware, which is the oldest kind. The archives are fwup's own, or made here.

mod download;
mod upload;

use std::path::Path;

use actix_web::http::header;
use actix_web::test::TestRequest;
use muster_fwup::{CreateOptions, Env, PrivateKey, create_from_str};
use serde_json::json;

use crate::accounts::Viewer;
use crate::products::Product;
use crate::testing::{Answer, Stage};

const KIOSK_1_0: &[u8] = include_bytes!("../../../../tests/fixtures/fwup/fw/kiosk-1.0.0.fw");
const KIOSK_1_1: &[u8] = include_bytes!("../../../../tests/fixtures/fwup/fw/kiosk-1.1.0.fw");
const KIOSK_DELTA: &[u8] = include_bytes!("../../../../tests/fixtures/fwup/fw/kiosk-delta-1.1.0-1.2.0.fw");
const UNSIGNED: &[u8] = include_bytes!("../../../../tests/fixtures/fwup/fw/signed-none.fw");
const ALPHA: &str = include_str!("../../../../tests/fixtures/fwup/keys/alpha.priv");
const BETA: &str = include_str!("../../../../tests/fixtures/fwup/keys/beta.priv");
const FIRMWARES: &str = "/api/orgs/acme/products/kiosk/firmwares";

pub(crate) fn alpha() -> PrivateKey {
    ALPHA.parse().unwrap()
}

fn beta() -> PrivateKey {
    BETA.parse().unwrap()
}

/// An archive with these lines of metadata and one resource of `size` bytes that do not compress.
pub(crate) fn archive(lines: &str, size: usize, key: &PrivateKey) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.push((state >> 56) as u8);
    }
    std::fs::write(dir.path().join("rootfs.img"), bytes).unwrap();
    let text = format!(
        "{lines}\nfile-resource rootfs.img {{ host-path=\"rootfs.img\" }}\ntask upgrade {{ on-resource rootfs.img {{ raw_write(0) }} }}\n"
    );
    let options = CreateOptions {
        compression: 1,
        signing_key: Some(key),
        ..CreateOptions::default()
    };
    let mut out = Vec::new();
    create_from_str(&text, Path::new(dir.path()), &Env::new(), &options, &mut out).unwrap();
    out
}

/// Lines of metadata of a kiosk.
pub(crate) fn kiosk(version: &str) -> String {
    format!(
        "meta-product=\"kiosk\"\nmeta-version=\"{version}\"\nmeta-platform=\"generic\"\nmeta-architecture=\"x86_64\""
    )
}

/// An admin of acme with the product kiosk, who trusts alpha; and a token.
pub(crate) async fn owner(stage: &Stage) -> (Viewer, Product, String) {
    let (viewer, product) = stage.product("acme", "ada@x.io", "kiosk").await;
    let token = stage.token(&viewer).await;
    trust(stage, &token, "acme", &alpha()).await;
    (viewer, product, token)
}

pub(crate) async fn trust(stage: &Stage, token: &str, org: &str, key: &PrivateKey) {
    let body = json!({"name": "prod", "key": key.public().to_string()});
    let answer = stage.post(token, &format!("/api/orgs/{org}/keys"), body).await;
    assert_eq!(answer.status, 201);
}

/// A form with these parts, as a client sends it.
pub(crate) fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in parts {
        body.extend_from_slice(
            format!("--limit\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"x\"\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--limit--\r\n");
    body
}

pub(crate) async fn send(stage: &Stage, token: &str, path: &str, body: Vec<u8>) -> Answer {
    let request = TestRequest::post()
        .uri(path)
        .insert_header((header::CONTENT_TYPE, "multipart/form-data; boundary=limit"))
        .set_payload(body);
    stage.call(Some(token), request).await
}

async fn upload(stage: &Stage, token: &str, archive: &[u8]) -> Answer {
    send(stage, token, FIRMWARES, form(&[("firmware", archive)])).await
}

/// How many rows and blobs there are.
async fn rows_and_blobs(stage: &Stage) -> (i64, usize) {
    let rows = sqlx::query_scalar("SELECT count(*) FROM firmwares").fetch_one(&stage.platform().db);
    let blobs = stage.platform().blobs.list();
    (rows.await.unwrap(), blobs.await.unwrap().len())
}
