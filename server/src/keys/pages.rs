//! Pages of signing keys: list, add, delete.

use actix_web::{HttpRequest, HttpResponse, web};

use super::model::SigningKey;
use super::service::{self, SigningKeyError};
use super::views::{DeletePage, IndexPage};
use crate::accounts::{Org, Role};
use crate::app::App;
use crate::products::views::org_frame;
use crate::web::forms::{Confirmed, Form, Wrong, wrong};
use crate::web::page::{self, Section, path};
use crate::web::{Error, OrNotFound as _, extract};

/// A key as it is filled in.
#[derive(Debug, Default, serde::Deserialize)]
pub struct Fields {
    name: String,
    key: String,
}

/// The org's keys.
pub async fn index(request: HttpRequest, app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    page::ok(&list(&request, &app, &org, Fields::default(), Wrong::nothing()).await?)
}

async fn list(request: &HttpRequest, app: &App, org: &Org, fields: Fields, wrong: Wrong) -> Result<IndexPage, Error> {
    let mut conn = app.platform.db.acquire().await?;
    Ok(IndexPage {
        frame: org_frame(request, org, Section::Keys, "Signing keys"),
        keys: service::list(&mut conn, org).await?,
        may_change: org.require(Role::Manage).is_ok(),
        wrong,
        name: fields.name,
        key: fields.key,
    })
}

fn keys_url(org: &Org) -> String {
    path(&["org", org.name(), "settings", "keys"])
}

/// Trusts a key.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    org: Org,
    Form(fields): Form<Fields>,
) -> Result<HttpResponse, Error> {
    match service::create(&app.platform, &org, fields.name.trim(), fields.key.trim(), None).await {
        Ok(_) => Ok(page::see_other(&keys_url(&org))),
        Err(error) => {
            let wrong = wrong(refusal(error))?;
            page::invalid(&list(&request, &app, &org, fields, wrong).await?)
        }
    }
}

fn refusal(error: SigningKeyError) -> Error {
    match error {
        SigningKeyError::Database(error) => error.into(),
        SigningKeyError::Forbidden(error) => Error::Forbidden(error.to_string()),
        SigningKeyError::Unknown => Error::NotFound,
        SigningKeyError::InUse => {
            Error::Conflict("Firmware or an archive is signed with this key. Delete that first.".to_owned())
        }
        SigningKeyError::Name | SigningKeyError::NameTaken => Error::invalid("name", error.to_string()),
        SigningKeyError::Key(_) | SigningKeyError::KeyTaken | SigningKeyError::Scheme => {
            Error::invalid("key", error.to_string())
        }
    }
}

fn asking(request: &HttpRequest, org: &Org, key: SigningKey, wrong: Wrong) -> DeletePage {
    DeletePage {
        frame: org_frame(request, org, Section::Keys, "Delete").under("Signing keys", keys_url(org)),
        url: keys_url(org),
        key,
        wrong,
    }
}

async fn key(request: &HttpRequest, app: &App, org: &Org) -> Result<SigningKey, Error> {
    let name = extract::name(request, "key")?;
    let mut conn = app.platform.db.acquire().await?;
    service::find(&mut conn, org, &name).await?.or_404()
}

/// Asks before the key is deleted.
pub async fn confirm(request: HttpRequest, app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    let key = key(&request, &app, &org).await?;
    page::ok(&asking(&request, &org, key, Wrong::nothing()))
}

/// Trusts a key no longer.
pub async fn delete(
    request: HttpRequest,
    app: web::Data<App>,
    org: Org,
    Form(form): Form<Confirmed>,
) -> Result<HttpResponse, Error> {
    let key = key(&request, &app, &org).await?;
    let done = if form.is(&key.name) {
        service::delete(&app.platform, &org, &key.name).await.map_err(refusal)
    } else {
        Err(Error::invalid("confirm", "is not the name of this key"))
    };
    match done {
        Ok(()) => Ok(page::see_other(&keys_url(&org))),
        Err(error) => page::invalid(&asking(&request, &org, key, wrong(error)?)),
    }
}
