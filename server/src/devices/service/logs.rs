//! Log lines of devices (device-link §3.5): written in batches, kept for three days.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::devices::reported::{DeviceLogLine, LogLineId};
use crate::devices::store::logs::sweep;
use crate::platform::Platform;
use crate::platform::sweep::Sweep;

/// How long lines are kept.
pub const LOG_KEPT_FOR: time::Duration = time::Duration::days(3);
/// Lines forgotten in one statement.
const BATCH: u64 = 10_000;

/// Writes lines, in one statement. A device's clock that stands before 1970 is taken to stand at it: the database stores no
/// time of any year.
///
/// # Errors
/// When the database fails.
pub async fn log(conn: &mut PgConnection, proof: Sweep, lines: &mut [DeviceLogLine]) -> sqlx::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    for line in lines.iter_mut() {
        line.line.at = line.line.at.max(OffsetDateTime::UNIX_EPOCH);
    }
    sweep::insert(conn, proof, lines).await
}

/// Forgets lines that are older than [`LOG_KEPT_FOR`], batch by batch; how many.
///
/// # Errors
/// When the database fails.
pub async fn prune_log_lines(platform: &Platform, proof: Sweep) -> sqlx::Result<u64> {
    let before = LogLineId::first_at(platform.clock.now() - LOG_KEPT_FOR);
    let mut all = 0;
    loop {
        let mut conn = platform.db.acquire().await?;
        let gone = sweep::prune(&mut conn, proof, before, BATCH as i64).await?;
        all += gone;
        if gone < BATCH {
            return Ok(all);
        }
    }
}
