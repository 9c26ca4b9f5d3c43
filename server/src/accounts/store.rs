//! SQL of accounts.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::model::{LAST_USED_EVERY, Org, OrgId, Role, TokenId, UserId, Via, Viewer};
use super::token::TokenContext;
use crate::audit::Actor;

/// An org of a viewer, as the database has it.
struct OrgRow {
    id: OrgId,
    name: String,
    role: Role,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl OrgRow {
    fn of(self, viewer: &Viewer) -> Org {
        Org {
            id: self.id,
            name: self.name,
            role: self.role,
            actor: Actor::User(viewer.user_id.0, viewer.name.clone()),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// The org of this name, if the viewer is a member.
pub(super) async fn find_org(conn: &mut PgConnection, viewer: &Viewer, name: &str) -> sqlx::Result<Option<Org>> {
    let row = sqlx::query_as!(
        OrgRow,
        r#"SELECT o.id AS "id: OrgId", o.name, m.role AS "role: Role", o.created_at, o.updated_at
           FROM orgs o JOIN memberships m ON m.org_id = o.id
           WHERE lower(o.name) = lower($1) AND m.user_id = $2"#,
        name,
        viewer.user_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.of(viewer)))
}

/// Every org of the viewer, by name.
pub(super) async fn list_orgs(conn: &mut PgConnection, viewer: &Viewer) -> sqlx::Result<Vec<Org>> {
    let rows = sqlx::query_as!(
        OrgRow,
        r#"SELECT o.id AS "id: OrgId", o.name, m.role AS "role: Role", o.created_at, o.updated_at
           FROM orgs o JOIN memberships m ON m.org_id = o.id
           WHERE m.user_id = $1 ORDER BY lower(o.name)"#,
        viewer.user_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.of(viewer)).collect())
}

/// Whether there is any org yet. Takes the lock that makes a second first start wait.
pub(super) async fn lock_any_org(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('muster.bootstrap'))")
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM orgs) AS "any!""#)
        .fetch_one(conn)
        .await
}

/// The org of this name, for those who act from outside it: the command line.
pub(super) async fn find_org_id(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<OrgId>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: OrgId" FROM orgs WHERE lower(name) = lower($1)"#,
        name
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn insert_org(
    conn: &mut PgConnection,
    id: OrgId,
    name: &str,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO orgs (id, name, created_at, updated_at) VALUES ($1, $2, $3, $3)",
        id.0,
        name,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A person to insert.
pub(super) struct UserRow<'a> {
    pub(super) id: UserId,
    pub(super) email: &'a str,
    pub(super) name: &'a str,
    pub(super) password_hash: &'a str,
}

pub(super) async fn insert_user(conn: &mut PgConnection, user: UserRow<'_>, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO users (id, email, name, password_hash, created_at) VALUES ($1, $2, $3, $4, $5)",
        user.id.0,
        user.email,
        user.name,
        user.password_hash,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A person who may sign in.
pub(super) struct Known {
    pub(super) id: UserId,
    pub(super) name: String,
    pub(super) password_hash: String,
}

pub(super) async fn find_user(conn: &mut PgConnection, email: &str) -> sqlx::Result<Option<Known>> {
    sqlx::query_as!(
        Known,
        r#"SELECT id AS "id: UserId", name, password_hash FROM users WHERE email = $1 AND deleted_at IS NULL"#,
        email
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn update_password(conn: &mut PgConnection, user: UserId, hash: &str) -> sqlx::Result<()> {
    sqlx::query!("UPDATE users SET password_hash = $2 WHERE id = $1", user.0, hash)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("DELETE FROM tokens WHERE user_id = $1", user.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes a person a member, or changes their role.
pub(super) async fn upsert_membership(
    conn: &mut PgConnection,
    org: OrgId,
    user: UserId,
    role: Role,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO memberships (org_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (org_id, user_id) DO UPDATE SET role = excluded.role",
        org.0,
        user.0,
        role.name(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A token to insert.
pub(super) struct TokenRow<'a> {
    pub(super) id: TokenId,
    pub(super) user: UserId,
    pub(super) context: TokenContext,
    pub(super) hash: &'a [u8],
    pub(super) note: &'a str,
    pub(super) expires_at: Option<OffsetDateTime>,
}

pub(super) async fn insert_token(
    conn: &mut PgConnection,
    token: TokenRow<'_>,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO tokens (id, user_id, context, hash, note, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        token.id.0,
        token.user.0,
        token.context.name(),
        token.hash,
        token.note,
        now,
        token.expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whose token this is, and whether its last use is worth a write.
pub(super) async fn find_viewer(
    conn: &mut PgConnection,
    context: TokenContext,
    hash: &[u8],
    now: OffsetDateTime,
) -> sqlx::Result<Option<(Viewer, TokenId, bool)>> {
    let row = sqlx::query!(
        r#"SELECT t.id AS "id: TokenId", t.last_used_at, u.id AS "user_id: UserId", u.name, u.email
           FROM tokens t JOIN users u ON u.id = t.user_id
           WHERE t.context = $1 AND t.hash = $2 AND u.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $3)"#,
        context.name(),
        hash,
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let viewer = Viewer {
            user_id: row.user_id,
            name: row.name,
            email: row.email,
            via: match context {
                TokenContext::Api => Via::Token,
                TokenContext::Session => Via::Session(row.id),
            },
        };
        let stale = row.last_used_at.is_none_or(|at| at + LAST_USED_EVERY <= now);
        (viewer, row.id, stale)
    }))
}

pub(super) async fn update_last_used(conn: &mut PgConnection, token: TokenId, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)",
        token.0,
        now,
        now - LAST_USED_EVERY
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete_token(conn: &mut PgConnection, context: TokenContext, hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM tokens WHERE context = $1 AND hash = $2",
        context.name(),
        hash
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes what ended; done at each sign-in of the same person.
pub(super) async fn delete_expired(conn: &mut PgConnection, user: UserId, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM tokens WHERE user_id = $1 AND expires_at <= $2",
        user.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
