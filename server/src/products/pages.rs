//! Pages of products: the home page, and a product's settings.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use muster_link::ExtensionSet;

use super::extensions::{SWITCHED, Switches};
use super::model::Changes;
use super::service::{self, ProductError};
use super::views::{self, Card, IndexPage, SettingsPage, Shelf, frame};
use crate::accounts::{self, Role, Viewer};
use crate::app::App;
use crate::devices::service as devices;
use crate::web::forms::{Form, Wrong, wrong};
use crate::web::page::{self, Frame, Section};
use crate::web::{Error, OrNotFound as _};

/// Every product of the viewer, by org.
pub async fn index(request: HttpRequest, app: web::Data<App>, viewer: Viewer) -> Result<HttpResponse, Error> {
    page::ok(&home(&request, &app, &viewer).await?)
}

async fn home(request: &HttpRequest, app: &App, viewer: &Viewer) -> Result<IndexPage, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let mut shelves = Vec::new();
    for org in accounts::service::orgs(&mut conn, viewer).await? {
        let figures = devices::census(&mut conn, &org).await?;
        let card = |product: super::Product| {
            let (_, devices, online) =
                figures
                    .iter()
                    .find(|(id, ..)| *id == product.id())
                    .copied()
                    .unwrap_or((product.id(), 0, 0));
            Card {
                product,
                devices,
                online,
            }
        };
        shelves.push(Shelf {
            products: service::list(&mut conn, &org).await?.into_iter().map(card).collect(),
            may_create: org.require(Role::Admin).is_ok(),
            org,
        });
    }
    let mut frame = Frame::new(request, "Products")
        .seen_by(viewer.name(), viewer.email())
        .within(Section::Products);
    if let [only] = shelves.as_slice() {
        frame = frame.of_org(only.org.name());
    }
    Ok(IndexPage {
        frame,
        shelves,
        wrong: Wrong::nothing(),
        org: String::new(),
        name: String::new(),
    })
}

/// A product to make.
#[derive(Debug, serde::Deserialize)]
pub struct NewProduct {
    org: String,
    name: String,
}

/// Makes a product.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    viewer: Viewer,
    Form(form): Form<NewProduct>,
) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let org = accounts::access(&mut conn, &viewer, &form.org).await?.or_404()?;
    drop(conn);
    match service::create(&app.platform, &org, form.name.trim()).await {
        Ok(product) => Ok(page::see_other(&page::path(&[
            "org",
            org.name(),
            product.name(),
            "devices",
        ]))),
        Err(error) => {
            let wrong = wrong(refusal(error))?;
            page::invalid(&IndexPage {
                wrong,
                org: form.org,
                name: form.name,
                ..home(&request, &app, &viewer).await?
            })
        }
    }
}

fn refusal(error: ProductError) -> Error {
    match error {
        ProductError::Database(error) => error.into(),
        ProductError::Forbidden(error) => Error::Forbidden(error.to_string()),
        error => Error::invalid("name", error.to_string()),
    }
}

/// What a form of switches says: of each that could be switched, what it was and what it is. What was not touched stays as
/// it is, whatever has become of it since the form was shown.
pub fn switches(form: &BTreeMap<String, String>) -> Switches {
    let mut switches = Switches::default();
    for extension in SWITCHED {
        let name = extension.name();
        let Some(was) = form.get(&format!("was_{name}")) else {
            continue;
        };
        let on = form.contains_key(&format!("on_{name}"));
        if on != (was == "true") {
            // A name out of the list is one that is switched.
            let _ = switches.set(name, on);
        }
    }
    switches
}

fn settings_page(request: &HttpRequest, product: &super::Product, is_saved: bool) -> SettingsPage {
    let may_change = product.org().require(Role::Manage).is_ok();
    let free = if may_change {
        SWITCHED.into_iter().collect()
    } else {
        ExtensionSet::default()
    };
    SettingsPage {
        frame: frame(request, product, Section::Settings, "Settings"),
        url: settings_url(product),
        switches: views::switches(product.extensions(), free),
        may_change,
        is_saved,
    }
}

fn settings_url(product: &super::Product) -> String {
    page::path(&["org", product.org().name(), product.name(), "settings"])
}

/// What the settings page is asked.
#[derive(Debug, serde::Deserialize)]
pub struct Asked {
    saved: Option<String>,
}

/// The product's settings.
pub async fn settings(
    request: HttpRequest,
    product: super::Product,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Error> {
    page::ok(&settings_page(&request, &product, asked.saved.is_some()))
}

/// Switches extensions of the product's devices.
pub async fn change_settings(
    app: web::Data<App>,
    product: super::Product,
    Form(form): Form<BTreeMap<String, String>>,
) -> Result<HttpResponse, Error> {
    let changes = Changes {
        extensions: switches(&form),
        ..Changes::default()
    };
    if !changes.extensions.is_empty() {
        service::update(&app.platform, &product, &changes)
            .await
            .map_err(refusal)?;
    }
    Ok(page::see_other(&format!("{}?saved", settings_url(&product))))
}

/// A product's own page is the list of its devices.
pub async fn show(product: super::Product) -> HttpResponse {
    page::see_other(&page::path(&["org", product.org().name(), product.name(), "devices"]))
}
