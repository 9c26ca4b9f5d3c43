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

/// Begins to count anew.
pub async fn count_anew(db: &PgPool) -> anyhow::Result<()> {
    sqlx::query("SELECT pg_stat_statements_reset()").execute(db).await?;
    Ok(())
}

/// Statements that Postgres was asked since the count began, ours left out; the commonest first.
pub async fn statements(db: &PgPool) -> anyhow::Result<Vec<(i64, String)>> {
    let sql = "SELECT calls, left(regexp_replace(query, '\\s+', ' ', 'g'), 100) FROM pg_stat_statements
               WHERE query NOT LIKE '%/* bench */%' AND query NOT LIKE '%pg_stat_statements%' ORDER BY calls DESC";
    Ok(sqlx::query_as(sql).fetch_all(db).await?)
}
