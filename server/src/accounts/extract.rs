//! The viewer, and the org of the path, as handlers take them.

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;

use super::model::{Org, SESSION_COOKIE, Viewer};
use super::service;
use crate::app::App;
use crate::web::error::OrNotFound as _;
use crate::web::{Error, extract};

/// Every path of the REST API begins with it.
const API: &str = "/api/";

/// The app's handles of a request.
///
/// # Errors
/// When the server was built without them.
pub fn app(request: &HttpRequest) -> Result<web::Data<App>, Error> {
    let app = request.app_data::<web::Data<App>>().cloned();
    app.ok_or_else(|| Error::Internal(anyhow::anyhow!("the server was built without its App")))
}

/// What a request offers as proof of who asks.
enum Credential {
    Token(String),
    Session(String),
}

/// The `Authorization` header if there is one, or else the cookie. The API takes a cookie only for reading: a form of
/// another site must not act on a signed-in person's behalf.
fn credential(request: &HttpRequest) -> Option<Credential> {
    if let Some(header) = request.headers().get(header::AUTHORIZATION) {
        let mut words = header.to_str().ok()?.split(' ');
        let scheme = words.next()?.to_ascii_lowercase();
        let token = words.next()?.to_owned();
        return matches!(scheme.as_str(), "token" | "bearer").then_some(Credential::Token(token));
    }
    if request.path().starts_with(API) && !request.method().is_safe() {
        return None;
    }
    let cookie = request.cookie(SESSION_COOKIE)?;
    Some(Credential::Session(cookie.value().to_owned()))
}

async fn viewer(request: &HttpRequest) -> Result<Viewer, Error> {
    let app = app(request)?;
    let found = match credential(request) {
        Some(Credential::Token(token)) => service::viewer_of_api_token(&app.platform, &token).await?,
        Some(Credential::Session(secret)) => service::viewer_of_session(&app.platform, &secret).await?,
        None => None,
    };
    found.ok_or_else(Error::unauthenticated)
}

impl FromRequest for Viewer {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { viewer(&request).await })
    }
}

/// The org `{org}` of the path: 404 for one that the viewer is not a member of.
impl FromRequest for Org {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let viewer = viewer(&request).await?;
            let org = extract::name(&request, "org")?;
            let mut conn = app(&request)?.platform.db.acquire().await?;
            service::access(&mut conn, &viewer, &org).await?.or_404()
        })
    }
}
