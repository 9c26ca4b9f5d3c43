//! Pages of devices: the list here, one device in [`show`], forms in [`edit`], certificates in [`certificates`],
//! shared secrets in [`secrets`].

pub mod certificates;
pub mod commands;
pub mod edit;
pub mod moves;
pub mod secrets;
pub mod show;
#[cfg(test)]
mod tests;

use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use super::model::{Filter, Page, PageFrom, PageKey, Sort};
use super::query::{self, QueryError};
use super::service::{self, ChangeError};
use super::views::{IndexPage, Row, RowsPart, chips};
use crate::accounts::Role;
use crate::app::App;
use crate::products::Product;
use crate::products::views::frame;
use crate::web::listing::{From, Key, Listing, PAGE};
use crate::web::page::{self, Section};
use crate::web::{Error, FieldErrors};

/// Refused devices that the list shows.
const REFUSED: i64 = 20;
/// Rows that are fetched anew at once.
const ROWS: usize = 100;

/// The product's devices.
pub async fn index(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    listing: web::Query<Listing>,
) -> Result<HttpResponse, Error> {
    let listing = listing.into_inner();
    let (filter, wrong) = filter(&listing);
    let mut conn = app.platform.db.acquire().await?;
    let page = window(&listing);
    let mut devices = service::page(&mut conn, &product, &filter, &page).await?;
    let more = devices.len() as i64 > PAGE;
    let backwards = matches!(page.from, PageFrom::Before(_));
    if more && backwards {
        devices.remove(0);
    }
    devices.truncate(PAGE as usize);
    let key = |device: Option<&super::Device>| device.map(|device| to_key(service::page_key(device, page.sort)));
    let frame = frame(&request, &product, Section::Devices, "Devices");
    page::ok(&IndexPage {
        chips: chips(&listing),
        rows: devices.iter().map(|device| Row::new(&frame, device)).collect(),
        total: service::count(&mut conn, &product, &filter).await?,
        is_empty: devices.is_empty() && service::count(&mut conn, &product, &Filter::default()).await? == 0,
        first: key(devices.first()).filter(|_| page.from != PageFrom::Start && (more || !backwards)),
        last: key(devices.last()).filter(|_| more || backwards),
        refused: service::refused(&mut conn, product.org(), REFUSED).await?,
        may_change: product.org().require(Role::Manage).is_ok(),
        now: app.platform.clock.now(),
        public_url: app.urls.public.to_string(),
        frame,
        listing,
        wrong,
    })
}

/// Rows of the list that changed, by their devices' ids.
pub async fn rows(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    query: web::Query<Ids>,
) -> Result<HttpResponse, Error> {
    let ids: Vec<Uuid> = query
        .ids
        .split(',')
        .filter_map(|id| id.parse().ok())
        .take(ROWS)
        .collect();
    let mut conn = app.platform.db.acquire().await?;
    let devices = service::by_ids(&mut conn, &product, &ids).await?;
    let frame = frame(&request, &product, Section::Devices, "Devices");
    page::ok(&RowsPart {
        rows: devices.iter().map(|device| Row::new(&frame, device)).collect(),
        now: app.platform.clock.now(),
        frame,
    })
}

/// Which rows.
#[derive(Debug, serde::Deserialize)]
pub struct Ids {
    ids: String,
}

/// What the filter says; a wrong one shows everything, and what is wrong.
fn filter(listing: &Listing) -> (Filter, Option<QueryError>) {
    match query::parse(&listing.q) {
        Ok(filter) => (filter, None),
        Err(error) => (Filter::default(), Some(error)),
    }
}

fn window(listing: &Listing) -> Page {
    let (column, descending) = listing.column();
    let from = |key: Key| PageKey {
        value: key.value,
        identifier: key.tie,
    };
    Page {
        sort: match column {
            "state" => Sort::Connection,
            "version" => Sort::Version,
            "seen" => Sort::LastSeen,
            _ => Sort::Identifier,
        },
        descending,
        from: match listing.from() {
            From::Start => PageFrom::Start,
            From::After(key) => PageFrom::After(from(key)),
            From::Before(key) => PageFrom::Before(from(key)),
        },
        limit: PAGE + 1,
    }
}

fn to_key(key: PageKey) -> Key {
    Key {
        value: key.value,
        tie: key.identifier,
    }
}

/// What the pages answer to a change that was refused; `field` is what the form would show it beside.
fn refusal(error: ChangeError, field: &'static str) -> Error {
    match error {
        ChangeError::Database(error) => error.into(),
        ChangeError::Forbidden(error) => Error::Forbidden(error.to_string()),
        ChangeError::Code => Error::invalid("connecting_code", error.to_string()),
        error => Error::Invalid(FieldErrors::from([(field, vec![error.to_string()])])),
    }
}
