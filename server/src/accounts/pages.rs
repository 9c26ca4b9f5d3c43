//! Signing in and out, the theme, and the live stream of a session.

use std::collections::HashSet;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use zeroize::Zeroizing;

use super::model::SESSION_LIFETIME;
use super::service::{self, Attempt, SignInError};
use super::token::TokenContext;
use super::views::SignInPage;
use crate::app::App;
use crate::platform::Platform;
use crate::web::forms::Form;
use crate::web::page::{self, Frame};
use crate::web::stream::{self, Heard};
use crate::web::{Error, extract, session};

/// Where to go on.
#[derive(Debug, serde::Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

impl Next {
    /// A path of ours; anything else, which another site may have put there, is the home page.
    fn path(&self) -> &str {
        let next = self.next.as_str();
        let ours = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n', '\t']);
        if ours { next } else { "/" }
    }
}

/// Asks who is there.
pub async fn new(request: HttpRequest, next: web::Query<Next>) -> Result<HttpResponse, Error> {
    page::ok(&SignInPage {
        frame: Frame::new(&request, "Sign in"),
        email: String::new(),
        next: next.path().to_owned(),
        refused: None,
    })
}

/// Who someone says they are.
#[derive(serde::Deserialize)]
pub struct SignIn {
    email: String,
    password: String,
    #[serde(flatten)]
    next: Next,
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SignIn").finish_non_exhaustive()
    }
}

/// Signs a person in.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    Form(form): Form<SignIn>,
) -> Result<HttpResponse, Error> {
    let agent = request.headers().get(header::USER_AGENT);
    let attempt = Attempt {
        email: &form.email,
        password: Zeroizing::new(form.password),
        address: extract::address(&request),
        note: agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default(),
        context: TokenContext::Session,
    };
    let refused = match service::sign_in(&app.platform, &app.sign_ins, attempt).await {
        Ok(Some(person)) => {
            let cookie = session::keep(person.secret.text(), SESSION_LIFETIME, app.urls.public.is_https());
            let mut answer = page::see_other(form.next.path());
            answer
                .add_cookie(&cookie)
                .map_err(|error| Error::Internal(error.into()))?;
            return Ok(answer);
        }
        Ok(None) => "Email and password do not belong together. Check both and try again.".to_owned(),
        Err(SignInError::Refused(refused)) => refused.to_string(),
        Err(SignInError::Database(error)) => return Err(error.into()),
    };
    page::invalid(&SignInPage {
        frame: Frame::new(&request, "Sign in"),
        email: form.email,
        next: form.next.path().to_owned(),
        refused: Some(refused),
    })
}

/// A form without fields.
#[derive(Debug, serde::Deserialize)]
pub struct Nothing {}

/// Ends the session.
pub async fn delete(request: HttpRequest, app: web::Data<App>, _: Form<Nothing>) -> Result<HttpResponse, Error> {
    if let Some(secret) = session::secret(&request) {
        service::sign_out(&app.platform, &secret).await?;
        app.streams.end(&secret);
    }
    let mut answer = page::see_other("/sign-in");
    let cookie = session::forget(app.urls.public.is_https());
    answer
        .add_cookie(&cookie)
        .map_err(|error| Error::Internal(error.into()))?;
    Ok(answer)
}

/// A theme, for browsers without script.
#[derive(Debug, serde::Deserialize)]
pub struct Theme {
    theme: String,
    #[serde(flatten)]
    next: Next,
}

/// Keeps the chosen theme.
pub async fn theme(app: web::Data<App>, Form(form): Form<Theme>) -> Result<HttpResponse, Error> {
    let mut answer = page::see_other(form.next.path());
    if matches!(form.theme.as_str(), "dark" | "light" | "system") {
        let cookie = session::keep_theme(&form.theme, app.urls.public.is_https());
        answer
            .add_cookie(&cookie)
            .map_err(|error| Error::Internal(error.into()))?;
    }
    Ok(answer)
}

/// Where a browser's stream stood.
#[derive(Debug, serde::Deserialize)]
pub struct After {
    after: Option<i64>,
}

/// The live stream of the session's person: news of their orgs.
pub async fn live(request: HttpRequest, app: web::Data<App>, query: web::Query<After>) -> Result<HttpResponse, Error> {
    let Some(secret) = session::secret(&request) else {
        return Ok(stream::ended());
    };
    let Some(viewer) = service::viewer_of_session(&app.platform, &secret).await? else {
        return Ok(stream::ended());
    };
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
    let after = last.and_then(|id| id.parse().ok()).or(query.after);
    let seat = app.streams.sit(viewer.user_id().0, &secret);
    let platform = app.platform.clone();
    let authorise = move || heard(platform.clone(), secret.clone());
    stream::respond(seat, &app.platform, app.stopping.clone(), after, authorise).await
}

/// Whose news a session may hear; `None` when it has ended.
async fn heard(platform: Platform, secret: String) -> Result<Heard, Error> {
    let Some(viewer) = service::viewer_of_session(&platform, &secret).await? else {
        return Ok(None);
    };
    let mut conn = platform.db.acquire().await?;
    let orgs: HashSet<_> = service::orgs(&mut conn, &viewer)
        .await?
        .iter()
        .map(|org| org.id().0)
        .collect();
    Ok(Some(orgs))
}

#[cfg(test)]
mod tests {
    use super::Next;

    #[test]
    fn after_signing_in_one_stays_with_us() {
        let path = |next: &str| Next { next: next.to_owned() }.path().to_owned();
        assert_eq!(path("/org/acme/kiosk/devices?q=a"), "/org/acme/kiosk/devices?q=a");
        for foreign in ["", "https://evil.example", "//evil.example", "/\\evil.example", "evil"] {
            assert_eq!(path(foreign), "/", "{foreign}");
        }
    }
}
