//! Use cases of accounts.

use std::net::IpAddr;

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::model::{Email, Org, OrgId, Role, SESSION_LIFETIME, TokenId, UserId, Viewer};
use super::password::{self, PASSWORD_LEN, Refused, SignIns};
use super::store::{self, TokenRow, UserRow};
use super::token::{TokenContext, TokenSecret};
use crate::audit::{self, Act, Actor, Subject};
use crate::platform::sweep::Sweep;
use crate::platform::{Platform, db};

/// Who made the first org.
const BOOTSTRAP: Actor = Actor::System("first start");
/// Who acts on the command line.
const COMMAND_LINE: Actor = Actor::System("command line");
/// What a token's note may hold.
const MAX_NOTE: usize = 200;

/// Why an account was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The email does not parse.
    #[error("email is not an email address")]
    Email,
    /// Someone has it.
    #[error("email has already been taken")]
    EmailTaken,
    /// Nobody has it.
    #[error("there is no person with this email address")]
    NoSuchUser,
    /// The name is empty or too long.
    #[error("name must have 1 to 200 characters")]
    Name,
    /// The password is too short or too long.
    #[error("password must have {} to {} characters", PASSWORD_LEN.start(), PASSWORD_LEN.end())]
    Password,
    /// The org's name has other characters.
    #[error("name must begin with a letter or digit and have at most 63 letters, digits, dots, underscores or hyphens")]
    OrgName,
    /// There is an org of this name.
    #[error("name has already been taken")]
    OrgTaken,
    /// There is no org of this name.
    #[error("there is no org of this name")]
    NoSuchOrg,
    /// Hashing failed.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
    /// The database failed.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for AccountError {
    fn from(error: sqlx::Error) -> Self {
        match db::violated(&error) {
            Some("users_email_key") => Self::EmailTaken,
            Some("users_name_check") => Self::Name,
            Some("users_email_check") => Self::Email,
            Some("orgs_name_key") => Self::OrgTaken,
            Some("orgs_name_check") => Self::OrgName,
            _ => Self::Database(error),
        }
    }
}

/// A person to be.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// Where they are reached, and by what they sign in.
    pub email: &'a str,
    /// What they are called.
    pub name: &'a str,
    /// What only they know.
    pub password: Zeroizing<String>,
}

/// An attempt to sign in.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// As it was typed.
    pub email: &'a str,
    /// As it was typed.
    pub password: Zeroizing<String>,
    /// From where; guesses are counted by it.
    pub address: Option<IpAddr>,
    /// What the token is called; cut to 200 characters.
    pub note: &'a str,
    /// For a program or a browser.
    pub context: TokenContext,
}

/// Why an attempt to sign in got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Not looked at.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Someone who signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// What they are called.
    pub name: String,
    /// Their address.
    pub email: String,
    /// The secret to show or set once.
    pub secret: TokenSecret,
}

/// The proof that the viewer is a member of the org of this name; `None` for another org and for none.
///
/// # Errors
/// When the database fails.
pub async fn access(conn: &mut PgConnection, viewer: &Viewer, org: &str) -> sqlx::Result<Option<Org>> {
    store::find_org(conn, viewer, org).await
}

/// Every org of the viewer, by name.
///
/// # Errors
/// When the database fails.
pub async fn orgs(conn: &mut PgConnection, viewer: &Viewer) -> sqlx::Result<Vec<Org>> {
    store::list_orgs(conn, viewer).await
}

/// The org of this name, for the server's own jobs and for the command line.
///
/// # Errors
/// When the database fails.
pub async fn find_org(conn: &mut PgConnection, _proof: Sweep, name: &str) -> sqlx::Result<Option<OrgId>> {
    store::find_org_id(conn, name).await
}

/// Makes the first org and its admin; answers the admin's password, which is shown once. `None` when there is an org.
///
/// # Errors
/// [`AccountError`] when a name is refused.
pub async fn bootstrap(platform: &Platform, org: &str, email: &str) -> Result<Option<Zeroizing<String>>, AccountError> {
    let password = password::random_password(&platform.random);
    let mut tx = platform.db.begin().await?;
    if store::lock_any_org(&mut tx).await? {
        return Ok(None);
    }
    let user = NewUser {
        email,
        name: "Admin",
        password: password.clone(),
    };
    let user_id = insert_user(&mut tx, platform, user).await?;
    let org_id = insert_org(&mut tx, platform, &BOOTSTRAP, org).await?;
    store::upsert_membership(&mut tx, org_id, user_id, Role::Admin, platform.clock.now()).await?;
    tx.commit().await?;
    Ok(Some(password))
}

