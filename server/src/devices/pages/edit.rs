//! Forms of devices: register, change, delete, destroy.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};

use super::refusal;
use super::show::{device, devices_url, url};
use crate::app::App;
use crate::devices::Device;
use crate::devices::model::{Identifier, Tag};
use crate::devices::service::{self, Change, Registration};
use crate::devices::views::{DeletePage, EditPage};
use crate::products::views::{frame, switches};
use crate::products::{self, Product};
use crate::web::Error;
use crate::web::forms::{Confirmed, Form, Wrong, split_words, wrong};
use crate::web::page::{self, Section, path};

/// A device as it is filled in.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Fields {
    identifier: String,
    description: String,
    tags: String,
    updates_enabled: Option<String>,
    connecting_code: String,
    /// The switches of its extensions.
    #[serde(flatten)]
    switches: BTreeMap<String, String>,
}

fn form(request: &HttpRequest, product: &Product, fields: Fields, wrong: Wrong) -> EditPage {
    let back = devices_url(product);
    EditPage {
        frame: frame(request, product, Section::Devices, "Add a device").under("Devices", back.clone()),
        url: back.clone(),
        back,
        is_new: true,
        wrong,
        identifier: fields.identifier,
        description: fields.description,
        tags: fields.tags,
        updates_enabled: fields.updates_enabled.is_some(),
        connecting_code: fields.connecting_code,
        switches: Vec::new(),
        settings_url: path(&["org", product.org().name(), product.name(), "settings"]),
    }
}

/// What the form asks before anything is filled in; the identifier may stand in the URL.
pub async fn new(request: HttpRequest, product: Product, query: web::Query<Fields>) -> Result<HttpResponse, Error> {
    let fields = Fields {
        updates_enabled: Some("on".to_owned()),
        ..query.into_inner()
    };
    page::ok(&form(&request, &product, fields, Wrong::nothing()))
}

/// Registers a device.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(fields): Form<Fields>,
) -> Result<HttpResponse, Error> {
    let made = match registration(&fields) {
        Ok(registration) => service::create(&app.platform, &product, registration)
            .await
            .map_err(|error| refusal(error, "identifier")),
        Err(error) => Err(error),
    };
    match made {
        Ok(device) => Ok(page::see_other(&url(&product, &device))),
        Err(error) => page::invalid(&form(&request, &product, fields, wrong(error)?)),
    }
}

fn registration(fields: &Fields) -> Result<Registration, Error> {
    let identifier: Identifier = fields
        .identifier
        .trim()
        .parse()
        .map_err(|error| Error::invalid("identifier", format!("{error}")))?;
    Ok(Registration {
        identifier,
        description: description(fields)?,
        tags: tags(fields)?,
        updates_enabled: fields.updates_enabled.is_some(),
        connecting_code: code(fields),
    })
}

/// The code as it is stored: browsers send lines that end as on paper.
fn code(fields: &Fields) -> String {
    fields.connecting_code.replace("\r\n", "\n")
}

fn tags(fields: &Fields) -> Result<Vec<Tag>, Error> {
    let words = split_words(&fields.tags);
    Tag::read(words.iter().map(String::as_str)).map_err(|error| Error::invalid("tags", error.to_string()))
}

fn description(fields: &Fields) -> Result<String, Error> {
    let text = fields.description.trim();
    if text.chars().count() > 500 {
        return Err(Error::invalid("description", "should be at most 500 characters"));
    }
    Ok(text.to_owned())
}

/// The form of a device that is there.
pub async fn edit(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    let mut conn = app.platform.db.acquire().await?;
    let fields = Fields {
        identifier: device.identifier.clone(),
        description: device.description.clone(),
        tags: device.tags.join(", "),
        updates_enabled: device.updates_enabled.then(|| "on".to_owned()),
        connecting_code: service::connecting_code(&mut conn, product.org(), device.id).await?,
        switches: BTreeMap::new(),
    };
    page::ok(&old(&request, &product, &device, fields, Wrong::nothing()))
}

fn old(request: &HttpRequest, product: &Product, device: &Device, fields: Fields, wrong: Wrong) -> EditPage {
    let back = format!("{}{}", devices_url(product), path(&[&fields.identifier]));
    EditPage {
        frame: frame(request, product, Section::Devices, "Settings")
            .under("Devices", devices_url(product))
            .under(&fields.identifier, back.clone()),
        url: format!("{back}/edit"),
        is_new: false,
        back,
        switches: switches(device.extensions().and(product.extensions()), product.extensions()),
        ..form(request, product, fields, wrong)
    }
}

/// Changes a device.
pub async fn update(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(fields): Form<Fields>,
) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    let changed = match change(&fields, device.updates_enabled) {
        Ok(change) => service::update(&app.platform, &product, &device, &change)
            .await
            .map_err(|error| refusal(error, "")),
        Err(error) => Err(error),
    };
    match changed {
        Ok(device) => Ok(page::see_other(&url(&product, &device))),
        Err(error) => {
            let fields = Fields {
                identifier: device.identifier.clone(),
                ..fields
            };
            page::invalid(&old(&request, &product, &device, fields, wrong(error)?))
        }
    }
}

/// Switching updates on lifts a block; leaving them on does not.
fn change(fields: &Fields, were_on: bool) -> Result<Change, Error> {
    let on = fields.updates_enabled.is_some();
    Ok(Change {
        description: Some(description(fields)?),
        tags: Some(Tag::texts(tags(fields)?)),
        updates_enabled: (on != were_on).then_some(on),
        connecting_code: Some(code(fields)),
        extensions: products::pages::switches(&fields.switches),
    })
}

/// Asks before the device is deleted, or destroyed when it is deleted already.
pub async fn confirm(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    page::ok(&asking(&request, &product, &device, Wrong::nothing()))
}

fn asking<'a>(request: &HttpRequest, product: &Product, device: &'a Device, wrong: Wrong) -> DeletePage<'a> {
    let title = if device.deleted_at.is_some() {
        "Destroy"
    } else {
        "Delete"
    };
    DeletePage {
        frame: frame(request, product, Section::Devices, title)
            .under("Devices", devices_url(product))
            .under(&device.identifier, url(product, device)),
        url: url(product, device),
        device,
        wrong,
    }
}

/// Deletes a device, or destroys a deleted one.
pub async fn delete(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(form): Form<Confirmed>,
) -> Result<HttpResponse, Error> {
    let device = device(&request, &app, &product).await?;
    if !form.is(&device.identifier) {
        let wrong = wrong(Error::invalid("confirm", "is not the identifier of this device"))?;
        return page::invalid(&asking(&request, &product, &device, wrong));
    }
    let (destroys, org) = (device.deleted_at.is_some(), product.org());
    let done = if destroys {
        service::destroy(&app.platform, org, &device).await
    } else {
        service::delete(&app.platform, org, &device).await
    };
    done.map_err(|error| refusal(error, ""))?;
    Ok(page::see_other(&if destroys {
        devices_url(&product)
    } else {
        url(&product, &device)
    }))
}
