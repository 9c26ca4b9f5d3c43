//! What devices add: keys in overlay networks and log lines.

use muster_link::{Identity, IdentityService, LogLine};
use serde_json::json;
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::devices::service::{IDENTITIES_KEPT, LOG_KEPT_FOR, ReportedIdentity};

fn identity(instance: &str, identifier: &str) -> Identity {
    Identity {
        service: IdentityService::Wireguard,
        identifier: identifier.to_owned(),
        instance: instance.to_owned(),
        details: json!({ "ip": "10.8.0.4" }),
    }
}

fn line(message: &str, at: OffsetDateTime) -> Report {
    Report::Log(Box::new(LogLine {
        at,
        level: "info",
        message: message.to_owned(),
        meta: [("pid".to_owned(), "1".to_owned())].into(),
    }))
}

impl Links {
    fn report(&mut self, device: usize, report: Report) {
        let place = self.wire.wait().unwrap();
        self.desk.take(Entry::Report(self.peers[device].clone(), report, place));
    }

    fn identities(&mut self, device: usize, identities: &[(&str, &str)]) {
        let identities = identities.iter().map(|(instance, key)| identity(instance, key));
        self.report(device, Report::Identities(identities.collect()));
    }

    /// Whose key, of which instance, which key.
    async fn kept(&self) -> Vec<(String, String, String)> {
        sqlx::query_as(
            "SELECT d.identifier, i.instance, i.identifier FROM network_identities i JOIN devices d ON d.id = i.device_id
             ORDER BY 1, 2",
        )
        .fetch_all(&self.stage.platform().db)
        .await
        .unwrap()
    }

    fn refused(&self) -> u64 {
        self.stage.platform().metrics.identities_refused.get()
    }
}

