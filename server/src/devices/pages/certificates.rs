//! A device's certificates: pinned by pasting, removed by a button.

use actix_web::{HttpRequest, HttpResponse, web};

use super::refusal;
use super::show::{Nothing, device, render, url};
use crate::app::App;
use crate::devices::service;
use crate::products::Product;
use crate::web::forms::{Form, wrong};
use crate::web::page;
use crate::web::{Error, OrNotFound as _, extract};

/// A certificate as it is pasted.
#[derive(Debug, serde::Deserialize)]
pub struct Pasted {
    certificate: String,
}

/// Pins a certificate.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(form): Form<Pasted>,
) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    match service::add_certificate(&app.platform, product.org(), &device, &form.certificate).await {
        Ok(_) => Ok(page::see_other(&format!("{}#certificates", url(&product, &device)))),
        Err(error) => {
            let wrong = wrong(refusal(error, "certificate"))?;
            let pem = if form.certificate.is_empty() {
                " ".to_owned()
            } else {
                form.certificate
            };
            render(&request, &app, &product, &device, wrong, pem).await
        }
    }
}

/// Removes a certificate; the device's link ends.
pub async fn delete(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    _: Form<Nothing>,
) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    let serial = extract::name(&request, "serial")?;
    service::remove_certificate(&app.platform, product.org(), &device, &serial)
        .await
        .map_err(|error| refusal(error, ""))?
        .then_some(())
        .or_404()?;
    Ok(page::see_other(&format!("{}#certificates", url(&product, &device))))
}
