//! Devices over REST.

pub mod certificates;
pub mod commands;
mod filters;
pub mod identities;
pub mod links;
pub mod moves;
pub mod secrets;
mod shown;

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::extract::Found;
use super::model::{Tag, Window};
use super::service::{self, Change, ChangeError, Registration};
use crate::app::App;
use crate::products::Product;
use crate::products::api::switches;
use crate::web::api::{self, Paging};
use crate::web::coerce::{Flag, Words};
use crate::web::extract::{Body, Query};
use crate::web::{Error, FieldErrors};
use filters::ListQuery;

/// Rows of a page, unless the query says otherwise.
const PAGE_SIZE: u32 = 10;

/// `GET P/devices`.
pub async fn index(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, Error> {
    let paging = match query.pagination {
        None if api::is_old_client(&request) => Paging::new(1, Paging::MAX_SIZE)?,
        asked => asked.unwrap_or_default().paging(PAGE_SIZE)?,
    };
    let filter = query.filter(app.platform.clock.now())?;
    let (sort, descending) = query.sort()?;
    let window = Window {
        sort,
        descending,
        offset: paging.offset() as i64,
        limit: i64::from(paging.size),
    };
    let mut conn = app.platform.db.acquire().await?;
    let devices = service::list(&mut conn, &product, &filter, window).await?;
    let total = service::count(&mut conn, &product, &filter).await?;
    let rows = shown::list(&mut conn, &product, &devices).await?;
    Ok(api::page(&rows, paging, total.unsigned_abs()))
}

/// What a client says of a device.
#[derive(Debug, Default, Deserialize)]
struct Said {
    identifier: Option<String>,
    description: Option<String>,
    tags: Option<Words>,
    updates_enabled: Option<Flag>,
    connecting_code: Option<String>,
    extensions: Option<BTreeMap<String, Flag>>,
}

/// The parameters of a body, which may stand in an object `device`.
fn said(mut body: Map<String, Value>) -> Result<Said, Error> {
    let inner = match body.remove("device") {
        Some(Value::Object(inner)) if !body.contains_key("identifier") => inner,
        _ => body,
    };
    serde_json::from_value(Value::Object(inner))
        .map_err(|error| Error::BadRequest(format!("a parameter has the wrong form: {error}")))
}

fn tags(words: &Words) -> Result<Vec<Tag>, Error> {
    let tags = Tag::read(words.0.iter().map(String::as_str));
    tags.map_err(|error| Error::invalid("tags", error.to_string()))
}

/// `POST P/devices`.
pub async fn create(
    app: web::Data<App>,
    product: Product,
    Body(body): Body<Map<String, Value>>,
) -> Result<HttpResponse, Error> {
    let said = said(body)?;
    let identifier = said.identifier.unwrap_or_default();
    let registration = Registration {
        identifier: identifier
            .parse()
            .map_err(|error: super::model::IdentifierError| Error::invalid("identifier", error.to_string()))?,
        description: said.description.unwrap_or_default(),
        tags: tags(&said.tags.unwrap_or_default())?,
        updates_enabled: said.updates_enabled.is_none_or(|flag| flag.0),
        connecting_code: said.connecting_code.unwrap_or_default(),
    };
    let device = service::create(&app.platform, &product, registration).await?;
    let place = place(&product, &device.identifier);
    let mut conn = app.platform.db.acquire().await?;
    Ok(api::created(&place, shown::one(&mut conn, &product, &device).await?))
}

fn place<'a>(product: &'a Product, identifier: &'a str) -> [&'a str; 6] {
    [
        "orgs",
        product.org().name(),
        "products",
        product.name(),
        "devices",
        identifier,
    ]
}

/// `GET D`, `GET S`: deleted devices are shown too.
pub async fn show(app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    Ok(api::data(shown::one(&mut conn, &found.product, &found.device).await?))
}

/// `PUT D`, answered by 201 as clients expect it.
pub async fn update(
    app: web::Data<App>,
    found: Found,
    Body(body): Body<Map<String, Value>>,
) -> Result<HttpResponse, Error> {
    let Found { product, device } = found.present()?;
    let said = said(body)?;
    if said
        .identifier
        .is_some_and(|identifier| identifier != device.identifier)
    {
        return Err(Error::invalid("identifier", "cannot be changed"));
    }
    let change = Change {
        description: said.description,
        tags: said.tags.as_ref().map(tags).transpose()?.map(Tag::texts),
        updates_enabled: said.updates_enabled.map(|flag| flag.0),
        connecting_code: said.connecting_code,
        extensions: switches(&said.extensions.unwrap_or_default())?,
    };
    let device = service::update(&app.platform, &product, &device, &change).await?;
    let place = place(&product, &device.identifier);
    let mut conn = app.platform.db.acquire().await?;
    Ok(api::created(&place, shown::one(&mut conn, &product, &device).await?))
}

/// `DELETE D`: it can be restored.
pub async fn delete(request: HttpRequest, app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    let Found { product, device } = found.present()?;
    service::delete(&app.platform, product.org(), &device).await?;
    Ok(api::deleted(&request))
}

/// `POST D/restore`: takes a deleted device back.
pub async fn restore(app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    service::restore(&app.platform, found.product.org(), &found.device).await?;
    Ok(api::no_content())
}

/// `POST D/destroy`: removes a deleted device for good; its identifier is free again.
pub async fn destroy(app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    service::destroy(&app.platform, found.product.org(), &found.device).await?;
    Ok(api::no_content())
}

/// `DELETE D/penalty`, `DELETE S/penalty`: deployments may tell the device again, at once.
pub async fn lift_penalty(app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    let Found { product, device } = found.present()?;
    let change = Change {
        updates_enabled: Some(true),
        ..Change::default()
    };
    service::update(&app.platform, &product, &device, &change).await?;
    Ok(api::no_content())
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        let message = error.to_string();
        match error {
            ChangeError::Forbidden(forbidden) => forbidden.into(),
            ChangeError::Description => Self::invalid("description", message),
            ChangeError::Code => Self::invalid("connecting_code", message),
            ChangeError::Taken | ChangeError::TakenByDeleted => Self::invalid("identifier", message),
            ChangeError::SameProduct => Self::invalid("new_product_name", message),
            ChangeError::NotDeleted => Self::Conflict(message),
            ChangeError::Certificate(_)
            | ChangeError::OtherName(_)
            | ChangeError::CertificateTaken
            | ChangeError::ForeignCa => Self::Invalid(FieldErrors::from([("cert", vec![message])])),
            ChangeError::Database(cause) => Self::Internal(cause.into()),
        }
    }
}
