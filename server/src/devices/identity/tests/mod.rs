mod certificates;
mod renewal;
mod secrets;

use muster_link::Join;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use sqlx::PgPool;
use time::Duration;

use super::{Credential, Peer, Pinned, Refusal, introduced, known};
use crate::accounts::{OrgId, Viewer};
use crate::ca::authority::Authority;
use crate::ca::request::Request;
use crate::ca::service as ca;
use crate::ca::x509::Certificate;
use crate::devices::model::LinkId;
use crate::devices::service::{JoinRecord, join};
use crate::platform::sweep::Sweep;
use crate::products::Product;
use crate::testing::Stage;

const DEVICES: &str = "/api/orgs/acme/products/kiosk/devices";

/// An org with a product, and a CA that the server itself made for it.
struct Hall {
    stage: Stage,
    product: Product,
    token: String,
    authority: Authority,
}

fn proof() -> Sweep {
    Sweep::of_the_server()
}

fn request(key: &KeyPair, name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

impl Hall {
    async fn new(db: PgPool) -> Self {
        let stage = Stage::new(db).await;
        let (viewer, product) = stage.product("acme", "ada@x.io", "kiosk").await;
        let token = stage.token(&viewer).await;
        let authority = own_ca(&stage, product.org().id()).await;
        Self {
            stage,
            product,
            token,
            authority,
        }
    }

    /// A certificate of the org's CA for this name and key, good for 90 days from now.
    fn certificate(&self, key: &KeyPair, name: &str) -> Certificate {
        certificate(&self.stage, &self.authority, key, name)
    }

    async fn register(&self, identifier: &str) {
        let answer = self
            .stage
            .post(&self.token, DEVICES, json!({ "identifier": identifier }))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.json());
    }

    async fn who(&self, certificate: &Certificate) -> Result<Peer, Refusal> {
        introduced(self.stage.platform(), proof(), certificate).await.unwrap()
    }

    /// The device's link joins; how many were let in.
    async fn joins(&self, peer: &Peer) -> usize {
        let platform = self.stage.platform();
        let record = JoinRecord {
            peer: peer.clone(),
            link: platform.new_id::<LinkId>(),
            address: "127.0.0.1".to_owned(),
            join: Join::default(),
        };
        let mut conn = platform.db.acquire().await.unwrap();
        join(&mut conn, platform, proof(), &[record]).await.unwrap().len()
    }

    /// Unknown devices of the CA are made in the product.
    async fn provision(&self) {
        sqlx::query("UPDATE ca_certificates SET jitp_product_id = $1, jitp_tags = '{beta}', jitp_description = 'new'")
            .bind(self.product.id().0)
            .execute(&self.stage.platform().db)
            .await
            .unwrap();
    }

    async fn device(&self, identifier: &str) -> Value {
        self.stage
            .get(&self.token, &format!("{DEVICES}/{identifier}"))
            .await
            .data()
    }

    async fn refusals(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT identifier, reason FROM refusals ORDER BY first_at, reason")
            .fetch_all(&self.stage.platform().db)
            .await
            .unwrap()
    }

    /// Removes the device's only certificate, as an operator does.
    async fn revoke(&self, identifier: &str) {
        let path = format!("{DEVICES}/{identifier}/certificates");
        let shown = self.stage.get(&self.token, &path).await.data();
        let serial = shown[0]["serial"].as_str().unwrap().to_owned();
        assert_eq!(
            self.stage.delete(&self.token, &format!("{path}/{serial}")).await.status,
            204
        );
    }
}

async fn own_ca(stage: &Stage, org: OrgId) -> Authority {
    let mut tx = stage.platform().db.begin().await.unwrap();
    let authority = ca::create_own(&mut tx, stage.platform(), proof(), org, "factory")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    authority
}

fn certificate(stage: &Stage, authority: &Authority, key: &KeyPair, name: &str) -> Certificate {
    let request = Request::from_pem(&request(key, name)).unwrap();
    let (serial, now) = (stage.platform().random.bytes(), stage.platform().clock.now());
    let pem = authority
        .issue_for(&request, serial, now, now + Duration::days(90))
        .unwrap();
    Certificate::from_pem(&pem).unwrap()
}

fn pinned(peer: &Peer) -> Pinned {
    match peer.credential() {
        Credential::Certificate(pinned) => pinned,
        Credential::Secret(_) => panic!("{peer:?}"),
    }
}

async fn other_org(stage: &Stage) -> (Viewer, Product) {
    stage.product("zenith", "eve@x.io", "lamp").await
}