/// Makes a person who belongs to no org yet. Only the command line does.
///
/// # Errors
/// [`AccountError`] says which field is refused.
pub async fn create_user(platform: &Platform, user: NewUser<'_>) -> Result<UserId, AccountError> {
    let mut tx = platform.db.begin().await?;
    let id = insert_user(&mut tx, platform, user).await?;
    tx.commit().await?;
    Ok(id)
}

/// A password that nobody has to invent, for [`create_user`] and [`set_password`].
pub fn random_password(platform: &Platform) -> Zeroizing<String> {
    password::random_password(&platform.random)
}

/// Gives a person another password, and ends their sessions and tokens. Only the command line does.
///
/// # Errors
/// [`AccountError::NoSuchUser`], or what is wrong with the password.
pub async fn set_password(platform: &Platform, email: &str, password: Zeroizing<String>) -> Result<(), AccountError> {
    let email: Email = email.parse().map_err(|_| AccountError::Email)?;
    let hash = hash(platform, password).await?;
    let mut tx = platform.db.begin().await?;
    let user = store::find_user(&mut tx, email.as_str())
        .await?
        .ok_or(AccountError::NoSuchUser)?;
    store::update_password(&mut tx, user.id, &hash).await?;
    tx.commit().await?;
    Ok(())
}

/// Makes an org without members. Only the command line does.
///
/// # Errors
/// [`AccountError`] when the name is refused.
pub async fn create_org(platform: &Platform, name: &str) -> Result<OrgId, AccountError> {
    let mut tx = platform.db.begin().await?;
    let id = insert_org(&mut tx, platform, &COMMAND_LINE, name).await?;
    tx.commit().await?;
    Ok(id)
}

/// Makes an org with the viewer as its admin.
///
/// # Errors
/// [`AccountError`] when the name is refused.
pub async fn found_org(platform: &Platform, viewer: &Viewer, name: &str) -> Result<Org, AccountError> {
    let actor = Actor::User(viewer.user_id.0, viewer.name.clone());
    let mut tx = platform.db.begin().await?;
    let id = insert_org(&mut tx, platform, &actor, name).await?;
    store::upsert_membership(&mut tx, id, viewer.user_id, Role::Admin, platform.clock.now()).await?;
    let org = store::find_org(&mut tx, viewer, name)
        .await?
        .ok_or(AccountError::NoSuchOrg)?;
    tx.commit().await?;
    Ok(org)
}

/// Makes a person a member of an org, or changes their role. Only the command line does.
///
/// # Errors
/// [`AccountError::NoSuchOrg`] and [`AccountError::NoSuchUser`].
pub async fn add_member(platform: &Platform, org: &str, email: &str, role: Role) -> Result<(), AccountError> {
    let email: Email = email.parse().map_err(|_| AccountError::Email)?;
    let mut tx = platform.db.begin().await?;
    let org_id = store::find_org_id(&mut tx, org).await?.ok_or(AccountError::NoSuchOrg)?;
    let user = store::find_user(&mut tx, email.as_str())
        .await?
        .ok_or(AccountError::NoSuchUser)?;
    store::upsert_membership(&mut tx, org_id, user.id, role, platform.clock.now()).await?;
    let act = Act {
        org_id: org_id.0,
        actor: &COMMAND_LINE,
        action: "member.added",
        subject: subject("user", user.id.0, email.as_str()),
        detail: json!({ "role": role }),
    };
    audit::record(&mut tx, platform, act).await?;
    tx.commit().await?;
    Ok(())
}

/// Signs a person in; `None` when email and password do not belong together. An unknown email takes as long.
///
/// # Errors
/// [`SignInError::Refused`] after too many failures.
pub async fn sign_in(
    platform: &Platform,
    gate: &SignIns,
    attempt: Attempt<'_>,
) -> Result<Option<SignedIn>, SignInError> {
    let email = attempt.email.trim().to_lowercase();
    gate.admit(&email, attempt.address, platform.clock.now())?;
    let mut conn = platform.db.acquire().await?;
    let known = store::find_user(&mut conn, &email).await?;
    drop(conn);
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    let right = gate.check(attempt.password, hash).await?;
    let Some(known) = known.filter(|_| right) else {
        return Ok(None);
    };
    gate.succeeded(&email, attempt.address);
    let secret = issue(platform, known.id, attempt.context, attempt.note).await?;
    Ok(Some(SignedIn {
        name: known.name,
        email,
        secret,
    }))
}

