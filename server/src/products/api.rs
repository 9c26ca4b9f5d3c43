//! Orgs and their products over REST.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::extensions::{self, Switches};
use super::model::{Changes, Product};
use super::service::{self, ProductError};
use crate::accounts::{self, Org, Viewer};
use crate::app::App;
use crate::web::coerce::{Flag, boolean};
use crate::web::extract::{Body, Query};
use crate::web::{Error, api};

/// What the list of orgs includes.
#[derive(Debug, Deserialize)]
pub struct Include {
    include: Option<String>,
}

/// `GET /api/orgs?include=products`.
pub async fn orgs(app: web::Data<App>, viewer: Viewer, Query(query): Query<Include>) -> Result<HttpResponse, Error> {
    let with_products = query
        .include
        .is_some_and(|names| names.split(',').any(|name| name == "products"));
    let mut conn = app.platform.db.acquire().await?;
    let mut shown = Vec::new();
    for org in accounts::service::orgs(&mut conn, &viewer).await? {
        let mut object = org_json(&org);
        if with_products {
            object["products"] = service::list(&mut conn, &org).await?.iter().map(json).collect();
        }
        shown.push(object);
    }
    Ok(api::data(shown))
}

/// An org to be.
#[derive(Debug, Deserialize)]
pub struct NewOrg {
    name: Option<String>,
}

/// `POST /api/orgs`: an org with the viewer as its admin.
pub async fn create_org(app: web::Data<App>, viewer: Viewer, Body(new): Body<NewOrg>) -> Result<HttpResponse, Error> {
    let name = new.name.unwrap_or_default();
    let org = accounts::service::found_org(&app.platform, &viewer, name.trim()).await?;
    Ok(api::created(&["orgs", org.name()], org_json(&org)))
}

/// `GET O/products`.
pub async fn index(app: web::Data<App>, org: Org) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let products = service::list(&mut conn, &org).await?;
    Ok(api::data(products.iter().map(json).collect::<Vec<_>>()))
}

/// A product to be.
#[derive(Debug, Deserialize)]
pub struct NewProduct {
    name: Option<String>,
}

/// `POST O/products`.
pub async fn create(app: web::Data<App>, org: Org, Body(new): Body<NewProduct>) -> Result<HttpResponse, Error> {
    let name = new.name.ok_or_else(|| Error::invalid("name", "can't be blank"))?;
    let product = service::create(&app.platform, &org, name.trim()).await?;
    let place = ["orgs", org.name(), "products", product.name()];
    Ok(api::created(&place, json(&product)))
}

/// `GET P`.
pub async fn show(product: Product) -> HttpResponse {
    api::data(json(&product))
}

/// `PUT P`, `PATCH P`.
pub async fn update(
    app: web::Data<App>,
    product: Product,
    Body(body): Body<Map<String, Value>>,
) -> Result<HttpResponse, Error> {
    let changed = service::update(&app.platform, &product, &changes(body)?).await?;
    Ok(api::data(json(&changed)))
}

/// `DELETE P`: always 204, which the old client expects here.
pub async fn delete(app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    service::delete(&app.platform, &product).await?;
    Ok(api::no_content())
}

fn org_json(org: &Org) -> Value {
    json!({
        "name": org.name(),
        "inserted_at": api::naive(org.created_at()),
        "updated_at": api::naive(org.updated_at()),
    })
}

/// A product as the API shows it.
fn json(product: &Product) -> Value {
    json!({
        "name": product.name(),
        "require_unique_firmware_version": product.require_unique_firmware_version(),
        "allowed_update_tools": ["fwup"],
        "allow_unsigned_esp_idf_firmware": false,
        "extensions": extensions::shown(product.extensions()),
    })
}

/// What a body changes. The old client wraps its keys in `product` and sends every value as a string.
fn changes(body: Map<String, Value>) -> Result<Changes, Error> {
    let mut changes = Changes::default();
    for (key, value) in body {
        match (key.as_str(), value) {
            ("product", Value::Object(inner)) => return self::changes(inner),
            ("name", Value::String(name)) => changes.name = Some(name.trim().to_owned()),
            ("require_unique_firmware_version", value) => {
                let value =
                    boolean(&value).ok_or_else(|| Error::invalid("require_unique_firmware_version", "is invalid"))?;
                changes.require_unique_firmware_version = Some(value);
            }
            ("extensions", value) => {
                let named: BTreeMap<String, Flag> = serde_json::from_value(value)
                    .map_err(|_| Error::invalid("extensions", "must be names with true or false"))?;
                changes.extensions = switches(&named)?;
            }
            ("allowed_update_tools", value) => only(
                value == json!(["fwup"]) || value == json!("fwup"),
                "allowed_update_tools",
                "must be [\"fwup\"]",
            )?,
            ("allow_unsigned_esp_idf_firmware", value) => {
                only(
                    boolean(&value) == Some(false),
                    "allow_unsigned_esp_idf_firmware",
                    "must be false",
                )?;
            }
            (key, _) => return Err(Error::Refused(format!("A product's {key} cannot be changed."))),
        }
    }
    Ok(changes)
}

/// Extensions by name, to be switched on or off.
///
/// # Errors
/// 422 for a name that is no switch.
pub fn switches(named: &BTreeMap<String, Flag>) -> Result<Switches, Error> {
    let mut switches = Switches::default();
    for (name, on) in named {
        switches
            .set(name, on.0)
            .map_err(|error| Error::invalid("extensions", error.to_string()))?;
    }
    Ok(switches)
}

fn only(allowed: bool, field: &'static str, message: &str) -> Result<(), Error> {
    if allowed {
        Ok(())
    } else {
        Err(Error::invalid(field, message))
    }
}

impl From<ProductError> for Error {
    fn from(error: ProductError) -> Self {
        match error {
            ProductError::Forbidden(forbidden) => forbidden.into(),
            ProductError::Name | ProductError::Taken => Self::invalid("name", error.to_string()),
            ProductError::Gone => Self::NotFound,
            ProductError::Database(cause) => Self::Internal(cause.into()),
        }
    }
}
