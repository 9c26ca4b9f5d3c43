//! Packages over REST: what every kind answers.

use std::collections::BTreeMap;

use actix_multipart::Multipart;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Kind;
use super::model::Package;
use super::receive::receive;
use super::service::{self, PackageError};
use super::upload::UploadError;
use crate::app::App;
use crate::products::Product;
use crate::web::error::OrNotFound as _;
use crate::web::{Error, api, extract};

/// `GET P/{plural}`.
pub async fn index<K: Kind>(app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let packages = service::list::<K>(&mut conn, &product).await?;
    let shown: Vec<Value> = packages.iter().map(|one| json(&product, one)).collect();
    Ok(api::data(shown))
}

/// `POST P/{plural}`.
pub async fn create<K: Kind>(app: web::Data<App>, product: Product, form: Multipart) -> Result<HttpResponse, Error> {
    let package = receive::<K>(&app.platform, &product, form).await?;
    let (org, uuid) = (product.org().name(), package.uuid.to_string());
    let place = ["orgs", org, "products", product.name(), K::PLURAL, &uuid];
    Ok(api::created(&place, json(&product, &package)))
}

/// `GET P/{plural}/{uuid}`.
pub async fn show<K: Kind>(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let package = service::find::<K>(&mut conn, &product, uuid(&request)?)
        .await?
        .or_404()?;
    Ok(api::data(json(&product, &package)))
}

/// `DELETE P/{plural}/{uuid}`.
pub async fn delete<K: Kind>(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
) -> Result<HttpResponse, Error> {
    service::delete::<K>(&app.platform, &product, uuid(&request)?).await?;
    Ok(api::deleted(&request))
}

/// `GET P/{plural}/{uuid}/download`: the way to the archive.
pub async fn download<K: Kind>(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
) -> Result<HttpResponse, Error> {
    let path = service::download_path::<K>(&app.platform, &app.package_urls, &product, uuid(&request)?).await?;
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, path))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish())
}

fn uuid(request: &HttpRequest) -> Result<Uuid, Error> {
    extract::name(request, "uuid")?.parse().or(Err(Error::NotFound))
}

fn json<K>(product: &Product, package: &Package<K>) -> Value {
    json!({
        "uuid": package.uuid,
        "version": package.version,
        "platform": package.platform,
        "architecture": package.architecture,
        "author": package.author,
        "description": package.description,
        "vcs_identifier": package.vcs_identifier,
        "misc": package.misc,
        "product": product.name(),
        "tool": "fwup",
        "size": package.size_bytes,
        "sha256": package.checksum(),
        "signed_by": package.signed_by,
        "inserted_at": api::naive(package.created_at),
        "expires_at": package.expires_at.map(api::zulu),
    })
}

impl From<PackageError> for Error {
    fn from(error: PackageError) -> Self {
        let message = error.to_string();
        match error {
            PackageError::Forbidden(forbidden) => forbidden.into(),
            PackageError::InUse(_) => Self::Invalid(BTreeMap::from([("deployment_releases", vec![message])])),
            PackageError::Unknown => Self::NotFound,
            PackageError::Database(cause) => Self::Internal(cause.into()),
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
