//! A new release: another firmware or archive for a deployment's devices.

use super::edit::parts;
use super::{group, groups_url, refusal, url};
use crate::app::App;
use crate::deployments::model::Group;
use crate::deployments::service;
use crate::deployments::views::ReleasePage;
use crate::packages::service as packages;
use crate::products::Product;
use crate::products::views::frame;
use crate::web::Error;
use crate::web::forms::{Form, Wrong, wrong};
use crate::web::page::{self, Section};
use actix_web::{HttpRequest, HttpResponse, web};

async fn form<'a>(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    group: &'a Group,
    chosen: Chosen,
    wrong: Wrong,
) -> Result<ReleasePage<'a>, Error> {
    let mut conn = app.platform.db.acquire().await?;
    Ok(ReleasePage {
        frame: frame(request, product, Section::Deployments, "New release")
            .under("Deployments", groups_url(product))
            .under(&group.name, url(product, group)),
        url: url(product, group),
        firmwares: packages::list(&mut conn, product).await?,
        archives: packages::list(&mut conn, product).await?,
        group,
        wrong,
        chosen: chosen.firmware,
        chosen_archive: chosen.archive,
    })
}

/// Asks which firmware and which archive.
pub async fn new(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    let chosen = Chosen {
        firmware: group.firmware_uuid.to_string(),
        archive: group.archive_uuid.map(|uuid| uuid.to_string()).unwrap_or_default(),
    };
    page::ok(&form(&request, &app, &product, &group, chosen, Wrong::nothing()).await?)
}

/// What was chosen.
#[derive(Debug, serde::Deserialize)]
pub struct Chosen {
    #[serde(default)]
    firmware: String,
    #[serde(default)]
    archive: String,
}

/// Makes the release; devices are told of it as the deployment's limit allows.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(chosen): Form<Chosen>,
) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    match make(&app, &product, &group, &chosen).await {
        Ok(group) => Ok(page::see_other(&url(&product, &group))),
        Err(error) => {
            let page = form(&request, &app, &product, &group, chosen, wrong(error)?).await?;
            page::invalid(&page)
        }
    }
}

async fn make(app: &App, product: &Product, group: &Group, chosen: &Chosen) -> Result<Group, Error> {
    let parts = parts(&chosen.firmware, &chosen.archive)?;
    if (parts.firmware, parts.archive) == (group.firmware_uuid, group.archive_uuid) {
        return Err(Error::invalid("firmware", "is the current release already"));
    }
    service::release(&app.platform, product, group, parts)
        .await
        .map_err(refusal)
}
