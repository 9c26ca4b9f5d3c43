//! The product of the path, as handlers take it.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;

use super::model::Product;
use super::service;
use crate::accounts::Org;
use crate::accounts::extract::app;
use crate::web::error::OrNotFound as _;
use crate::web::{Error, extract};

/// The product `{product}` of the org `{org}` of the path: 404 when it is not there or another org's.
impl FromRequest for Product {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let org = Org::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let org = org.await?;
            let name = extract::name(&request, "product")?;
            let mut conn = app(&request)?.platform.db.acquire().await?;
            service::find(&mut conn, &org, &name).await?.or_404()
        })
    }
}
