//! What the database shows of the devices, and how many statements it was asked.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{Instant, sleep};

/// How long presence may take to be right before the figure has failed.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until this many devices are shown as connected.
pub async fn until_connected(db: &PgPool, wanted: u32) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown: i64 =
            sqlx::query_scalar("SELECT /* bench */ count(*) FROM device_states WHERE connection = 'connected'")
                .fetch_one(db)
                .await?;
        if shown == i64::from(wanted) {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "{shown} devices are shown as connected, not {wanted}"
        );
        sleep(LOOK).await;
    }
}

/// Has Postgres count statements from its next start on.
pub async fn count_statements(db: &PgPool) -> anyhow::Result<()> {
    for sql in [
        "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'",
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements",
    ] {
        sqlx::query(sql).execute(db).await?;
    }
    Ok(())
}

/// Statements that Postgres was asked so far, ours left out.
pub async fn statements(db: &PgPool) -> anyhow::Result<i64> {
    let sql = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query NOT LIKE '%/* bench */%'
               AND query NOT LIKE '%pg_stat_statements%'";
    Ok(sqlx::query_scalar(sql).fetch_one(db).await?)
}
