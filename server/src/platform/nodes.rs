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

/// Says that this node is alive; whether it is new on the list, or was taken off it.
///
/// # Errors
/// When the database fails.
pub async fn beat(conn: &mut PgConnection, node: NodeId, now: OffsetDateTime) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"INSERT INTO nodes (id, started_at, seen_at) VALUES ($1, $2, $2) ON CONFLICT (id) DO UPDATE SET seen_at = $2
           RETURNING xmax = 0 AS "is_new!""#,
        node.0,
        now
    )
    .fetch_one(conn)
    .await
}

/// Takes dead nodes off the list, but not this one; how many.
///
/// # Errors
/// When the database fails.
pub async fn bury(conn: &mut PgConnection, node: NodeId, now: OffsetDateTime) -> sqlx::Result<u64> {
    let buried = sqlx::query!(
        "DELETE FROM nodes WHERE id <> $1 AND seen_at < $2",
        node.0,
        now - DEAD_AFTER
    );
    Ok(buried.execute(conn).await?.rows_affected())
}

/// Takes this node off the list.
///
/// # Errors
/// When the database fails.
pub async fn leave(conn: &mut PgConnection, node: NodeId) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM nodes WHERE id = $1", node.0)
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
    async fn the_dead_are_buried_and_neither_the_living_nor_oneself(db: PgPool) {
        let (clock, random) = (Clock::manual(datetime!(2026-01-01 00:00 UTC)), Random::system());
        let [dead, living, own] = [(); 3].map(|()| NodeId::from_parts(&clock, &random));
        let mut conn = db.acquire().await.unwrap();
        for node in [dead, own] {
            assert!(beat(&mut conn, node, clock.now()).await.unwrap());
        }
        clock.advance(DEAD_AFTER + Duration::seconds(1));
        assert!(beat(&mut conn, living, clock.now()).await.unwrap());
        assert!(!beat(&mut conn, living, clock.now()).await.unwrap());
        assert_eq!(bury(&mut conn, own, clock.now()).await.unwrap(), 1);
        assert_eq!(bury(&mut conn, own, clock.now()).await.unwrap(), 0);
        assert!(!beat(&mut conn, own, clock.now()).await.unwrap());
        assert!(beat(&mut conn, dead, clock.now()).await.unwrap());
        leave(&mut conn, own).await.unwrap();
        assert_eq!(count(&db).await, 2);
    }
}
