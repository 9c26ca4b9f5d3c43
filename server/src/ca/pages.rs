//! Pages of CA certificates: list, register with a proof of possession, remove.

use actix_web::{HttpRequest, HttpResponse, web};

use super::model::Ca;
use super::service::{self, ChangeError, Changes, RegisterError, Registration};
use super::views::{DeletePage, IndexPage};
use crate::accounts::{Org, Role};
use crate::app::App;
use crate::products::views::org_frame;
use crate::web::forms::{Confirmed, Form, Wrong, wrong};
use crate::web::page::{self, Section, path};
use crate::web::{Error, OrNotFound as _, extract};

/// A CA as it is filled in.
#[derive(Debug, Default, serde::Deserialize)]
pub struct Fields {
    certificate: String,
    verification: String,
    description: String,
}

/// The org's CAs.
pub async fn index(request: HttpRequest, app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    page::ok(&list(&request, &app, &org, Fields::default(), Wrong::nothing()).await?)
}

async fn list(request: &HttpRequest, app: &App, org: &Org, fields: Fields, wrong: Wrong) -> Result<IndexPage, Error> {
    let token = service::verification_token(&app.platform, org)
        .await
        .map_err(|error| Error::Internal(error.into()))?;
    let mut conn = app.platform.db.acquire().await?;
    Ok(IndexPage {
        frame: org_frame(request, org, Section::Authorities, "CA certificates"),
        authorities: service::list(&mut conn, org).await?,
        may_change: org.require(Role::Manage).is_ok(),
        now: app.platform.clock.now(),
        wrong,
        token,
        certificate: fields.certificate,
        verification: fields.verification,
        description: fields.description,
    })
}

fn authorities_url(org: &Org) -> String {
    path(&["org", org.name(), "settings", "authorities"])
}

/// Registers a CA.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    org: Org,
    Form(fields): Form<Fields>,
) -> Result<HttpResponse, Error> {
    let description = Some(fields.description.trim()).filter(|text| !text.is_empty());
    let registration = Registration {
        certificate_pem: &fields.certificate,
        verification_pem: &fields.verification,
        description,
        jitp: None,
    };
    match service::register(&app.platform, &org, registration).await {
        Ok(_) => Ok(page::see_other(&authorities_url(&org))),
        Err(error) => {
            let wrong = wrong(refusal(error))?;
            page::invalid(&list(&request, &app, &org, fields, wrong).await?)
        }
    }
}

fn refusal(error: RegisterError) -> Error {
    match error {
        RegisterError::Database(error) => error.into(),
        RegisterError::Vault(error) => Error::Internal(error.into()),
        RegisterError::Forbidden(error) => Error::Forbidden(error.to_string()),
        RegisterError::Verification(_) | RegisterError::NotProven => Error::invalid("verification", error.to_string()),
        error => Error::invalid("certificate", error.to_string()),
    }
}

async fn ca(request: &HttpRequest, app: &App, org: &Org) -> Result<Ca, Error> {
    let serial = extract::name(request, "serial")?;
    let mut conn = app.platform.db.acquire().await?;
    service::find(&mut conn, org, &serial).await?.or_404()
}

fn asking(request: &HttpRequest, org: &Org, ca: Ca, wrong: Wrong) -> DeletePage {
    DeletePage {
        frame: org_frame(request, org, Section::Authorities, "Remove").under("CA certificates", authorities_url(org)),
        url: authorities_url(org),
        ca,
        wrong,
    }
}

/// Asks before the CA is removed.
pub async fn confirm(request: HttpRequest, app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    let ca = ca(&request, &app, &org).await?;
    page::ok(&asking(&request, &org, ca, Wrong::nothing()))
}

/// Removes a CA.
pub async fn delete(
    request: HttpRequest,
    app: web::Data<App>,
    org: Org,
    Form(form): Form<Confirmed>,
) -> Result<HttpResponse, Error> {
    let ca = ca(&request, &app, &org).await?;
    if !form.is(&ca.serial) {
        let wrong = wrong(Error::invalid("confirm", "is not the serial number of this CA"))?;
        return page::invalid(&asking(&request, &org, ca, wrong));
    }
    service::remove(&app.platform, &org, &ca).await.map_err(unchanged)?;
    Ok(page::see_other(&authorities_url(&org)))
}

fn unchanged(error: ChangeError) -> Error {
    match error {
        ChangeError::Database(error) => error.into(),
        ChangeError::Forbidden(error) => Error::Forbidden(error.to_string()),
        ChangeError::NotHeld => Error::Conflict(format!("Renewal {error}.")),
    }
}

/// Whether the CA is to issue devices' next certificates.
#[derive(Debug, serde::Deserialize)]
pub struct Renewal {
    renews: bool,
}

/// Switches renewal by the CA on or off.
pub async fn renewal(
    request: HttpRequest,
    app: web::Data<App>,
    org: Org,
    Form(form): Form<Renewal>,
) -> Result<HttpResponse, Error> {
    let ca = ca(&request, &app, &org).await?;
    let changes = Changes {
        renews: Some(form.renews),
        ..Changes::default()
    };
    service::update(&app.platform, &org, &ca, changes)
        .await
        .map_err(unchanged)?;
    Ok(page::see_other(&authorities_url(&org)))
}
