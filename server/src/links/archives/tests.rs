//! Archives sent while links stand: who hears of what.

use std::sync::{Arc, Mutex};

use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::*;
use crate::accounts::OrgId;
use crate::devices::model::LinkId;
use crate::devices::{Peer, service as devices};
use crate::links::registry::{Handle, Order};
use crate::packages::tests::{alpha, archive, form, kiosk, owner, send};
use crate::platform::events;
use crate::testing::Stage;

const PRODUCT: &str = "/api/orgs/acme/products/kiosk";

/// What a link was told: the UUIDs of archives.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Handle for Told {
    fn order(&self, order: Order) -> bool {
        let Order::Tell(push) = order else { return true };
        if let muster_link::Push::Device(ToDevice::Archive(archive)) = *push {
            self.0.lock().unwrap().push(archive.uuid);
        }
        true
    }
}

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A product with a group that runs, and links of its devices on this node.
struct Scene {
    stage: Stage,
    token: String,
    registry: Registry,
    firmware: String,
    heard: i64,
}

impl Scene {
    async fn new(db: PgPool) -> Self {
        let stage = Stage::new(db).await;
        let (_, _, token) = owner(&stage).await;
        let registry = Registry::new(stage.platform().metrics.clone());
        let mut scene = Self {
            firmware: String::new(),
            heard: 0,
            stage,
            token,
            registry,
        };
        scene.firmware = scene.upload("firmware", "1.0.0").await;
        let group = json!({ "name": "all", "firmware": scene.firmware, "conditions": { "tags": ["in"] } });
        scene
            .stage
            .post(&scene.token, &format!("{PRODUCT}/deployments"), group)
            .await;
        scene.put("deployments/all", json!({ "state": "on" })).await;
        scene
    }

    async fn upload(&self, part: &str, version: &str) -> String {
        let bytes = archive(&kiosk(version), 1000, &alpha());
        let answer = send(
            &self.stage,
            &self.token,
            &format!("{PRODUCT}/{part}s"),
            form(&[(part, &bytes)]),
        )
        .await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        answer.data()["uuid"].as_str().unwrap().to_owned()
    }

    async fn put(&self, path: &str, body: serde_json::Value) {
        let answer = self.stage.put(&self.token, &format!("{PRODUCT}/{path}"), body).await;
        assert!(answer.status.is_success(), "{}", answer.json());
    }

    async fn release(&self, archive: Option<&str>) {
        let parts = json!({ "deployment": { "firmware": self.firmware, "archive": archive } });
        self.put("deployments/all", parts).await;
    }

    /// A device that has joined once and has a link here.
    async fn device(&self, identifier: &str, tags: &[&str]) -> Told {
        let body = json!({ "identifier": identifier, "tags": tags });
        let made = self.stage.post(&self.token, &format!("{PRODUCT}/devices"), body).await;
        let device: DeviceId = made.data()["id"].as_str().unwrap().parse().unwrap();
        let sql = "UPDATE device_states SET firmware_version = '1.0.0', firmware_platform = 'generic', firmware_architecture = 'x86_64'
                   WHERE device_id = $1 RETURNING (SELECT product_id FROM devices WHERE id = $1)";
        let product: Uuid = sqlx::query_scalar(sql)
            .bind(device.0)
            .fetch_one(&self.stage.platform().db)
            .await
            .unwrap();
        let (peer, told) = (
            Peer::of_test(device, OrgId(Uuid::nil()), ProductId(product)),
            Told::default(),
        );
        let link = LinkId(device.0);
        self.registry.enter(&peer, link, Box::new(told.clone()), Arc::default());
        told
    }

    /// The scheduler's run, and what this node does with the news since the last time.
    async fn news(&mut self) {
        let platform = self.stage.platform();
        let proof = Sweep::of_the_server();
        for product in deployments::active_products(platform, proof).await.unwrap() {
            deployments::schedule(platform, proof, product).await.unwrap();
        }
        devices::lift_ended_blocks(platform, proof).await.unwrap();
        let mut conn = platform.db.acquire().await.unwrap();
        let mut due = Due::default();
        for event in events::after(&mut conn, self.heard).await.unwrap() {
            self.heard = event.id;
            due.hear(&event, &self.registry);
        }
        drop(conn);
        let urls = &self.stage.app.package_urls;
        due.tell(platform, proof, &self.registry, urls).await.unwrap();
        assert!(due.is_empty());
    }
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_release_with_another_archive_is_told_to_the_devices_of_its_group(db: PgPool) {
    let mut scene = Scene::new(db).await;
    let (first, second) = (
        scene.device("first", &["in"]).await,
        scene.device("second", &["in"]).await,
    );
    let elsewhere = scene.device("elsewhere", &[]).await;
    let archive = scene.upload("archive", "0.1.0").await;
    scene.news().await;
    assert_eq!((first.take(), second.take()), (vec![], vec![]), "there is none yet");
    scene.release(Some(&archive)).await;
    scene.news().await;
    assert_eq!(
        (first.take(), second.take()),
        (vec![archive.clone()], vec![archive.clone()])
    );
    scene.release(Some(&archive)).await;
    scene.news().await;
    assert_eq!(first.take(), [""; 0], "it is the one that they were told");
    scene.release(None).await;
    scene.news().await;
    let newer = scene.upload("archive", "0.2.0").await;
    scene.release(Some(&newer)).await;
    scene.news().await;
    assert_eq!((first.take(), second.take()), (vec![newer.clone()], vec![newer]));
    assert_eq!(elsewhere.take(), [""; 0]);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_device_that_becomes_eligible_is_told(db: PgPool) {
    let mut scene = Scene::new(db.clone()).await;
    let archive = scene.upload("archive", "0.1.0").await;
    scene.release(Some(&archive)).await;
    let [moved, off, blocked] = [
        scene.device("moved", &[]).await,
        scene.device("off", &["in"]).await,
        scene.device("blocked", &["in"]).await,
    ];
    scene.put("devices/off", json!({ "updates_enabled": false })).await;
    sqlx::query("UPDATE devices SET updates_blocked_until = '2026-08-20T10:21:12Z' WHERE identifier = 'blocked'")
        .execute(&db)
        .await
        .unwrap();
    scene.news().await;
    assert_eq!((moved.take(), off.take(), blocked.take()), (vec![], vec![], vec![]));

    scene.put("devices/moved", json!({ "tags": ["in"] })).await;
    scene.news().await;
    assert_eq!(moved.take(), [archive.as_str()], "it came into the group");
    scene.put("devices/off", json!({ "updates_enabled": true })).await;
    scene.news().await;
    assert_eq!(off.take(), [archive.as_str()], "updates are on again");
    scene.stage.platform().clock.advance(time::Duration::minutes(9));
    scene.news().await;
    assert_eq!(blocked.take(), [""; 0]);
    scene.stage.platform().clock.advance(time::Duration::minutes(1));
    scene.news().await;
    assert_eq!(blocked.take(), [archive.as_str()], "its block ended by itself");
    let until: Option<time::OffsetDateTime> =
        sqlx::query_scalar("SELECT updates_blocked_until FROM devices WHERE identifier = 'blocked'")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(until, None);
    scene.news().await;
    assert_eq!(
        (moved.take(), off.take(), blocked.take()),
        (vec![], vec![], vec![]),
        "nobody is told twice"
    );
}
