//! The database: its pool, its migrations, and what a violated constraint means.

use std::str::FromStr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// Every migration, embedded in the binary.
pub static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// Connections of one server process.
pub const POOL_SIZE: u32 = 20;
/// How long a request waits for a connection before it fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the pool.
///
/// # Errors
/// When the URL does not parse or the database does not answer.
pub async fn connect(url: &str) -> sqlx::Result<PgPool> {
    let options = PgConnectOptions::from_str(url)?.application_name("muster-server");
    PgPoolOptions::new()
        .max_connections(POOL_SIZE)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
}

/// Whether the database answers.
///
/// # Errors
/// When it does not.
pub async fn ping(db: &PgPool) -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(db).await?;
    Ok(())
}

/// How many migrations the database lacks. Reads only.
///
/// # Errors
/// When the database does not answer.
pub async fn missing_migrations(db: &PgPool) -> sqlx::Result<usize> {
    let exists = sqlx::query_scalar!(r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "exists!""#)
        .fetch_one(db)
        .await?;
    let wanted = MIGRATOR
        .iter()
        .filter(|migration| !migration.migration_type.is_down_migration());
    if !exists {
        return Ok(wanted.count());
    }
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(db)
        .await?;
    Ok(wanted
        .filter(|migration| !rows.iter().any(|(version,)| *version == migration.version))
        .count())
}

/// The name of the constraint that an error violated, if that is what it was.
pub fn violated(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// Whether the same statement may succeed later: the database is not there, is starting or stopping, or two transactions
/// were in each other's way.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "55P03"
        }),
        _ => false,
    }
}
