//! One device: its facts, its update as it happens, and what became of those before.

use actix_web::{HttpRequest, HttpResponse, web};

use super::refusal;
use crate::accounts::Role;
use crate::app::App;
use crate::audit;
use crate::deployments::service as deployments;
use crate::deployments::why::why;
use crate::devices::model::{Device, RefusedDevice};
use crate::devices::service;
use crate::devices::views::{ShowPage, state};
use crate::products::Product;
use crate::products::views::frame;
use crate::web::forms::{Form, Wrong};
use crate::web::page::{self, Section, path};
use crate::web::{Error, OrNotFound as _, extract};

/// Updates and acts that the page shows.
const HISTORY: i64 = 50;
/// Past links that the page shows.
const LINKS: i64 = 10;
/// Refusals that are looked through.
const REFUSED: i64 = 1000;

/// The device of the path, deleted ones too.
pub(super) async fn device(request: &HttpRequest, app: &App, product: &Product) -> Result<Device, Error> {
    let identifier = extract::name(request, "device")?;
    let mut conn = app.platform.db.acquire().await?;
    service::find(&mut conn, product, &identifier).await?.or_404()
}

/// Where the device's page is.
pub(super) fn url(product: &Product, device: &Device) -> String {
    path(&[
        "org",
        product.org().name(),
        product.name(),
        "devices",
        &device.identifier,
    ])
}

/// The device's page.
pub async fn show(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    render(&request, &app, &product, &device, Wrong::nothing(), String::new()).await
}

/// The page, with what was wrong in its form for certificates.
pub(super) async fn render(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    device: &Device,
    wrong: Wrong,
    pem: String,
) -> Result<HttpResponse, Error> {
    let (org, now) = (product.org(), app.platform.clock.now());
    let mut conn = app.platform.db.acquire().await?;
    let history = deployments::history(&mut conn, product, device, HISTORY).await?;
    let group = deployments::group_of(&mut conn, product, device).await?;
    let slots = match &group {
        Some(group) => deployments::slots_taken(&mut conn, product, group).await?,
        None => 0,
    };
    let in_flight = history
        .first()
        .map(|latest| latest.status)
        .filter(|status| !status.is_ended());
    let refused = service::refused(&mut conn, org, REFUSED).await?;
    let is_it = |refused: &&RefusedDevice| refused.identifier == device.identifier;
    let answer = ShowPage {
        frame: frame(request, product, Section::Devices, &device.identifier).under("Devices", devices_url(product)),
        url: url(product, device),
        state: state(device),
        why: why(device, group.as_ref(), in_flight, slots, now),
        group: group.as_ref(),
        history: &history,
        links: &service::past_links(&mut conn, org, device.id, LINKS).await?,
        links_last_hour: service::links_last_hour(&mut conn, &app.platform, org, device.id).await?,
        identities: &service::network_identities(&mut conn, org, device.id, None, None).await?,
        certificates: &service::certificates(&mut conn, org, device.id).await?,
        refusals: refused.iter().filter(is_it).collect(),
        activity: &audit::list_of_subject(&mut conn, org.id().0, device.id.0, HISTORY).await?,
        may_change: org.require(Role::Manage).is_ok(),
        device,
        now,
        wrong,
        pem,
    };
    if answer.pem.is_empty() {
        page::ok(&answer)
    } else {
        page::invalid(&answer)
    }
}

/// Where the product's devices are.
pub(super) fn devices_url(product: &Product) -> String {
    path(&["org", product.org().name(), product.name(), "devices"])
}

/// A form without fields.
#[derive(Debug, serde::Deserialize)]
pub struct Nothing {}

/// Lifts the device's block.
pub async fn unblock(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    _: Form<Nothing>,
) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    service::lift_block(&app.platform, product.org(), &device)
        .await
        .map_err(|error| refusal(error, ""))?;
    Ok(page::see_other(&url(&product, &device)))
}

/// Takes a deleted device back.
pub async fn restore(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    _: Form<Nothing>,
) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    service::restore(&app.platform, product.org(), &device)
        .await
        .map_err(|error| refusal(error, ""))?;
    Ok(page::see_other(&url(&product, &device)))
}
