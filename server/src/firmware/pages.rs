//! Pages of firmware: the list where archives are dropped, one firmware, delete.

use actix_multipart::Multipart;
use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use super::model::{Firmware, FirmwareId};
use super::views::{DeletePage, IndexPage, Row, ShowPage};
use crate::accounts::Role;
use crate::app::App;
use crate::deployments::service as deployments;
use crate::devices::service as devices;
use crate::keys::service as keys;
use crate::packages::pages::{Token, take};
use crate::packages::service;
use crate::products::Product;
use crate::products::views::frame;
use crate::web::forms::{Confirmed, Form, Wrong, wrong};
use crate::web::page::{self, Section, path};
use crate::web::{Error, OrNotFound as _, extract};

/// The product's firmware.
pub async fn index(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    page::ok(&list(&request, &app, &product, None).await?)
}

async fn list(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    refused: Option<String>,
) -> Result<IndexPage, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let firmware = service::list(&mut conn, product).await?;
    let has_keys = !keys::list(&mut conn, product.org()).await?.is_empty();
    drop(conn);
    Ok(IndexPage {
        frame: frame(request, product, Section::Firmware, "Firmware"),
        rows: rows(app, product, firmware).await?,
        may_change: product.org().require(Role::Manage).is_ok(),
        refused,
        has_keys,
        public_url: app.urls.public.to_string(),
    })
}

/// Firmware with who uses it.
async fn rows(app: &App, product: &Product, firmware: Vec<Firmware>) -> Result<Vec<Row>, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let running = devices::running(&mut conn, product).await?;
    let groups = deployments::list(&mut conn, product).await?;
    let row = |firmware: Firmware| Row {
        url: format!("{}/{}", firmware_url(product), firmware.uuid),
        devices: running.get(&firmware.uuid).copied().unwrap_or(0),
        groups: groups
            .iter()
            .filter(|group| group.firmware_uuid == firmware.uuid)
            .map(|group| group.name.clone())
            .collect(),
        firmware,
    };
    Ok(firmware.into_iter().map(row).collect())
}

fn firmware_url(product: &Product) -> String {
    path(&["org", product.org().name(), product.name(), "firmware"])
}

/// Takes an archive, while it streams.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    token: web::Query<Token>,
    form: Multipart,
) -> Result<HttpResponse, Error> {
    match take::<FirmwareId>(&request, &app, &product, &token, form).await? {
        None => Ok(page::see_other(&firmware_url(&product))),
        refused => page::invalid(&list(&request, &app, &product, refused).await?),
    }
}

/// The firmware of the path.
async fn firmware(request: &HttpRequest, app: &App, product: &Product) -> Result<Row, Error> {
    let uuid: Uuid = extract::name(request, "firmware")?
        .parse()
        .map_err(|_| Error::NotFound)?;
    let mut conn = app.platform.db.acquire().await?;
    let firmware = service::find::<FirmwareId>(&mut conn, product, uuid).await?.or_404()?;
    drop(conn);
    rows(app, product, vec![firmware]).await?.pop().or_404()
}

/// One firmware.
pub async fn show(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let row = firmware(&request, &app, &product).await?;
    let may_change = product.org().require(Role::Manage).is_ok();
    let download = if may_change {
        Some(service::download_path::<FirmwareId>(&app.platform, &app.package_urls, &product, row.firmware.uuid).await?)
    } else {
        None
    };
    page::ok(&ShowPage {
        frame: frame(&request, &product, Section::Firmware, &row.firmware.version)
            .under("Firmware", firmware_url(&product)),
        row,
        may_change,
        download,
    })
}

fn asking(request: &HttpRequest, product: &Product, row: Row, wrong: Wrong) -> DeletePage {
    DeletePage {
        frame: frame(request, product, Section::Firmware, "Delete")
            .under("Firmware", firmware_url(product))
            .under(&row.firmware.version, row.url.clone()),
        row,
        wrong,
    }
}

/// Asks before firmware is deleted.
pub async fn confirm(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let row = firmware(&request, &app, &product).await?;
    page::ok(&asking(&request, &product, row, Wrong::nothing()))
}

/// Deletes firmware, unless a release uses it.
pub async fn delete(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(form): Form<Confirmed>,
) -> Result<HttpResponse, Error> {
    let row = firmware(&request, &app, &product).await?;
    let done = if form.is(&row.firmware.version) {
        service::delete::<FirmwareId>(&app.platform, &product, row.firmware.uuid)
            .await
            .map_err(Error::from)
    } else {
        Err(Error::invalid("confirm", "is not the version of this firmware"))
    };
    match done {
        Ok(()) => Ok(page::see_other(&firmware_url(&product))),
        Err(error) => page::invalid(&asking(&request, &product, row, wrong(error)?)),
    }
}
