//! CA certificates over REST.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::model::{Ca, Jitp, VERIFICATION_URI};
use super::service::{self, ChangeError, Changes, RegisterError, Registration};
use crate::accounts::Org;
use crate::app::App;
use crate::devices::Tag;
use crate::products;
use crate::web::coerce::{Words, boolean};
use crate::web::error::OrNotFound as _;
use crate::web::extract::{self, Body};
use crate::web::{Error, api};

/// How long a description may be.
const MAX_DESCRIPTION: usize = 500;

/// `GET O/ca_certificates`.
pub async fn index(app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let cas = service::list(&mut conn, &org).await?;
    Ok(api::data(cas.iter().map(json).collect::<Vec<_>>()))
}

/// `GET O/ca_certificates/verification_token`.
pub async fn verification_token(app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    let token = token(&app, &org).await?;
    Ok(api::data(json!({ "verification_token": token })))
}

async fn token(app: &App, org: &Org) -> Result<String, Error> {
    let token = service::verification_token(&app.platform, org).await;
    token.map_err(|error| Error::Internal(error.into()))
}

/// A CA to register; the certificates are PEM, or base64 of it.
#[derive(Debug, Deserialize)]
pub struct NewCa {
    cert: Option<String>,
    verification_cert: Option<String>,
    description: Option<String>,
    jitp: Option<NewJitp>,
}

/// What an unknown device becomes.
#[derive(Debug, Deserialize)]
pub struct NewJitp {
    product_id: Option<Value>,
    product_name: Option<String>,
    tags: Option<Words>,
    description: Option<String>,
}

/// `POST O/ca_certificates`. Without a proof that the CA is the org's: 422 that says how to make one.
pub async fn create(app: web::Data<App>, org: Org, Body(new): Body<NewCa>) -> Result<HttpResponse, Error> {
    let cert = new
        .cert
        .ok_or_else(|| Error::Refused("cert is missing: the CA certificate.".to_owned()))?;
    let Some(verification) = new.verification_cert else {
        return Err(unproven(&token(&app, &org).await?));
    };
    short("description", new.description.as_deref())?;
    let mut conn = app.platform.db.acquire().await?;
    let jitp = match new.jitp {
        Some(jitp) => Some(read_jitp(&mut conn, &org, jitp).await?),
        None => None,
    };
    drop(conn);
    let registration = Registration {
        certificate_pem: &api::pem("cert", &cert)?,
        verification_pem: &api::pem("verification_cert", &verification)?,
        description: new.description.as_deref(),
        jitp,
    };
    let ca = service::register(&app.platform, &org, registration).await?;
    Ok(api::created(
        &["orgs", org.name(), "ca_certificates", &ca.serial],
        json(&ca),
    ))
}

fn unproven(token: &str) -> Error {
    Error::Refused(format!(
        "verification_cert is missing: the proof that the CA is yours. Make a certificate, signed by the CA, with the alternative name URI:{VERIFICATION_URI}{token} and send it within the hour."
    ))
}

fn short(field: &'static str, text: Option<&str>) -> Result<(), Error> {
    if text.is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
        return Err(Error::invalid(field, "should be at most 500 characters"));
    }
    Ok(())
}

/// The product is named, or given by its id.
async fn read_jitp(conn: &mut PgConnection, org: &Org, jitp: NewJitp) -> Result<Jitp, Error> {
    let products = products::service::list(conn, org).await?;
    let product = products.into_iter().find(|product| {
        let is_id = jitp
            .product_id
            .as_ref()
            .is_some_and(|id| *id == product.id().to_string());
        is_id || jitp.product_name.as_deref() == Some(product.name())
    });
    let product = product.ok_or_else(|| Error::invalid_in("jitp", "product_name", "is not a product of this org"))?;
    short("description", jitp.description.as_deref())?;
    let words = jitp.tags.unwrap_or_default().0;
    let tags = Tag::read(words.iter().map(String::as_str));
    let tags = tags.map_err(|error| Error::invalid_in("jitp", "tags", error.to_string()))?;
    Ok(Jitp {
        product_id: product.id(),
        product_name: product.name().to_owned(),
        tags: Tag::texts(tags),
        description: jitp.description.unwrap_or_default(),
    })
}

/// `GET O/ca_certificates/{serial}`.
pub async fn show(request: HttpRequest, app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    let serial = extract::name(&request, "serial")?;
    let mut conn = app.platform.db.acquire().await?;
    let ca = service::find(&mut conn, &org, &serial).await?.or_404()?;
    Ok(api::data(json(&ca)))
}

/// What may be changed of a CA.
#[derive(Debug, Deserialize)]
pub struct Changed {
    renews: Option<Value>,
    check_expiration: Option<Value>,
}

/// `PUT O/ca_certificates/{serial}`, `PATCH O/ca_certificates/{serial}`.
pub async fn update(
    request: HttpRequest,
    app: web::Data<App>,
    org: Org,
    Body(changed): Body<Changed>,
) -> Result<HttpResponse, Error> {
    let serial = extract::name(&request, "serial")?;
    let read = |field: &'static str, value: Option<Value>| {
        let read = value.map(|value| boolean(&value).ok_or_else(|| Error::invalid(field, "is invalid")));
        read.transpose()
    };
    let changes = Changes {
        renews: read("renews", changed.renews)?,
        check_expiration: read("check_expiration", changed.check_expiration)?,
    };
    let mut conn = app.platform.db.acquire().await?;
    let ca = service::find(&mut conn, &org, &serial).await?.or_404()?;
    drop(conn);
    let ca = service::update(&app.platform, &org, &ca, changes).await?;
    Ok(api::data(json(&ca)))
}

/// `DELETE O/ca_certificates/{serial}`.
pub async fn delete(request: HttpRequest, app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    let serial = extract::name(&request, "serial")?;
    let mut conn = app.platform.db.acquire().await?;
    let ca = service::find(&mut conn, &org, &serial).await?.or_404()?;
    drop(conn);
    service::remove(&app.platform, &org, &ca).await?;
    Ok(api::deleted(&request))
}

fn json(ca: &Ca) -> Value {
    json!({
        "serial": ca.serial,
        "not_before": api::zulu(ca.not_before),
        "not_after": api::zulu(ca.not_after),
        "description": ca.description,
        "check_expiration": ca.check_expiration,
        "renews": ca.renews,
        "last_used": ca.last_used_at.map(api::zulu),
        "jitp": ca.jitp.as_ref().map(|jitp| json!({
            "product_name": jitp.product_name,
            "tags": jitp.tags,
            "description": jitp.description,
        })),
    })
}

impl From<RegisterError> for Error {
    fn from(error: RegisterError) -> Self {
        let message = error.to_string();
        match error {
            RegisterError::Forbidden(forbidden) => forbidden.into(),
            RegisterError::Vault(cause) => Self::Internal(cause.into()),
            RegisterError::Database(cause) => Self::Internal(cause.into()),
            _ => Self::Refused(message),
        }
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Forbidden(forbidden) => forbidden.into(),
            ChangeError::NotHeld => Self::invalid("renews", error.to_string()),
            ChangeError::Database(cause) => Self::Internal(cause.into()),
        }
    }
}
