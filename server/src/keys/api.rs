//! Signing keys over REST.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::model::{SCHEME, SigningKey};
use super::service::{self, SigningKeyError};
use crate::accounts::Org;
use crate::app::App;
use crate::web::error::OrNotFound as _;
use crate::web::extract::{self, Body};
use crate::web::{Error, api};

/// `GET O/keys`.
pub async fn index(app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let keys = service::list(&mut conn, &org).await?;
    Ok(api::data(keys.iter().map(json).collect::<Vec<_>>()))
}

/// A key to be.
#[derive(Debug, Deserialize)]
pub struct NewKey {
    name: Option<String>,
    key: Option<String>,
    scheme: Option<String>,
}

/// `POST O/keys`.
pub async fn create(app: web::Data<App>, org: Org, Body(new): Body<NewKey>) -> Result<HttpResponse, Error> {
    let blank = |field| Error::invalid(field, "can't be blank");
    let name = new.name.ok_or_else(|| blank("name"))?;
    let key = new.key.ok_or_else(|| blank("key"))?;
    let key = service::create(&app.platform, &org, name.trim(), &key, new.scheme.as_deref()).await?;
    Ok(api::created(&["orgs", org.name(), "keys", &key.name], json(&key)))
}

/// `GET O/keys/{name}`.
pub async fn show(request: HttpRequest, app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    let name = extract::name(&request, "key")?;
    let mut conn = app.platform.db.acquire().await?;
    let key = service::find(&mut conn, &org, &name).await?.or_404()?;
    Ok(api::data(json(&key)))
}

/// `DELETE O/keys/{name}`.
pub async fn delete(request: HttpRequest, app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    let name = extract::name(&request, "key")?;
    service::delete(&app.platform, &org, &name).await?;
    Ok(api::deleted(&request))
}

fn json(key: &SigningKey) -> Value {
    json!({ "name": key.name, "key": key.key.to_string(), "scheme": SCHEME })
}

impl From<SigningKeyError> for Error {
    fn from(error: SigningKeyError) -> Self {
        let message = error.to_string();
        match error {
            SigningKeyError::Forbidden(forbidden) => forbidden.into(),
            SigningKeyError::Name | SigningKeyError::NameTaken => Self::invalid("name", message),
            SigningKeyError::Key(_) | SigningKeyError::KeyTaken => Self::invalid("key", message),
            SigningKeyError::Scheme => Self::invalid("scheme", message),
            SigningKeyError::InUse => Self::InUse(BTreeMap::from([("firmwares", vec![message])])),
            SigningKeyError::Unknown => Self::NotFound,
            SigningKeyError::Database(cause) => Self::Internal(cause.into()),
        }
    }
}
