//! SQL of the audit log.

use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Act, Actor, Entry};
use crate::platform::Platform;
use crate::platform::ids;

/// Writes an entry in the transaction of the act.
///
/// # Errors
/// When the database fails.
pub async fn record(conn: &mut PgConnection, platform: &Platform, act: Act<'_>) -> sqlx::Result<()> {
    let (actor_id, actor_name) = match act.actor {
        Actor::User(id, name) => (Some(*id), name.as_str()),
        Actor::System(name) => (None, *name),
    };
    sqlx::query!(
        "INSERT INTO audit_entries (id, org_id, at, actor_id, actor_name, action, subject_kind, subject_id, subject_name, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        ids::new_uuid(&platform.clock, &platform.random),
        act.org_id,
        platform.clock.now(),
        actor_id,
        actor_name,
        act.action,
        act.subject.kind,
        act.subject.id,
        act.subject.name,
        act.detail
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest entries of one subject of an org.
///
/// # Errors
/// When the database fails.
pub async fn list_of_subject(
    conn: &mut PgConnection,
    org_id: Uuid,
    subject_id: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        "SELECT at, actor_name, action, subject_name FROM audit_entries
         WHERE org_id = $1 AND subject_id = $2 ORDER BY id DESC LIMIT $3",
        org_id,
        subject_id,
        limit
    )
    .fetch_all(conn)
    .await
}
