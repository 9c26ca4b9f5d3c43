//! Accounts over REST: signing in, who am I.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::model::Viewer;
use super::service::{self, AccountError, Attempt, SignInError};
use super::token::TokenContext;
use crate::app::App;
use crate::web::extract::{self, Body};
use crate::web::{Error, api};

/// What a failed sign-in is answered.
const FAILED: &str = "Authentication failed, please check your username and password and try again.";

/// What a client sends to sign in.
#[derive(Debug, Deserialize)]
pub struct Login {
    email: Option<String>,
    password: Option<String>,
    note: Option<String>,
}

/// `POST /api/users/login`, `/api/users/auth`: a new API token for email and password.
pub async fn login(request: HttpRequest, app: web::Data<App>, Body(login): Body<Login>) -> Result<HttpResponse, Error> {
    let (Some(email), Some(password)) = (login.email, login.password) else {
        return Err(Error::BadRequest("email and password are needed".to_owned()));
    };
    let attempt = Attempt {
        email: &email,
        password: Zeroizing::new(password),
        address: extract::address(&request),
        note: login.note.as_deref().unwrap_or_default(),
        context: TokenContext::Api,
    };
    let signed_in = service::sign_in(&app.platform, &app.sign_ins, attempt).await?;
    let person = signed_in.ok_or_else(|| Error::Unauthorized(FAILED.to_owned()))?;
    Ok(api::data(
        json!({ "name": person.name, "email": person.email, "token": person.secret.text() }),
    ))
}

/// `GET /api/users/me`.
pub async fn me(viewer: Viewer) -> HttpResponse {
    api::data(json!({ "name": viewer.name(), "email": viewer.email() }))
}

impl From<AccountError> for Error {
    fn from(error: AccountError) -> Self {
        let message = error.to_string();
        let of = |field: &'static str| Self::invalid(field, message.trim_start_matches(field).trim_start());
        match error {
            AccountError::Email | AccountError::EmailTaken => of("email"),
            AccountError::Name | AccountError::OrgName | AccountError::OrgTaken => of("name"),
            AccountError::Password => of("password"),
            AccountError::NoSuchUser | AccountError::NoSuchOrg => Self::NotFound,
            AccountError::Internal(cause) => Self::Internal(cause),
            AccountError::Database(cause) => Self::Internal(cause.into()),
        }
    }
}

impl From<SignInError> for Error {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Refused(refused) => Self::TooMany(refused.to_string()),
            SignInError::Database(cause) => Self::Internal(cause.into()),
        }
    }
}

impl From<super::Forbidden> for Error {
    fn from(error: super::Forbidden) -> Self {
        Self::Forbidden(error.to_string())
    }
}
