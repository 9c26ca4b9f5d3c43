//! Health reports of all devices: what Postgres needs for them, and whether each was written.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use super::super::output::{Figures, note};
use super::super::swarm::Swarm;
use super::{Bench, REST};

/// How often a device reports, in seconds.
const EVERY: &str = "60";
/// An idle connection of Postgres may keep its counts for ten seconds (`PGSTAT_IDLE_INTERVAL`).
const COUNTED: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(500);
/// How long Postgres is watched.
const LASTS: Duration = Duration::from_mins(2);

impl Bench<'_> {
    /// All links with a report a minute each.
    pub(super) async fn health(&self, figures: &Figures) -> anyhow::Result<()> {
        note(format_args!(
            "{} devices report their health each {EVERY} s",
            self.links
        ));
        let server = self.start().await?;
        let db = server.database().await?;
        sqlx::query("UPDATE products SET extensions = '{health}'")
            .execute(&db)
            .await?;
        // Lines on heartbeats come when they are asked for.
        let more = ["--health", EVERY, "--beats-every", "3600"];
        let mut swarm = Swarm::start(&server, &self.devices(1, self.links, "1.2", &more))?;
        swarm.joined().await?;
        sleep(REST).await;
        // While all join, a report may give way to the next one of its device: each is kept as the last one only.
        swarm.tell("quiet").await?;
        sleep(COUNTED).await;
        let (before, sent_before) = (written(&db).await?, swarm.health_reports().await?);
        swarm.tell("loud").await?;
        let (cpu, began) = (server.postgres_cpu()?, Instant::now());
        sleep(LASTS).await;
        let cores = (server.postgres_cpu()? - cpu) / began.elapsed().as_secs_f64();
        swarm.tell("quiet").await?;
        // The last are written within a second; Postgres tells within ten what it counted.
        sleep(REST).await;
        let (sent, deadline) = (swarm.health_reports().await? - sent_before, Instant::now() + COUNTED);
        let mut lost = sent;
        while lost > 0 && Instant::now() < deadline {
            lost = sent.saturating_sub(u64::try_from(written(&db).await? - before)?);
            sleep(LOOK).await;
        }
        sqlx::query("UPDATE products SET extensions = '{}'")
            .execute(&db)
            .await?;
        db.close().await;
        figures.print("link.health_pg_cores", cores, "cores", self.links as usize);
        figures.print("link.health_dropped", lost as f64, "reports", sent as usize);
        Ok(())
    }
}

/// Rows of reports that were written so far.
async fn written(db: &PgPool) -> anyhow::Result<i64> {
    let sql = "SELECT coalesce(sum(n_tup_ins + n_tup_upd), 0)::bigint FROM pg_stat_user_tables
               WHERE relname = 'device_reports'";
    Ok(sqlx::query_scalar(sql).fetch_one(db).await?)
}