async fn issue(platform: &Platform, user: UserId, context: TokenContext, note: &str) -> sqlx::Result<TokenSecret> {
    let now = platform.clock.now();
    let secret = TokenSecret::generate(&platform.random);
    let note: String = note
        .chars()
        .filter(|letter| !letter.is_control())
        .take(MAX_NOTE)
        .collect();
    let token = TokenRow {
        id: platform.new_id::<TokenId>(),
        user,
        context,
        hash: &secret.hash(),
        note: &note,
        expires_at: (context == TokenContext::Session).then(|| now + SESSION_LIFETIME),
    };
    let mut tx = platform.db.begin().await?;
    store::delete_expired(&mut tx, user, now).await?;
    store::insert_token(&mut tx, token, now).await?;
    tx.commit().await?;
    Ok(secret)
}

/// Makes an API token for a viewer.
///
/// # Errors
/// When the database fails.
pub async fn create_api_token(platform: &Platform, viewer: &Viewer, note: &str) -> sqlx::Result<TokenSecret> {
    issue(platform, viewer.user_id, TokenContext::Api, note).await
}

/// Whose API token this is.
///
/// # Errors
/// When the database fails.
pub async fn viewer_of_api_token(platform: &Platform, token: &str) -> sqlx::Result<Option<Viewer>> {
    viewer_of(platform, TokenContext::Api, token).await
}

/// Whose session this is: the cookie's value.
///
/// # Errors
/// When the database fails.
pub async fn viewer_of_session(platform: &Platform, secret: &str) -> sqlx::Result<Option<Viewer>> {
    viewer_of(platform, TokenContext::Session, secret).await
}

async fn viewer_of(platform: &Platform, context: TokenContext, text: &str) -> sqlx::Result<Option<Viewer>> {
    let Some(secret) = TokenSecret::parse(text) else {
        return Ok(None);
    };
    let now = platform.clock.now();
    let mut conn = platform.db.acquire().await?;
    let Some((viewer, token, stale)) = store::find_viewer(&mut conn, context, &secret.hash(), now).await? else {
        return Ok(None);
    };
    if stale {
        // Beside the request, on its own connection: no request waits for it, and none is taken for it.
        tokio::spawn(async move {
            if let Err(error) = store::update_last_used(&mut conn, token, now).await {
                tracing::debug!(%error, "a token's last use was not written");
            }
        });
    }
    Ok(Some(viewer))
}

/// Ends a session.
///
/// # Errors
/// When the database fails.
pub async fn sign_out(platform: &Platform, secret: &str) -> sqlx::Result<()> {
    let Some(secret) = TokenSecret::parse(secret) else {
        return Ok(());
    };
    let mut conn = platform.db.acquire().await?;
    store::delete_token(&mut conn, TokenContext::Session, &secret.hash()).await
}

async fn insert_user(conn: &mut PgConnection, platform: &Platform, user: NewUser<'_>) -> Result<UserId, AccountError> {
    let email: Email = user.email.parse().map_err(|_| AccountError::Email)?;
    let name = user.name.trim();
    let password_hash = hash(platform, user.password).await?;
    let row = UserRow {
        id: platform.new_id(),
        email: email.as_str(),
        name,
        password_hash: &password_hash,
    };
    let id = row.id;
    store::insert_user(conn, row, platform.clock.now()).await?;
    Ok(id)
}

async fn hash(platform: &Platform, password: Zeroizing<String>) -> Result<String, AccountError> {
    if !PASSWORD_LEN.contains(&password.chars().count()) {
        return Err(AccountError::Password);
    }
    Ok(password::hash(&platform.random, password).await?)
}

async fn insert_org(
    conn: &mut PgConnection,
    platform: &Platform,
    actor: &Actor,
    name: &str,
) -> Result<OrgId, AccountError> {
    let id: OrgId = platform.new_id();
    store::insert_org(conn, id, name, platform.clock.now()).await?;
    let act = Act {
        org_id: id.0,
        actor,
        action: "org.created",
        subject: subject("org", id.0, name),
        detail: json!({}),
    };
    audit::record(conn, platform, act).await?;
    Ok(id)
}

fn subject<'a>(kind: &'static str, id: Uuid, name: &'a str) -> Subject<'a> {
    Subject {
        kind,
        id: Some(id),
        name,
    }
}
