//! A new release: another firmware for a deployment's devices.

use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use super::{group, groups_url, refusal, url};
use crate::app::App;
use crate::deployments::model::Group;
use crate::deployments::service;
use crate::deployments::views::ReleasePage;
use crate::firmware::service as firmware;
use crate::products::Product;
use crate::products::views::frame;
use crate::web::Error;
use crate::web::forms::{Form, Wrong, wrong};
use crate::web::page::{self, Section};

async fn form<'a>(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    group: &'a Group,
    chosen: String,
    wrong: Wrong,
) -> Result<ReleasePage<'a>, Error> {
    let mut conn = app.platform.db.acquire().await?;
    Ok(ReleasePage {
        frame: frame(request, product, Section::Deployments, "New release")
            .under("Deployments", groups_url(product))
            .under(&group.name, url(product, group)),
        url: url(product, group),
        firmwares: firmware::list(&mut conn, product).await?,
        group,
        wrong,
        chosen,
    })
}

/// Asks which firmware.
pub async fn new(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    let chosen = group.firmware_uuid.to_string();
    page::ok(&form(&request, &app, &product, &group, chosen, Wrong::nothing()).await?)
}

/// What was chosen.
#[derive(Debug, serde::Deserialize)]
pub struct Chosen {
    #[serde(default)]
    firmware: String,
}

/// Makes the release; devices are told of it as the deployment's limit allows.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(chosen): Form<Chosen>,
) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    match make(&app, &product, &group, &chosen.firmware).await {
        Ok(group) => Ok(page::see_other(&url(&product, &group))),
        Err(error) => {
            let page = form(&request, &app, &product, &group, chosen.firmware, wrong(error)?).await?;
            page::invalid(&page)
        }
    }
}

async fn make(app: &App, product: &Product, group: &Group, firmware: &str) -> Result<Group, Error> {
    let firmware: Uuid = firmware
        .parse()
        .map_err(|_| Error::invalid("firmware", "choose the firmware that devices should run"))?;
    if firmware == group.firmware_uuid {
        return Err(Error::invalid("firmware", "is the current release already"));
    }
    service::release(&app.platform, product, group, firmware)
        .await
        .map_err(refusal)
}
