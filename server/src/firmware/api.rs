//! Firmware over REST.

use std::collections::BTreeMap;

use actix_multipart::Multipart;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::model::Firmware;
use super::receive::receive;
use super::service::{self, FirmwareError};
use super::upload::UploadError;
use crate::app::App;
use crate::products::Product;
use crate::web::error::OrNotFound as _;
use crate::web::{Error, api, extract};

/// `GET P/firmwares`.
pub async fn index(app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let firmware = service::list(&mut conn, &product).await?;
    let shown: Vec<Value> = firmware.iter().map(|one| json(&product, one)).collect();
    Ok(api::data(shown))
}

/// `POST P/firmwares`.
pub async fn create(app: web::Data<App>, product: Product, form: Multipart) -> Result<HttpResponse, Error> {
    let firmware = receive(&app.platform, &product, form).await?;
    let (org, uuid) = (product.org().name(), firmware.uuid.to_string());
    let place = ["orgs", org, "products", product.name(), "firmwares", &uuid];
    Ok(api::created(&place, json(&product, &firmware)))
}

/// `GET P/firmwares/{uuid}`.
pub async fn show(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let firmware = service::find(&mut conn, &product, uuid(&request)?).await?.or_404()?;
    Ok(api::data(json(&product, &firmware)))
}

/// `DELETE P/firmwares/{uuid}`.
pub async fn delete(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    service::delete(&app.platform, &product, uuid(&request)?).await?;
    Ok(api::deleted(&request))
}

/// `GET P/firmwares/{uuid}/download`: the way to the archive.
pub async fn download(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let path = service::download_path(&app.platform, &app.firmware_urls, &product, uuid(&request)?).await?;
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, path))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish())
}

fn uuid(request: &HttpRequest) -> Result<Uuid, Error> {
    extract::name(request, "uuid")?.parse().or(Err(Error::NotFound))
}

fn json(product: &Product, firmware: &Firmware) -> Value {
    let sha256: String = firmware
        .sha256
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    json!({
        "uuid": firmware.uuid,
        "version": firmware.version,
        "platform": firmware.platform,
        "architecture": firmware.architecture,
        "author": firmware.author,
        "description": firmware.description,
        "vcs_identifier": firmware.vcs_identifier,
        "misc": firmware.misc,
        "product": product.name(),
        "tool": "fwup",
        "size": firmware.size_bytes,
        "sha256": sha256,
        "signed_by": firmware.signed_by,
        "inserted_at": api::naive(firmware.created_at),
        "expires_at": firmware.expires_at.map(api::zulu),
    })
}

impl From<FirmwareError> for Error {
    fn from(error: FirmwareError) -> Self {
        let message = error.to_string();
        match error {
            FirmwareError::Forbidden(forbidden) => forbidden.into(),
            FirmwareError::InUse => Self::Invalid(BTreeMap::from([("deployment_releases", vec![message])])),
            FirmwareError::Unknown => Self::NotFound,
            FirmwareError::Database(cause) => Self::Internal(cause.into()),
        }
    }
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        let message = error.to_string();
        match error {
            UploadError::Forbidden(forbidden) => forbidden.into(),
            UploadError::UuidTaken => Self::invalid("uuid", message),
            UploadError::VersionTaken => Self::invalid("version", message),
            UploadError::Store(cause) => Self::Internal(cause.into()),
            UploadError::Internal(cause) => Self::Internal(cause),
            UploadError::Database(cause) => Self::Internal(cause.into()),
            _ => Self::Refused(message),
        }
    }
}
