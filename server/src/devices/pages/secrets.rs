//! Shared secrets of a product and of one device: made, shown once, deactivated.

use actix_web::{HttpRequest, HttpResponse, web};

use super::show::{self, Nothing};
use crate::accounts::Role;
use crate::app::App;
use crate::devices::Device;
use crate::devices::model::{NewSecret, SecretId, SharedSecret};
use crate::devices::service::secrets::{self, SecretError};
use crate::devices::views::{SecretOffPage, SecretsPage};
use crate::products::Product;
use crate::products::views::frame;
use crate::web::forms::{Confirmed, Form, Wrong, wrong};
use crate::web::page::{self, Frame, Section, path};
use crate::web::{Error, OrNotFound as _, extract};

/// Whose secrets: the product's, or those of the device in the path.
struct Owner {
    product: Product,
    device: Option<Device>,
}

impl Owner {
    async fn of(request: &HttpRequest, app: &App, product: Product) -> Result<Self, Error> {
        let device = match request.match_info().get("device") {
            Some(_) => Some(show::device(request, app, &product).await?),
            None => None,
        };
        Ok(Self { product, device })
    }

    /// What is typed again before a secret is deactivated.
    fn name(&self) -> &str {
        let device = self.device.as_ref();
        device.map_or(self.product.name(), |device| device.identifier.as_str())
    }

    fn url(&self) -> String {
        match &self.device {
            Some(device) => format!("{}/secrets", show::url(&self.product, device)),
            None => path(&["org", self.product.org().name(), self.product.name(), "secrets"]),
        }
    }

    fn frame(&self, request: &HttpRequest, title: &str) -> Frame {
        match &self.device {
            Some(device) => frame(request, &self.product, Section::Devices, title)
                .under("Devices", show::devices_url(&self.product))
                .under(&device.identifier, show::url(&self.product, device)),
            None => frame(request, &self.product, Section::Secrets, title),
        }
    }

    async fn page(
        self,
        request: &HttpRequest,
        app: &App,
        new: Option<NewSecret>,
        wrong: Wrong,
    ) -> Result<SecretsPage, Error> {
        let mut conn = app.platform.db.acquire().await?;
        let can_be_changed = self.device.as_ref().is_none_or(|device| device.deleted_at.is_none());
        Ok(SecretsPage {
            frame: self.frame(request, "Shared secrets"),
            secrets: secrets::list(&mut conn, &self.product, self.device.as_ref()).await?,
            may_change: can_be_changed && self.product.org().require(Role::Manage).is_ok(),
            url: self.url(),
            device: self.device.map(|device| device.identifier),
            new,
            wrong,
        })
    }

    async fn secret(&self, request: &HttpRequest, app: &App) -> Result<SharedSecret, Error> {
        let id: Option<SecretId> = extract::name(request, "secret")?.parse().ok();
        let id = id.or_404()?;
        let mut conn = app.platform.db.acquire().await?;
        let all = secrets::list(&mut conn, &self.product, self.device.as_ref()).await?;
        let found = all
            .into_iter()
            .find(|secret| secret.id == id && secret.deactivated_at.is_none());
        found.or_404()
    }

    fn asking(&self, request: &HttpRequest, secret: SharedSecret, wrong: Wrong) -> SecretOffPage {
        let frame = self.frame(request, "Deactivate");
        SecretOffPage {
            frame: frame.under("Shared secrets", self.url()),
            url: self.url(),
            name: self.name().to_owned(),
            is_device: self.device.is_some(),
            secret,
            wrong,
        }
    }
}

/// The secrets.
pub async fn index(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let owner = Owner::of(&request, &app, product).await?;
    page::ok(&owner.page(&request, &app, None, Wrong::nothing()).await?)
}

/// Makes a secret, and shows it this once.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    _: Form<Nothing>,
) -> Result<HttpResponse, Error> {
    let owner = Owner::of(&request, &app, product).await?;
    match secrets::create(&app.platform, &owner.product, owner.device.as_ref()).await {
        Ok(new) => page::ok(&owner.page(&request, &app, Some(new), Wrong::nothing()).await?),
        Err(SecretError::TooMany) => {
            let wrong = wrong(Error::invalid("secret", SecretError::TooMany.to_string()))?;
            page::invalid(&owner.page(&request, &app, None, wrong).await?)
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

/// Asks before a secret is deactivated.
pub async fn confirm(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let owner = Owner::of(&request, &app, product).await?;
    let secret = owner.secret(&request, &app).await?;
    page::ok(&owner.asking(&request, secret, Wrong::nothing()))
}

/// Deactivates a secret; the links of devices that came by it end.
pub async fn delete(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(form): Form<Confirmed>,
) -> Result<HttpResponse, Error> {
    let owner = Owner::of(&request, &app, product).await?;
    let secret = owner.secret(&request, &app).await?;
    if !form.is(owner.name()) {
        let of = if owner.device.is_some() {
            "identifier of this device"
        } else {
            "name of this product"
        };
        let wrong = wrong(Error::invalid("confirm", format!("is not the {of}")))?;
        return page::invalid(&owner.asking(&request, secret, wrong));
    }
    secrets::deactivate(&app.platform, &owner.product, owner.device.as_ref(), secret.id)
        .await
        .map_err(refusal)?;
    Ok(page::see_other(&owner.url()))
}
