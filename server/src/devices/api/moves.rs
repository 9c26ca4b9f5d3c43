//! Moving a device to another product, over REST.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::shown;
use crate::accounts::Viewer;
use crate::app::App;
use crate::deployments::service as deployments;
use crate::devices::extract::Found;
use crate::products;
use crate::web::extract::{Body, Query};
use crate::web::{Error, api};

/// Where to, in the body or in the query.
#[derive(Debug, Default, Deserialize)]
pub struct Target {
    new_org_name: Option<String>,
    new_product_name: Option<String>,
}

/// `POST D/move`, `POST S/move`: the device's link ends, and it comes back as one of the other product's.
pub async fn create(
    app: web::Data<App>,
    viewer: Viewer,
    found: Found,
    Query(asked): Query<Target>,
    Body(said): Body<Target>,
) -> Result<HttpResponse, Error> {
    let Found { product, device } = found.present()?;
    let org = said.new_org_name.or(asked.new_org_name);
    let org = org.unwrap_or_else(|| product.org().name().to_owned());
    let name = said.new_product_name.or(asked.new_product_name);
    let name = name.ok_or_else(|| Error::invalid("new_product_name", "can't be blank"))?;
    let mut conn = app.platform.db.acquire().await?;
    let target = products::access(&mut conn, &viewer, &org, &name).await?;
    let unknown = || Error::invalid("new_product_name", format!("is no product of yours: {org}/{name}"));
    let target = target.ok_or_else(unknown)?;
    let moved = deployments::move_device(&app.platform, &product, &device, &target).await?;
    Ok(api::data(shown::one(&mut conn, &target, &moved).await?))
}
