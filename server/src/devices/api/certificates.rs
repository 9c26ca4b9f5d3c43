//! Certificates of devices over REST.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::devices::extract::Found;
use crate::devices::model::DeviceCertificate;
use crate::devices::service;
use crate::web::error::OrNotFound as _;
use crate::web::extract::{self, Body};
use crate::web::{Error, api};

/// `GET D/certificates`.
pub async fn index(app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let certificates = service::certificates(&mut conn, found.product.org(), found.device.id).await?;
    Ok(api::data(certificates.iter().map(json).collect::<Vec<_>>()))
}

/// A certificate to pin: PEM, or base64 of it.
#[derive(Debug, Deserialize)]
pub struct NewCertificate {
    cert: Option<String>,
}

/// `POST D/certificates`.
pub async fn create(app: web::Data<App>, found: Found, Body(new): Body<NewCertificate>) -> Result<HttpResponse, Error> {
    let Found { product, device } = found.present()?;
    let cert = new.cert.ok_or_else(|| Error::invalid("cert", "can't be blank"))?;
    let pem = api::pem("cert", &cert)?;
    let added = service::add_certificate(&app.platform, product.org(), &device, &pem).await?;
    let (org, identifier) = (product.org().name(), device.identifier.as_str());
    let place = [
        "orgs",
        org,
        "products",
        product.name(),
        "devices",
        identifier,
        "certificates",
        &added.serial,
    ];
    Ok(api::created(&place, json(&added)))
}

/// `GET D/certificates/{serial}`.
pub async fn show(request: HttpRequest, app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    let serial = extract::name(&request, "serial")?;
    let mut conn = app.platform.db.acquire().await?;
    let certificates = service::certificates(&mut conn, found.product.org(), found.device.id).await?;
    let certificate = certificates.iter().find(|certificate| certificate.serial == serial);
    Ok(api::data(json(certificate.or_404()?)))
}

/// `DELETE D/certificates/{serial}`.
pub async fn delete(request: HttpRequest, app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    let serial = extract::name(&request, "serial")?;
    let Found { product, device } = found.present()?;
    let removed = service::remove_certificate(&app.platform, product.org(), &device, &serial).await?;
    removed.then(|| api::deleted(&request)).or_404()
}

fn json(certificate: &DeviceCertificate) -> Value {
    json!({
        "serial": certificate.serial,
        "not_before": api::zulu(certificate.not_before),
        "not_after": api::zulu(certificate.not_after),
        "last_used": certificate.last_used_at.map(api::zulu),
    })
}
