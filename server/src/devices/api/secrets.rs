//! Shared secrets of products and devices over REST. A secret's text is in the answer that makes it, and in no other.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use crate::app::App;
use crate::devices::extract::Found;
use crate::devices::model::{Device, SecretId, SharedSecret};
use crate::devices::service::secrets::{self, SecretError};
use crate::products::Product;
use crate::web::error::OrNotFound as _;
use crate::web::{Error, api, extract};

/// `GET P/shared_secrets`.
pub async fn of_product(app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    index(&app, &product, None).await
}

/// `GET D/shared_secrets`.
pub async fn of_device(app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    index(&app, &found.product, Some(&found.device)).await
}

async fn index(app: &App, product: &Product, device: Option<&Device>) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let secrets = secrets::list(&mut conn, product, device).await?;
    Ok(api::data(secrets.iter().map(json).collect::<Vec<_>>()))
}

/// `POST P/shared_secrets`.
pub async fn create_of_product(app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    create(&app, &product, None).await
}

/// `POST D/shared_secrets`.
pub async fn create_of_device(app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    let Found { product, device } = found.present()?;
    create(&app, &product, Some(&device)).await
}

async fn create(app: &App, product: &Product, device: Option<&Device>) -> Result<HttpResponse, Error> {
    let new = secrets::create(&app.platform, product, device).await?;
    let mut shown = json(&new.shared);
    shown["secret"] = json!(*new.secret);
    let id = new.shared.id.to_string();
    let mut place = vec!["orgs", product.org().name(), "products", product.name()];
    if let Some(device) = device {
        place.extend(["devices", device.identifier.as_str()]);
    }
    place.extend(["shared_secrets", &id]);
    Ok(api::created(&place, shown))
}

/// `DELETE P/shared_secrets/{secret}`: deactivates it.
pub async fn delete_of_product(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
) -> Result<HttpResponse, Error> {
    delete(&request, &app, &product, None).await
}

/// `DELETE D/shared_secrets/{secret}`: deactivates it.
pub async fn delete_of_device(request: HttpRequest, app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    delete(&request, &app, &found.product, Some(&found.device)).await
}

async fn delete(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    device: Option<&Device>,
) -> Result<HttpResponse, Error> {
    let id: Option<SecretId> = extract::name(request, "secret")?.parse().ok();
    let is_done = secrets::deactivate(&app.platform, product, device, id.or_404()?).await?;
    is_done.then(|| api::deleted(request)).or_404()
}

fn json(secret: &SharedSecret) -> Value {
    json!({
        "id": secret.id,
        "key": secret.key,
        "inserted_at": api::naive(secret.created_at),
        "deactivated_at": secret.deactivated_at.map(api::zulu),
        "last_used": secret.last_used_at.map(api::zulu),
    })
}

impl From<SecretError> for Error {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Forbidden(forbidden) => forbidden.into(),
            SecretError::TooMany => Self::Conflict(error.to_string()),
            SecretError::Vault(cause) => Self::Internal(cause.into()),
            SecretError::Database(cause) => Self::Internal(cause.into()),
        }
    }
}
