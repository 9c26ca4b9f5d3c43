//! Which server processes are alive.

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

crate::declare_id! {
    /// A server process, from its start to its end.
    NodeId
}

/// A node that was not seen for this long is dead.
pub const DEAD_AFTER: Duration = Duration::seconds(30);
/// How often a node says that it is alive.
pub const BEAT: std::time::Duration = std::time::Duration::from_secs(5);

/// Says that this node is alive.
///
/// # Errors
/// When the database fails.
pub async fn beat(conn: &mut PgConnection, node: NodeId, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO nodes (id, started_at, seen_at) VALUES ($1, $2, $2) ON CONFLICT (id) DO UPDATE SET seen_at = $2",
        node.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes this node and every dead one off the list.
///
/// # Errors
/// When the database fails.
pub async fn leave(conn: &mut PgConnection, node: NodeId, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM nodes WHERE id = $1 OR seen_at < $2",
        node.0,
        now - DEAD_AFTER
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes every node off the list: for a server that is the only one of its database, as it starts.
///
/// # Errors
/// When the database fails.
pub async fn forget_all(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM nodes").execute(conn).await?;
    Ok(())
}
