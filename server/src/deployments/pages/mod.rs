//! Pages of deployments: the list, one deployment with start and stop; its forms in [`edit`] and [`release`].

pub mod edit;
pub mod release;

use actix_web::{HttpRequest, HttpResponse, web};

use super::model::Group;
use super::service::{self, ChangeError};
use super::views::{IndexPage, Row, ShowPage, funnel};
use crate::accounts::Role;
use crate::app::App;
use crate::products::Product;
use crate::products::views::frame;
use crate::web::forms::Form;
use crate::web::page::{self, Section, path};
use crate::web::{Error, FieldErrors, OrNotFound as _, extract};

/// Devices that a deployment's page lists.
const UNDER_WAY: i64 = 100;

/// The product's deployments.
pub async fn index(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let frame = frame(&request, &product, Section::Deployments, "Deployments");
    let mut rows = Vec::new();
    for group in service::list(&mut conn, &product).await? {
        let progress = service::progress(&mut conn, &product, &group).await?;
        rows.push(Row::new(&frame, group, &progress));
    }
    page::ok(&IndexPage {
        frame,
        rows,
        may_change: product.org().require(Role::Manage).is_ok(),
    })
}

/// The deployment of the path.
pub(super) async fn group(request: &HttpRequest, app: &App, product: &Product) -> Result<Group, Error> {
    let name = extract::name(request, "deployment")?;
    let mut conn = app.platform.db.acquire().await?;
    service::find(&mut conn, product, &name).await?.or_404()
}

/// Where the product's deployments are.
pub(super) fn groups_url(product: &Product) -> String {
    path(&["org", product.org().name(), product.name(), "deployments"])
}

/// Where a deployment's page is.
pub(super) fn url(product: &Product, group: &Group) -> String {
    format!("{}{}", groups_url(product), path(&[&group.name]))
}

/// One deployment.
pub async fn show(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    let mut conn = app.platform.db.acquire().await?;
    let progress = service::progress(&mut conn, &product, &group).await?;
    page::ok(&ShowPage {
        frame: frame(&request, &product, Section::Deployments, &group.name).under("Deployments", groups_url(&product)),
        url: url(&product, &group),
        parts: funnel(&progress),
        progress: &progress,
        under_way: &service::under_way(&mut conn, &product, &group, UNDER_WAY).await?,
        releases: &service::releases(&mut conn, &product, &group).await?,
        may_change: product.org().require(Role::Manage).is_ok(),
        group: &group,
    })
}

/// A form without fields.
#[derive(Debug, serde::Deserialize)]
pub struct Nothing {}

/// Starts telling devices.
pub async fn start(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    _: Form<Nothing>,
) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    service::start(&app.platform, &product, &group).await.map_err(refusal)?;
    Ok(page::see_other(&url(&product, &group)))
}

/// Stops telling devices.
pub async fn stop(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    _: Form<Nothing>,
) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    service::stop(&app.platform, &product, &group).await.map_err(refusal)?;
    Ok(page::see_other(&url(&product, &group)))
}

/// What the pages answer to a change that was refused, by the field that it is about.
pub(super) fn refusal(error: ChangeError) -> Error {
    let field = match &error {
        ChangeError::Name | ChangeError::Taken => "name",
        ChangeError::Requirement(_) => "version_requirement",
        ChangeError::Concurrency => "concurrent_updates",
        ChangeError::Penalty => "penalty_minutes",
        ChangeError::NoFirmware => "firmware",
        ChangeError::NoArchive => "archive",
        ChangeError::Code => "connecting_code",
        ChangeError::Running | ChangeError::Forbidden(_) | ChangeError::Database(_) => "",
    };
    match error {
        ChangeError::Database(error) => error.into(),
        ChangeError::Forbidden(error) => Error::Forbidden(error.to_string()),
        error => Error::Invalid(FieldErrors::from([(field, vec![error.to_string()])])),
    }
}
