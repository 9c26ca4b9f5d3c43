//! SQL of accounts.

use sqlx::PgConnection;

use super::model::{Org, OrgId, Role, Viewer};
use crate::audit::Actor;

/// The org of this name, if the viewer is a member.
pub(super) async fn find_org(conn: &mut PgConnection, viewer: &Viewer, name: &str) -> sqlx::Result<Option<Org>> {
    let row = sqlx::query!(
        r#"SELECT o.id AS "id: OrgId", o.name, m.role AS "role: Role" FROM orgs o JOIN memberships m ON m.org_id = o.id
           WHERE lower(o.name) = lower($1) AND m.user_id = $2"#,
        name,
        viewer.user_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Org {
        id: row.id,
        name: row.name,
        role: row.role,
        actor: actor(viewer),
    }))
}

/// Every org of the viewer, by name.
pub(super) async fn list_orgs(conn: &mut PgConnection, viewer: &Viewer) -> sqlx::Result<Vec<Org>> {
    let rows = sqlx::query!(
        r#"SELECT o.id AS "id: OrgId", o.name, m.role AS "role: Role" FROM orgs o JOIN memberships m ON m.org_id = o.id
           WHERE m.user_id = $1 ORDER BY lower(o.name)"#,
        viewer.user_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Org {
            id: row.id,
            name: row.name,
            role: row.role,
            actor: actor(viewer),
        })
        .collect())
}

fn actor(viewer: &Viewer) -> Actor {
    Actor::User(viewer.user_id.0, viewer.name.clone())
}
