use actix_web::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, SerialNumber};
use serde_json::{Value, json};
use sqlx::PgPool;
use time::Duration;
use time::macros::datetime;

use crate::accounts::Role;
use crate::testing::{Answer, Stage};

const CAS: &str = "/api/orgs/acme/ca_certificates";

/// A CA of an operator, made outside the server.
struct OutsideCa {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl OutsideCa {
    fn new(serial: u64) -> Self {
        let mut params = params(serial);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// A certificate that proves the possession of the CA by a token.
    fn proof(&self, token: &str) -> String {
        let mut params = params(7);
        let uri = format!("urn:nerveshub:verify:{token}");
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().pem()
    }
}

fn params(serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = datetime!(2026-01-01 0:00 UTC);
    params.not_after = datetime!(2036-01-01 0:00 UTC);
    params
}

async fn token(stage: &Stage, viewer: &str, org: &str) -> String {
    let path = format!("/api/orgs/{org}/ca_certificates/verification_token");
    let answer = stage.get(viewer, &path).await;
    answer.data()["verification_token"].as_str().unwrap().to_owned()
}

async fn register(stage: &Stage, viewer: &str, ca: &OutsideCa, proof: &str, more: Value) -> Answer {
    let mut body = json!({"cert": STANDARD.encode(&ca.pem), "verification_cert": STANDARD.encode(proof)});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    stage.post(viewer, CAS, body).await
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_proven_ca_is_registered_shown_and_removed(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.product("acme", "ada@x.io", "kiosk").await;
    let viewer = stage.token(&viewer).await;
    let ca = OutsideCa::new(5_111_552_077_003_819_958);
    let proof = ca.proof(&token(&stage, &viewer, "acme").await);
    let more =
        json!({"description": "factory", "jitp": {"product_name": "kiosk", "tags": "a,b", "description": "new"}});
    let made = register(&stage, &viewer, &ca, &proof, more).await;
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(made.header(header::LOCATION), format!("{CAS}/5111552077003819958"));
    let shown = stage.get(&viewer, made.header(header::LOCATION)).await.data();
    assert_eq!(shown["not_before"], "2026-01-01T00:00:00Z");
    assert_eq!(shown["description"], "factory");
    assert_eq!(
        shown["jitp"],
        json!({"product_name": "kiosk", "tags": ["a", "b"], "description": "new"})
    );
    assert_eq!(stage.get(&viewer, CAS).await.data(), json!([shown]));
    let again = register(&stage, &viewer, &ca, &proof, json!({})).await;
    assert_eq!(
        (again.status.as_u16(), again.detail().as_str()),
        (422, "This CA certificate is already registered.")
    );
    assert_eq!(stage.delete(&viewer, made.header(header::LOCATION)).await.status, 204);
    assert_eq!(stage.get(&viewer, made.header(header::LOCATION)).await.status, 404);
    let audited = stage.audited().await;
    assert_eq!(
        audited[audited.len() - 2..],
        ["ca_certificate.registered", "ca_certificate.removed"]
    );
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_ca_without_a_good_proof_is_422(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.product("acme", "ada@x.io", "kiosk").await;
    let viewer = stage.token(&viewer).await;
    let (stranger, _) = stage.member("other", "eve@x.io", Role::Admin).await;
    let stranger = stage.token(&stranger).await;
    let ca = OutsideCa::new(1);
    let good = token(&stage, &viewer, "acme").await;
    let foreign = ca.proof(&token(&stage, &stranger, "other").await);
    let other_ca = OutsideCa::new(2).proof(&good);
    for proof in [ca.proof("nonsense"), foreign, other_ca] {
        let answer = register(&stage, &viewer, &ca, &proof, json!({})).await;
        assert_eq!(answer.status, 422);
        assert!(
            answer.detail().contains("does not prove that the CA is yours"),
            "{}",
            answer.detail()
        );
    }
    let garbage = register(&stage, &viewer, &ca, "garbage", json!({})).await;
    assert_eq!(garbage.status, 422);
    let no_product = register(
        &stage,
        &viewer,
        &ca,
        &ca.proof(&good),
        json!({"jitp": {"product_name": "x"}}),
    )
    .await;
    assert!(no_product.json()["errors"]["jitp"]["product_name"].is_array());
    let unproven = stage
        .post(&viewer, CAS, json!({"cert": STANDARD.encode(&ca.pem)}))
        .await;
    assert_eq!(unproven.status, 422);
    assert!(
        unproven.detail().contains("urn:nerveshub:verify:"),
        "{}",
        unproven.detail()
    );
    assert_eq!(stage.post(&viewer, CAS, json!({})).await.status, 422);
    let old = ca.proof(&good);
    stage.platform().clock.advance(Duration::hours(1) + Duration::SECOND);
    assert_eq!(register(&stage, &viewer, &ca, &old, json!({})).await.status, 422);
    assert_eq!(stage.get(&viewer, CAS).await.data(), json!([]));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn another_orgs_ca_is_404(db: PgPool) {
    let stage = Stage::new(db).await;
    let (viewer, _) = stage.product("acme", "ada@x.io", "kiosk").await;
    let viewer = stage.token(&viewer).await;
    let ca = OutsideCa::new(1);
    let proof = ca.proof(&token(&stage, &viewer, "acme").await);
    assert_eq!(register(&stage, &viewer, &ca, &proof, json!({})).await.status, 201);
    let (stranger, _) = stage.member("other", "eve@x.io", Role::Admin).await;
    let stranger = stage.token(&stranger).await;
    assert_eq!(stage.get(&stranger, &format!("{CAS}/1")).await.status, 404);
    assert_eq!(
        stage
            .delete(&stranger, "/api/orgs/other/ca_certificates/1")
            .await
            .status,
        404
    );
    let (guest, _) = stage.member("acme", "bob@x.io", Role::View).await;
    let guest = stage.token(&guest).await;
    assert_eq!(stage.get(&guest, &format!("{CAS}/1")).await.status, 200);
    assert_eq!(stage.delete(&guest, &format!("{CAS}/1")).await.status, 403);
}
