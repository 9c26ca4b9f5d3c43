//! Presence on a real database: what is written of links, in which order, and what becomes of it when the database is away.

mod added;
mod beside;

use std::sync::Arc;
use std::time::Duration;

use muster_link::{FirmwareReport, HealthReport, Join, JoinMeta, StatusUpdate};
use sqlx::PgPool;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::desk::Desk;
use super::*;
use crate::accounts::Role;
use crate::devices::model::LinkId;
use crate::devices::service as devices;
use crate::devices::{DeviceId, Peer};
use crate::links::wire::Wire;
use crate::platform::nodes::{self, NodeId};
use crate::testing::Stage;

struct Links {
    stage: Stage,
    desk: Desk,
    wire: Arc<Wire>,
    peers: Vec<Peer>,
}

type Presence = (String, Option<Uuid>, Option<String>);

impl Links {
    async fn new(db: PgPool, devices: u128) -> Self {
        let stage = Stage::new(db).await;
        let (_, org) = stage.member("acme", "ada@acme.example", Role::Admin).await;
        let platform = stage.platform().clone();
        let product = Uuid::from_u128(1);
        sqlx::query(
            "INSERT INTO products (id, org_id, name, created_at, updated_at) VALUES ($1, $2, 'p', now(), now())",
        )
        .bind(product)
        .bind(org.id().0)
        .execute(&platform.db)
        .await
        .unwrap();
        let mut peers = Vec::new();
        for number in 0..devices {
            let id = Uuid::from_u128(100 + number);
            sqlx::query(
                "WITH device AS (INSERT INTO devices (id, org_id, product_id, identifier, created_at, updated_at)
                     VALUES ($1, $2, $3, $4, now(), now()) RETURNING id)
                 INSERT INTO device_states (device_id) SELECT id FROM device",
            )
            .bind(id)
            .bind(org.id().0)
            .bind(product)
            .bind(format!("d-{number}"))
            .execute(&platform.db)
            .await
            .unwrap();
            peers.push(Peer::of_test(
                DeviceId(id),
                org.id(),
                crate::products::ProductId(product),
            ));
        }
        let (scheduler, _) = Scheduler::new();
        let urls = stage.app.package_urls.clone();
        Self {
            desk: Desk::new(platform, Sweep::of_the_server(), urls, scheduler),
            stage,
            wire: Arc::default(),
            peers,
        }
    }

    fn link(&self) -> LinkId {
        self.stage.platform().new_id()
    }

    fn open(&mut self, device: usize, link: LinkId) {
        self.desk.take(Entry::Open(LinkStart {
            device: self.peers[device].device(),
            link,
            address: "192.0.2.1".into(),
            at: self.stage.platform().clock.now(),
        }));
    }

    fn join(&mut self, device: usize, link: LinkId, version: &str) -> oneshot::Receiver<Welcome> {
        let (answer, answered) = oneshot::channel();
        let join = Join {
            firmware: FirmwareReport {
                version: Some(version.to_owned()),
                ..FirmwareReport::default()
            },
            meta: JoinMeta::default(),
            ..Join::default()
        };
        let record = JoinRecord {
            peer: self.peers[device].clone(),
            link,
            address: "192.0.2.1".into(),
            join,
        };
        let place = self.wire.wait().unwrap();
        self.desk.take(Entry::Join(Box::new(record), answer, place));
        answered
    }

    fn end(&mut self, device: usize, link: LinkId, reason: &'static str) {
        let (peer, now) = (&self.peers[device], self.stage.platform().clock.now());
        self.desk.take(Entry::End(Box::new(LinkEnd {
            device: peer.device(),
            org: peer.org(),
            product: peer.product(),
            link,
            address: "192.0.2.1".into(),
            heard_at: now,
            ended_at: now,
            reason,
        })));
    }

    async fn write(&mut self) {
        while self.desk.waiting() > 0 {
            self.desk.write_line(BATCH_MAX).await.unwrap();
        }
        self.desk.flush().await;
    }

    async fn presence(&self, device: usize) -> Presence {
        sqlx::query_as("SELECT connection, link_id, disconnect_reason FROM device_states WHERE device_id = $1")
            .bind(self.peers[device].device().0)
            .fetch_one(&self.stage.platform().db)
            .await
            .unwrap()
    }

    async fn past(&self, device: usize) -> Vec<(Uuid, String)> {
        sqlx::query_as("SELECT link_id, reason FROM device_links WHERE device_id = $1 ORDER BY link_id")
            .bind(self.peers[device].device().0)
            .fetch_all(&self.stage.platform().db)
            .await
            .unwrap()
    }

    async fn news(&self) -> Vec<Uuid> {
        sqlx::query_scalar("SELECT subject_id FROM events WHERE kind = 'device.changed' ORDER BY id")
            .fetch_all(&self.stage.platform().db)
            .await
            .unwrap()
    }
}

