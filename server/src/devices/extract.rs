//! The device of the path, as handlers take it.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;

use super::model::Device;
use super::service;
use crate::accounts::Viewer;
use crate::accounts::extract::app;
use crate::products::{self, Product};
use crate::web::error::OrNotFound as _;
use crate::web::{Error, extract};

/// The device `{device}` of the path with its product. Without `{product}`, the device of this identifier in any org of
/// the viewer: 409 when there are several.
#[derive(Debug, Clone)]
pub struct Found {
    /// The proof of its product.
    pub product: Product,
    /// The device, which may be deleted.
    pub device: Device,
}

impl Found {
    /// The device, unless it is deleted.
    ///
    /// # Errors
    /// 404 for a deleted one.
    pub fn present(self) -> Result<Self, Error> {
        if self.device.deleted_at.is_some() {
            return Err(Error::NotFound);
        }
        Ok(self)
    }
}

impl FromRequest for Found {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            match request.match_info().get("product") {
                Some(_) => long(&request).await,
                None => short(&request).await,
            }
        })
    }
}

async fn long(request: &HttpRequest) -> Result<Found, Error> {
    let product = Product::extract(request).await?;
    let identifier = extract::name(request, "device")?;
    let mut conn = app(request)?.platform.db.acquire().await?;
    let device = service::find(&mut conn, &product, &identifier).await?.or_404()?;
    Ok(Found { product, device })
}

async fn short(request: &HttpRequest) -> Result<Found, Error> {
    let viewer = Viewer::extract(request).await?;
    let identifier = extract::name(request, "device")?;
    let mut conn = app(request)?.platform.db.acquire().await?;
    let mut devices = service::find_in_orgs(&mut conn, &viewer, &identifier).await?;
    if devices.iter().any(|device| device.deleted_at.is_none()) {
        devices.retain(|device| device.deleted_at.is_none());
    }
    if devices.len() > 1 {
        return Err(several(&identifier, &devices));
    }
    let device = devices.pop().or_404()?;
    let product = products::access(&mut conn, &viewer, &device.org_name, &device.product_name).await?;
    Ok(Found {
        product: product.or_404()?,
        device,
    })
}

fn several(identifier: &str, devices: &[Device]) -> Error {
    let places: Vec<String> = devices
        .iter()
        .map(|device| format!("{} ({})", device.org_name, device.product_name))
        .collect();
    Error::Conflict(format!(
        "Several of your orgs have a device {identifier}: {}. Name the org: /api/orgs/ORG/products/PRODUCT/devices/{identifier}",
        places.join(", ")
    ))
}
