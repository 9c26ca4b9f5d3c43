//! Forms of deployments: new, settings, delete.

use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use super::{group, groups_url, refusal, url};
use crate::app::App;
use crate::deployments::model::{Group, TagOperator};
use crate::deployments::service::{self, Parts, Settings};
use crate::deployments::views::{DeletePage, EditPage};
use crate::devices::Tag;
use crate::packages::service as packages;
use crate::products::Product;
use crate::products::views::frame;
use crate::web::Error;
use crate::web::forms::{Confirmed, Form, Wrong, split_words, wrong};
use crate::web::page::{self, Section};

/// How many updates at once a new deployment begins with.
const CONCURRENT: &str = "10";
/// How long a device that failed is left alone, to begin with: a day.
const PENALTY_MINUTES: &str = "1440";

/// A deployment as it is filled in.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct Fields {
    /// Its name.
    pub name: String,
    /// The fwup UUID of its first release's firmware.
    pub firmware: String,
    /// The fwup UUID of its first release's archive.
    pub archive: String,
    /// Tags, as they are typed.
    pub tags: String,
    /// `and` or `or`.
    pub tag_operator: String,
    /// Versions that devices must have.
    pub version_requirement: String,
    /// Updates in flight at once.
    pub concurrent_updates: String,
    /// How long a device that failed is left alone.
    pub penalty_minutes: String,
    /// What its devices run at each connect.
    pub connecting_code: String,
    /// Whether it starts at once.
    pub start: Option<String>,
}

async fn form(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    fields: Fields,
    wrong: Wrong,
) -> Result<EditPage, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let back = groups_url(product);
    Ok(EditPage {
        frame: frame(request, product, Section::Deployments, "New deployment").under("Deployments", back.clone()),
        url: back.clone(),
        back,
        is_new: true,
        wrong,
        fields,
        firmwares: packages::list(&mut conn, product).await?,
        archives: packages::list(&mut conn, product).await?,
    })
}

/// What the form asks before anything is filled in; the firmware may stand in the URL.
pub async fn new(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    query: web::Query<Fields>,
) -> Result<HttpResponse, Error> {
    let fields = Fields {
        concurrent_updates: CONCURRENT.to_owned(),
        penalty_minutes: PENALTY_MINUTES.to_owned(),
        ..query.into_inner()
    };
    page::ok(&form(&request, &app, &product, fields, Wrong::nothing()).await?)
}

/// Makes a deployment, and starts it if that was asked for.
pub async fn create(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(fields): Form<Fields>,
) -> Result<HttpResponse, Error> {
    match make(&app, &product, &fields).await {
        Ok(group) => Ok(page::see_other(&url(&product, &group))),
        Err(error) => page::invalid(&form(&request, &app, &product, fields, wrong(error)?).await?),
    }
}

async fn make(app: &App, product: &Product, fields: &Fields) -> Result<Group, Error> {
    let settings = settings(fields, None)?;
    let parts = parts(&fields.firmware, &fields.archive)?;
    let group = service::create(&app.platform, product, &settings, parts)
        .await
        .map_err(refusal)?;
    if fields.start.is_some() {
        return service::start(&app.platform, product, &group).await.map_err(refusal);
    }
    Ok(group)
}

/// The parts of a release as they are chosen.
pub(super) fn parts(firmware: &str, archive: &str) -> Result<Parts, Error> {
    let firmware: Uuid = firmware
        .parse()
        .map_err(|_| Error::invalid("firmware", "choose the firmware that devices should run"))?;
    let archive = match archive {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| Error::invalid("archive", "choose an archive, or none"))?,
        ),
    };
    Ok(Parts { firmware, archive })
}

fn settings(fields: &Fields, notes: Option<String>) -> Result<Settings, Error> {
    let number = |text: &str, field: &'static str| {
        text.trim()
            .parse::<i32>()
            .map_err(|_| Error::invalid(field, "should be a whole number"))
    };
    let words = split_words(&fields.tags);
    let tags =
        Tag::read(words.iter().map(String::as_str)).map_err(|error| Error::invalid("tags", error.to_string()))?;
    Ok(Settings {
        name: fields.name.trim().to_owned(),
        tags: Tag::texts(tags),
        tag_operator: if fields.tag_operator == "or" {
            TagOperator::Or
        } else {
            TagOperator::And
        },
        version_requirement: fields.version_requirement.trim().to_owned(),
        concurrent_updates: number(&fields.concurrent_updates, "concurrent_updates")?,
        penalty_seconds: number(&fields.penalty_minutes, "penalty_minutes")?.saturating_mul(60),
        notes,
        connecting_code: fields.connecting_code.replace("\r\n", "\n"),
    })
}

/// The settings of a deployment that is there.
pub async fn edit(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    let fields = Fields {
        name: group.name.clone(),
        firmware: group.firmware_uuid.to_string(),
        archive: group.archive_uuid.map(|uuid| uuid.to_string()).unwrap_or_default(),
        tags: group.tags.join(", "),
        tag_operator: if group.tag_operator == TagOperator::Or {
            "or"
        } else {
            "and"
        }
        .to_owned(),
        version_requirement: group.version_requirement.clone(),
        concurrent_updates: group.concurrent_updates.to_string(),
        penalty_minutes: (group.penalty_seconds / 60).to_string(),
        connecting_code: group.connecting_code.clone(),
        start: None,
    };
    page::ok(&old(&request, &app, &product, &group, fields, Wrong::nothing()).await?)
}

async fn old(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    group: &Group,
    fields: Fields,
    wrong: Wrong,
) -> Result<EditPage, Error> {
    let back = url(product, group);
    Ok(EditPage {
        frame: frame(request, product, Section::Deployments, "Settings")
            .under("Deployments", groups_url(product))
            .under(&group.name, back.clone()),
        url: format!("{back}/edit"),
        back,
        is_new: false,
        ..form(request, app, product, fields, wrong).await?
    })
}

/// Changes a deployment's settings.
pub async fn update(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(fields): Form<Fields>,
) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    let changed = match settings(&fields, group.notes.clone()) {
        Ok(settings) => service::update(&app.platform, &product, &group, &settings)
            .await
            .map_err(refusal),
        Err(error) => Err(error),
    };
    match changed {
        Ok(group) => Ok(page::see_other(&url(&product, &group))),
        Err(error) => page::invalid(&old(&request, &app, &product, &group, fields, wrong(error)?).await?),
    }
}

fn asking<'a>(request: &HttpRequest, product: &Product, group: &'a Group, wrong: Wrong) -> DeletePage<'a> {
    DeletePage {
        frame: frame(request, product, Section::Deployments, "Delete")
            .under("Deployments", groups_url(product))
            .under(&group.name, url(product, group)),
        url: url(product, group),
        group,
        wrong,
    }
}

/// Asks before the deployment is deleted.
pub async fn confirm(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    page::ok(&asking(&request, &product, &group, Wrong::nothing()))
}

/// Deletes a deployment.
pub async fn delete(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Form(form): Form<Confirmed>,
) -> Result<HttpResponse, Error> {
    let group = group(&request, &app, &product).await?;
    let done = if form.is(&group.name) {
        service::delete(&app.platform, &product, &group).await.map_err(refusal)
    } else {
        Err(Error::invalid("confirm", "is not the name of this deployment"))
    };
    match done {
        Ok(()) => Ok(page::see_other(&groups_url(&product))),
        Err(error) => page::invalid(&asking(&request, &product, &group, wrong(error)?)),
    }
}
