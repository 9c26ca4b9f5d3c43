//! The product's shared secrets: made, shown once, deactivated.

use actix_web::{HttpRequest, HttpResponse, web};

use super::show::Nothing;
use crate::accounts::Role;
use crate::app::App;
use crate::devices::model::{NewSecret, SecretId, SharedSecret};
use crate::devices::service::secrets::{self, SecretError};
use crate::devices::views::{SecretOffPage, SecretsPage};
use crate::products::Product;
use crate::products::views::frame;
use crate::web::forms::{Confirmed, Form, Wrong, wrong};
use crate::web::page::{self, Section, path};
use crate::web::{Error, OrNotFound as _, extract};

fn url(product: &Product) -> String {
    path(&["org", product.org().name(), product.name(), "secrets"])
}

async fn list(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    new: Option<NewSecret>,
    wrong: Wrong,
) -> Result<SecretsPage, Error> {
    let mut conn = app.platform.db.acquire().await?;
    Ok(SecretsPage {
        frame: frame(request, product, Section::Secrets, "Shared secrets"),
        secrets: secrets::list(&mut conn, product, None).await?,
        may_change: product.org().require(Role::Manage).is_ok(),
        url: url(product),
        new,
        wrong,
    })
}

/// The product's secrets.
pub async fn index(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    page::ok(&list(&request, &app, &product, None, Wrong::nothing()).await?)
}

/// Makes a secret, and shows it this once.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    _: Form<Nothing>,
) -> Result<HttpResponse, Error> {
    match secrets::create(&app.platform, &product, None).await {
        Ok(new) => page::ok(&list(&request, &app, &product, Some(new), Wrong::nothing()).await?),
        Err(SecretError::TooMany) => {
            let wrong = wrong(Error::invalid("secret", SecretError::TooMany.to_string()))?;
            page::invalid(&list(&request, &app, &product, None, wrong).await?)
        }
        Err(error) => Err(refusal(error)),
    }
}

fn refusal(error: SecretError) -> Error {
    match error {
        SecretError::Forbidden(error) => Error::Forbidden(error.to_string()),
        SecretError::TooMany => Error::Conflict(error.to_string()),
        SecretError::Vault(error) => Error::Internal(error.into()),
        SecretError::Database(error) => error.into(),
    }
}

async fn secret(request: &HttpRequest, app: &App, product: &Product) -> Result<SharedSecret, Error> {
    let id: Option<SecretId> = extract::name(request, "secret")?.parse().ok();
    let id = id.or_404()?;
    let mut conn = app.platform.db.acquire().await?;
    let all = secrets::list(&mut conn, product, None).await?;
    let found = all
        .into_iter()
        .find(|secret| secret.id == id && secret.deactivated_at.is_none());
    found.or_404()
}

fn asking(request: &HttpRequest, product: &Product, secret: SharedSecret, wrong: Wrong) -> SecretOffPage {
    let frame = frame(request, product, Section::Secrets, "Deactivate");
    SecretOffPage {
        frame: frame.under("Shared secrets", url(product)),
        url: url(product),
        secret,
        wrong,
    }
}

/// Asks before a secret is deactivated.
pub async fn confirm(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let secret = secret(&request, &app, &product).await?;
    page::ok(&asking(&request, &product, secret, Wrong::nothing()))
}

/// Deactivates a secret; the links of devices that came by it end.
pub async fn delete(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(form): Form<Confirmed>,
) -> Result<HttpResponse, Error> {
    let secret = secret(&request, &app, &product).await?;
    if !form.is(product.name()) {
        let wrong = wrong(Error::invalid("confirm", "is not the name of this product"))?;
        return page::invalid(&asking(&request, &product, secret, wrong));
    }
    secrets::deactivate(&app.platform, &product, None, secret.id)
        .await
        .map_err(refusal)?;
    Ok(page::see_other(&url(&product)))
}
