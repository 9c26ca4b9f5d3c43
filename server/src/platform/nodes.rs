//! Which server processes are alive.

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

crate::declare_id! {
    /// A server process, from its start to its end.
    NodeId
}

/// A node that was not seen for this long is dead. With the beat and the look for the dead it is noticed within 30 s.
pub const DEAD_AFTER: Duration = Duration::seconds(20);
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

#[cfg(test)]
mod tests {
    use sqlx::PgPool;
    use time::macros::datetime;

    use super::*;
    use crate::platform::clock::Clock;
    use crate::platform::ids::Id as _;
    use crate::platform::random::Random;

    async fn count(db: &PgPool) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM nodes")
            .fetch_one(db)
            .await
            .unwrap()
    }

    #[sqlx::test(migrator = "crate::platform::db::MIGRATOR")]
    async fn a_node_that_leaves_takes_the_dead_with_it_and_not_the_living(db: PgPool) {
        let (clock, random) = (Clock::manual(datetime!(2026-01-01 00:00 UTC)), Random::system());
        let [dead, living, leaving] = [(); 3].map(|()| NodeId::from_parts(&clock, &random));
        let mut conn = db.acquire().await.unwrap();
        beat(&mut conn, dead, clock.now()).await.unwrap();
        clock.advance(DEAD_AFTER);
        beat(&mut conn, living, clock.now()).await.unwrap();
        clock.advance(Duration::seconds(1));
        beat(&mut conn, leaving, clock.now()).await.unwrap();
        beat(&mut conn, leaving, clock.now()).await.unwrap();
        assert_eq!(count(&db).await, 3);
        leave(&mut conn, leaving, clock.now()).await.unwrap();
        assert_eq!(count(&db).await, 1);
    }
}
