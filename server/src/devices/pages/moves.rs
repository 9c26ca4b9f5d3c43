//! Moving a device to another product.

use actix_web::{HttpRequest, HttpResponse, web};

use super::refusal;
use super::show::{device, devices_url, url};
use crate::accounts::{self, Role, Viewer};
use crate::app::App;
use crate::deployments::service as deployments;
use crate::devices::Device;
use crate::devices::views::moves::MovePage;
use crate::products::views::frame;
use crate::products::{self, Product};
use crate::web::Error;
use crate::web::forms::{Form, Wrong, wrong};
use crate::web::page::{self, Section};

/// Where to: `org/product`.
#[derive(Debug, serde::Deserialize)]
pub struct Fields {
    target: String,
}

/// Every product that the viewer may move devices to, but the one that it is in.
async fn targets(app: &App, viewer: &Viewer, product: &Product) -> Result<Vec<String>, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let mut targets = Vec::new();
    for org in accounts::service::orgs(&mut conn, viewer).await? {
        if org.require(Role::Manage).is_err() {
            continue;
        }
        let others = products::service::list(&mut conn, &org).await?;
        let others = others.iter().filter(|other| other.id() != product.id());
        targets.extend(others.map(|other| format!("{}/{}", org.name(), other.name())));
    }
    Ok(targets)
}

fn asking<'a>(
    request: &HttpRequest,
    product: &Product,
    device: &'a Device,
    targets: Vec<String>,
    wrong: Wrong,
) -> MovePage<'a> {
    MovePage {
        frame: frame(request, product, Section::Devices, "Move")
            .under("Devices", devices_url(product))
            .under(&device.identifier, url(product, device)),
        url: url(product, device),
        device,
        targets,
        wrong,
    }
}

/// Asks where to.
pub async fn new(
    request: HttpRequest,
    app: web::Data<App>,
    viewer: Viewer,
    product: Product,
) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    let targets = targets(&app, &viewer, &product).await?;
    page::ok(&asking(&request, &product, &device, targets, Wrong::nothing()))
}

/// Moves the device.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    viewer: Viewer,
    product: Product,
    Form(fields): Form<Fields>,
) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    match moved(&app, &viewer, &product, &device, &fields.target).await {
        Ok(to) => Ok(page::see_other(&to)),
        Err(error) => {
            let targets = targets(&app, &viewer, &product).await?;
            page::invalid(&asking(&request, &product, &device, targets, wrong(error)?))
        }
    }
}

/// Where the moved device's page is.
async fn moved(app: &App, viewer: &Viewer, product: &Product, device: &Device, target: &str) -> Result<String, Error> {
    let unknown = || Error::invalid("target", "is no product of yours");
    let (org, name) = target.split_once('/').ok_or_else(unknown)?;
    let mut conn = app.platform.db.acquire().await?;
    let target = products::access(&mut conn, viewer, org, name)
        .await?
        .ok_or_else(unknown)?;
    let moved = deployments::move_device(&app.platform, product, device, &target).await;
    let moved = moved.map_err(|error| refusal(error, "target"))?;
    Ok(url(&target, &moved))
}