fn is(connection: &str, link: Option<LinkId>, reason: Option<&str>) -> Presence {
    (
        connection.to_owned(),
        link.map(|link| link.0),
        reason.map(str::to_owned),
    )
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_device_is_connecting_then_connected_then_not_and_its_links_are_remembered(db: PgPool) {
    let mut links = Links::new(db, 1).await;
    let first = links.link();
    links.open(0, first);
    links.write().await;
    assert_eq!(links.presence(0).await, is("not_seen", None, None));
    links.stage.platform().clock.advance(time::Duration::seconds(2));
    links.write().await;
    assert_eq!(links.presence(0).await, is("connecting", Some(first), None));
    let answered = links.join(0, first, "1.0.0");
    links.write().await;
    assert_eq!(answered.await.unwrap().keys.len(), 0);
    assert_eq!(links.presence(0).await, is("connected", Some(first), None));

    links.stage.platform().clock.advance(time::Duration::seconds(2));
    let second = links.link();
    links.open(0, second);
    drop(links.join(0, second, "1.0.0"));
    links.end(0, first, "replaced");
    links.write().await;
    assert_eq!(links.presence(0).await, is("connected", Some(second), None));
    for _ in 0..2 {
        links.end(0, second, "lost");
        links.write().await;
        assert_eq!(links.presence(0).await, is("disconnected", None, Some("lost")));
    }
    let past = links.past(0).await;
    assert_eq!(past, [(first.0, "replaced".into()), (second.0, "lost".into())]);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn what_stands_in_one_batch_keeps_the_order_of_each_device(db: PgPool) {
    let mut links = Links::new(db, 3).await;
    let [a, b, c, again] = [(); 4].map(|()| links.link());
    drop(links.join(0, a, "1.0.0"));
    links.end(0, a, "lost");
    drop(links.join(1, b, "1.0.0"));
    let place = links.wire.wait().unwrap();
    let failed = Report::Status(StatusUpdate::Failed { reason: "no".into() });
    links.desk.take(Entry::Report(links.peers[1].clone(), failed, place));
    drop(links.join(2, c, "1.0.0"));
    links.end(2, c, "closed");
    drop(links.join(2, again, "1.0.0"));
    links.write().await;
    assert_eq!(links.presence(0).await, is("disconnected", None, Some("lost")));
    assert_eq!(links.presence(1).await, is("connected", Some(b), None));
    assert_eq!(links.presence(2).await, is("connected", Some(again), None));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn news_of_a_herd_is_one_row_and_of_one_device_its_own(db: PgPool) {
    let mut links = Links::new(db, 40).await;
    for device in 0..40 {
        let link = links.link();
        drop(links.join(device, link, "1.0.0"));
    }
    links.write().await;
    assert_eq!(links.news().await, [links.peers[0].product().0]);
    let link = links.link();
    drop(links.join(7, link, "1.0.0"));
    links.write().await;
    assert_eq!(links.news().await[1..], [links.peers[7].device().0]);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_join_that_the_database_refuses_is_left_out_and_the_others_are_written(db: PgPool) {
    let mut links = Links::new(db, 9).await;
    let mut answers = Vec::new();
    for device in 0..9 {
        let link = links.link();
        let version = if device == 5 { "1.0.0\0" } else { "1.0.0" };
        answers.push(links.join(device, link, version));
    }
    links.write().await;
    for (device, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.await.is_err(), device == 5, "{device}");
        let connection = links.presence(device).await.0;
        assert_eq!(connection, if device == 5 { "not_seen" } else { "connected" });
    }
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn what_cannot_be_written_stands_in_the_line_until_it_can(db: PgPool) {
    let mut links = Links::new(db.clone(), 2).await;
    let (first, second) = (links.link(), links.link());
    let answered = links.join(0, first, "1.0.0");
    drop(links.join(1, second, "1.0.0"));
    links.end(1, second, "lost");
    let mut other = db.begin().await.unwrap();
    sqlx::query("LOCK TABLE device_states")
        .execute(&mut *other)
        .await
        .unwrap();
    let own: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut *other)
        .await
        .unwrap();
    let cut = async {
        loop {
            // What a transaction has seen of the other sessions it sees until it is told to look again.
            sqlx::query("SELECT pg_stat_clear_snapshot()")
                .execute(&mut *other)
                .await
                .unwrap();
            let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> $1";
            let ended: i64 = sqlx::query_scalar(sql).bind(own).fetch_one(&mut *other).await.unwrap();
            if ended > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (written, ()) = tokio::join!(links.desk.write_line(BATCH_MAX), cut);
    assert!(written.is_err());
    assert_eq!(links.desk.waiting(), 3);
    other.rollback().await.unwrap();
    links.write().await;
    assert!(answered.await.is_ok());
    assert_eq!(links.presence(0).await, is("connected", Some(first), None));
    assert_eq!(links.presence(1).await, is("disconnected", None, Some("lost")));
    assert!(links.wire.wait().is_some());
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn links_of_a_dead_node_end_and_one_that_was_taken_for_dead_says_so(db: PgPool) {
    let mut links = Links::new(db, 2).await;
    let (first, second) = (links.link(), links.link());
    drop(links.join(0, first, "1.0.0"));
    drop(links.join(1, second, "1.0.0"));
    links.write().await;
    let platform = links.stage.platform().clone();
    let proof = Sweep::of_the_server();
    let mut conn = platform.db.acquire().await.unwrap();
    nodes::beat(&mut conn, platform.node, platform.clock.now())
        .await
        .unwrap();
    platform.clock.advance(nodes::DEAD_AFTER + time::Duration::seconds(1));

    // A node does not bury itself, …
    crate::deployments::service::bury_dead_nodes(&platform, proof, true)
        .await
        .unwrap();
    assert_eq!(links.presence(0).await, is("connected", Some(first), None));
    // … another does.
    let mut other = platform.clone();
    other.node = platform.new_id::<NodeId>();
    crate::deployments::service::bury_dead_nodes(&other, proof, false)
        .await
        .unwrap();
    let gone = is("disconnected", None, Some("server_stopped"));
    assert_eq!(links.presence(0).await, gone);
    assert_eq!(links.past(1).await, [(second.0, "server_stopped".into())]);

    let mine = [(links.peers[0].device(), first)];
    devices::reconnect(&mut conn, &platform, proof, &mine).await.unwrap();
    assert_eq!(links.presence(0).await, is("connected", Some(first), None));
    assert_eq!(links.past(0).await, []);
    assert_eq!(links.presence(1).await, gone);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn of_each_device_a_bounded_number_of_links_is_remembered_for_a_bounded_time(db: PgPool) {
    let mut links = Links::new(db, 2).await;
    let old = links.link();
    links.end(1, old, "lost");
    links.stage.platform().clock.advance(time::Duration::days(31));
    let mut newest = Vec::new();
    for _ in 0..130 {
        let link = links.link();
        links.end(0, link, "lost");
        newest.push(link.0);
        links.stage.platform().clock.advance(time::Duration::seconds(1));
    }
    links.write().await;
    let platform = links.stage.platform().clone();
    let mut conn = platform.db.acquire().await.unwrap();
    devices::prune_links(&mut conn, &platform, Sweep::of_the_server())
        .await
        .unwrap();
    let kept: Vec<Uuid> = links.past(0).await.into_iter().map(|(link, _)| link).collect();
    assert_eq!(kept, newest[30..]);
    assert_eq!(links.past(1).await, []);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn last_report_of_each_kind_is_kept_and_the_product_says_which_extensions_there_are(db: PgPool) {
    let mut links = Links::new(db.clone(), 3).await;
    sqlx::query("UPDATE products SET extensions = '{health,geo}'")
        .execute(&db)
        .await
        .unwrap();
    sqlx::query("UPDATE devices SET extensions_off = '{geo}' WHERE identifier = 'd-1'")
        .execute(&db)
        .await
        .unwrap();
    let (first, second) = (links.link(), links.link());
    let answers = [links.join(0, first, "1.0.0"), links.join(1, second, "1.0.0")];
    links.write().await;
    let mut allowed = Vec::new();
    for answer in answers {
        allowed.push(answer.await.unwrap().extensions.names());
    }
    assert_eq!(allowed, [vec!["health", "geo"], vec!["health"]]);

    let mut report = |device: usize, report: Report| {
        let place = links.wire.wait().unwrap();
        links
            .desk
            .take(Entry::Report(links.peers[device].clone(), report, place));
    };
    for load in [1.0, 2.0] {
        let metrics = [("load_1min".to_owned(), load)].into();
        let health = HealthReport {
            metrics,
            ..HealthReport::default()
        };
        report(0, Report::Health(Box::new(health)));
    }
    report(0, Report::ConnectionTypes(vec!["wifi".into()]));
    report(2, Report::ConnectionTypes(vec!["ethernet".into()]));
    // One that is gone when it is written takes nothing with it.
    sqlx::query("DELETE FROM devices WHERE identifier = 'd-2'")
        .execute(&db)
        .await
        .unwrap();
    for _ in 0..2 {
        links.write().await;
        let kept: Vec<(String, serde_json::Value)> =
            sqlx::query_as("SELECT kind, report FROM device_reports ORDER BY kind")
                .fetch_all(&db)
                .await
                .unwrap();
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert_eq!(kept[0], ("connection_types".into(), serde_json::json!(["wifi"])));
        assert_eq!(kept[1].1["metrics"], serde_json::json!({ "load_1min": 2 }));
    }
    assert_eq!(links.stage.platform().metrics.reports_dropped.get(), 0);
}