fn kept(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let row = |(device, instance, key): &(&str, &str, &str)| {
        ((*device).to_owned(), (*instance).to_owned(), (*key).to_owned())
    };
    rows.iter().map(row).collect()
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn reports_of_keys_add_and_a_key_stays_whose_it_is(db: PgPool) {
    let mut links = Links::new(db, 2).await;
    links.identities(0, &[("wg0", "first"), ("wg1", "second")]);
    links.write().await;
    links.identities(0, &[("wg2", "third")]);
    links.identities(1, &[("wg0", "first"), ("wg9", "own")]);
    links.write().await;
    let expected = [
        ("d-0", "wg0", "first"),
        ("d-0", "wg1", "second"),
        ("d-0", "wg2", "third"),
        ("d-1", "wg9", "own"),
    ];
    assert_eq!(links.kept().await, kept(&expected));
    assert_eq!(links.refused(), 1);

    // One takes a new key, changes the names of two, and so gives none of them away.
    links.identities(0, &[("wg0", "second"), ("wg1", "first"), ("wg2", "fourth")]);
    links.write().await;
    // The key that it gave up may be another's.
    links.identities(1, &[("wg9", "third")]);
    links.write().await;
    let expected = [
        ("d-0", "wg0", "second"),
        ("d-0", "wg1", "first"),
        ("d-0", "wg2", "fourth"),
        ("d-1", "wg9", "third"),
    ];
    assert_eq!(links.kept().await, kept(&expected));
    assert_eq!(links.refused(), 1);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn of_two_that_report_a_key_in_one_second_the_first_has_it(db: PgPool) {
    let mut links = Links::new(db, 3).await;
    links.identities(1, &[("wg0", "same")]);
    links.stage.platform().clock.advance(time::Duration::milliseconds(1));
    links.identities(0, &[("wg0", "same"), ("wg1", "twice"), ("wg2", "twice")]);
    links.identities(2, &[("wg0", "gone")]);
    sqlx::query("DELETE FROM devices WHERE identifier = 'd-2'")
        .execute(&links.stage.platform().db)
        .await
        .unwrap();
    links.write().await;
    let rows = links.kept().await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(
        (rows[0].2.as_str(), &rows[1]),
        ("twice", &kept(&[("d-1", "wg0", "same")])[0])
    );
    assert_eq!(links.refused(), 1);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn of_a_device_a_bounded_number_of_keys_is_kept_and_those_may_change(db: PgPool) {
    let mut links = Links::new(db.clone(), 1).await;
    for number in 0..IDENTITIES_KEPT + 5 {
        let name = format!("{number:03}");
        links.identities(0, &[(&name, &name)]);
    }
    links.write().await;
    assert_eq!(links.kept().await.len() as i64, IDENTITIES_KEPT);
    assert_eq!(links.refused(), 5);
    let last = format!("{:03}", IDENTITIES_KEPT - 1);
    links.identities(0, &[("new", "new"), (&last, "changed")]);
    links.write().await;
    let rows = links.kept().await;
    assert_eq!(
        (rows.len() as i64, rows.last().unwrap().2.as_str()),
        (IDENTITIES_KEPT, "changed")
    );
    assert_eq!(links.refused(), 6);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_report_that_changes_nothing_says_only_when_it_came(db: PgPool) {
    let mut links = Links::new(db.clone(), 1).await;
    let mut seen = Vec::new();
    for key in ["first", "first", "other"] {
        links.identities(0, &[("wg0", key)]);
        links.write().await;
        let times: (OffsetDateTime, OffsetDateTime, OffsetDateTime) =
            sqlx::query_as("SELECT created_at, updated_at, last_reported_at FROM network_identities")
                .fetch_one(&db)
                .await
                .unwrap();
        let start = datetime!(2026-08-20 10:11:12 UTC);
        seen.push([times.0, times.1, times.2].map(|at| (at - start).whole_seconds()));
        links.stage.platform().clock.advance(time::Duration::seconds(1));
    }
    assert_eq!(seen, [[0, 0, 0], [0, 0, 1], [0, 2, 2]]);
}

/// Another node writes the same key at the same moment.
#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn a_key_that_another_node_writes_at_once_is_found_taken(db: PgPool) {
    let links = Links::new(db.clone(), 2).await;
    let platform = links.stage.platform();
    let mut other = db.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO network_identities SELECT id, 'wireguard', 'wg0', 'same', '{}', now(), now(), now() FROM devices
         WHERE identifier = 'd-1'",
    )
    .execute(&mut *other)
    .await
    .unwrap();
    let reported = |key: &str| ReportedIdentity {
        device: links.peers[0].device(),
        at: platform.clock.now(),
        identity: identity(key, key),
    };
    let ours = devices::report_identities(
        platform,
        Sweep::of_the_server(),
        vec![reported("same"), reported("own")],
    );
    let theirs = async {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(sql).fetch_one(&db).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.commit().await.unwrap();
    };
    let (written, ()) = tokio::join!(ours, theirs);
    written.unwrap();
    assert_eq!(
        links.kept().await,
        kept(&[("d-0", "own", "own"), ("d-1", "wg0", "same")])
    );
    assert_eq!(links.refused(), 1);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn log_lines_are_written_whatever_a_devices_clock_says(db: PgPool) {
    let mut links = Links::new(db.clone(), 2).await;
    let at = datetime!(2026-08-22 10:15:30 UTC);
    links.report(0, line("booted", at));
    links.report(0, line("long ago", datetime!(-5000-01-01 0:00 UTC)));
    links.report(0, line("far away", datetime!(9999-12-31 0:00 UTC)));
    links.report(1, line("gone", at));
    sqlx::query("DELETE FROM devices WHERE identifier = 'd-1'")
        .execute(&db)
        .await
        .unwrap();
    links.write().await;
    let rows: Vec<(String, OffsetDateTime, serde_json::Value)> =
        sqlx::query_as("SELECT message, at, meta FROM device_log_lines ORDER BY at")
            .fetch_all(&db)
            .await
            .unwrap();
    let said: Vec<&str> = rows.iter().map(|(message, ..)| message.as_str()).collect();
    assert_eq!(said, ["long ago", "booted", "far away"]);
    assert_eq!((rows[0].1, rows[1].1), (OffsetDateTime::UNIX_EPOCH, at));
    assert_eq!(rows[1].2, json!({ "pid": "1" }));
    assert_eq!(links.stage.platform().metrics.reports_dropped.get(), 0);
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn lines_that_a_node_cannot_hold_are_dropped_and_counted(db: PgPool) {
    let mut links = Links::new(db.clone(), 1).await;
    for number in 0..8200 {
        links.report(0, line(&number.to_string(), datetime!(2026-08-22 10:15:30 UTC)));
    }
    let dropped = |links: &Links| {
        links
            .stage
            .platform()
            .metrics
            .log_lines_dropped
            .with_label_values(&["full"])
            .get()
    };
    assert_eq!(dropped(&links), 8);
    links.write().await;
    links.report(0, line("later", datetime!(2026-08-22 10:15:30 UTC)));
    links.write().await;
    let written: i64 = sqlx::query_scalar("SELECT count(*) FROM device_log_lines")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!((written, dropped(&links)), (8193, 8));
}

#[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
async fn lines_are_forgotten_after_three_days_batch_by_batch(db: PgPool) {
    let mut links = Links::new(db.clone(), 1).await;
    let at = datetime!(2026-08-22 10:15:30 UTC);
    links.report(0, line("old", at));
    links.write().await;
    links.stage.platform().clock.advance(LOG_KEPT_FOR);
    links.report(0, line("new", at));
    links.write().await;
    sqlx::query(
        "INSERT INTO device_log_lines SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $1, now(), 'info',
             'x', '{}' FROM generate_series(1, 20500) n",
    )
    .bind(links.peers[0].device().0)
    .execute(&db)
    .await
    .unwrap();
    let (platform, proof) = (links.stage.platform().clone(), Sweep::of_the_server());
    assert_eq!(devices::prune_log_lines(&platform, proof).await.unwrap(), 20_500);
    platform.clock.advance(time::Duration::milliseconds(1));
    assert_eq!(devices::prune_log_lines(&platform, proof).await.unwrap(), 1);
    let left: Vec<String> = sqlx::query_scalar("SELECT message FROM device_log_lines")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(left, ["new"]);
}
