//! Deployments over REST.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::model::{Group, TagOperator, UpdateEntry};
use super::service::{self, ChangeError, Parts, Settings};
use crate::app::App;
use crate::devices::Tag;
use crate::devices::extract::Found;
use crate::products::Product;
use crate::web::coerce::{Flag, Number, Words};
use crate::web::error::OrNotFound as _;
use crate::web::extract::{self, Body};
use crate::web::{Error, api};

/// How many updates a new group has in flight at once.
const CONCURRENT_UPDATES: i32 = 10;
/// How long a device that failed is left alone by a new group: a day.
const PENALTY_SECONDS: i32 = 86_400;
/// How long notes may be.
const MAX_NOTES: usize = 1000;
/// Updates of a device that are shown.
const UPDATES_SHOWN: i64 = 100;
/// Keys of a body that ask for a new release, whatever else it holds.
const RELEASE_KEYS: [&str; 4] = ["firmware", "firmware_id", "archive", "archive_id"];
/// Keys that say how an update should be, where this server has one way only. They are read and change nothing.
const ONE_WAY: [&str; 3] = ["delta_updatable", "platform", "architecture"];

/// `GET P/deployments`.
pub async fn index(app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let groups = service::list(&mut conn, &product).await?;
    Ok(api::data(groups.iter().map(json).collect::<Vec<_>>()))
}

/// `GET P/deployments/{name}`.
pub async fn show(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    Ok(api::data(json(&find(&request, &app, &product).await?)))
}

/// `GET D/updates`: the updates of a device, newest first.
pub async fn updates(app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    let mut conn = app.platform.db.acquire().await?;
    let history = service::history(&mut conn, &found.product, &found.device, UPDATES_SHOWN).await?;
    Ok(api::data(history.iter().map(update_json).collect::<Vec<_>>()))
}

fn update_json(update: &UpdateEntry) -> Value {
    json!({
        "deployment_group": update.group_name,
        "from_version": update.from_version,
        "to_version": update.to_version,
        "status": update.status.name(),
        "percent": update.percent,
        "reason": update.reason,
        "attempts": update.attempts,
        "assigned_at": api::zulu(update.assigned_at),
        "told_at": update.told_at.map(api::zulu),
        "updated_at": api::zulu(update.updated_at),
        "ended_at": update.ended_at.map(api::zulu),
    })
}

/// `POST P/deployments`: always off.
pub async fn create(
    app: web::Data<App>,
    product: Product,
    Body(body): Body<Map<String, Value>>,
) -> Result<HttpResponse, Error> {
    let mut body = unwrapped(body);
    let parts = parts(&mut body)?;
    if !body.contains_key("conditions") {
        return Err(Error::invalid("conditions", "can't be blank"));
    }
    body.retain(|key, _| !matches!(key.as_str(), "state" | "is_active"));
    let mut settings = Settings {
        name: String::new(),
        tags: Vec::new(),
        tag_operator: TagOperator::And,
        version_requirement: String::new(),
        concurrent_updates: CONCURRENT_UPDATES,
        penalty_seconds: PENALTY_SECONDS,
        notes: None,
        connecting_code: String::new(),
    };
    said(body)?.change(&mut settings)?;
    let group = service::create(&app.platform, &product, &settings, parts).await?;
    let place = [
        "orgs",
        product.org().name(),
        "products",
        product.name(),
        "deployments",
        &group.name,
    ];
    Ok(api::created(&place, json(&group)))
}

/// `PUT P/deployments/{name}`: a new release, or other settings and on or off. A release has what is named and nothing
/// else: without an archive it has none, whatever the one before had.
pub async fn update(
    request: HttpRequest,
    app: web::Data<App>,
    product: Product,
    Body(body): Body<Map<String, Value>>,
) -> Result<HttpResponse, Error> {
    let group = find(&request, &app, &product).await?;
    let mut body = unwrapped(body);
    if RELEASE_KEYS.iter().any(|key| body.contains_key(*key)) {
        let parts = parts(&mut body)?;
        let released = service::release(&app.platform, &product, &group, parts).await?;
        return Ok(api::data(json(&released)));
    }
    let said = said(body)?;
    let mut settings = settings(&group);
    let on = said.on()?;
    said.change(&mut settings)?;
    let group = service::update(&app.platform, &product, &group, &settings).await?;
    let group = match on {
        Some(true) if !group.is_on => service::start(&app.platform, &product, &group).await?,
        Some(false) if group.is_on => service::stop(&app.platform, &product, &group).await?,
        _ => group,
    };
    Ok(api::data(json(&group)))
}

/// `DELETE P/deployments/{name}`.
pub async fn delete(request: HttpRequest, app: web::Data<App>, product: Product) -> Result<HttpResponse, Error> {
    let group = find(&request, &app, &product).await?;
    service::delete(&app.platform, &product, &group).await?;
    Ok(api::deleted(&request))
}

async fn find(request: &HttpRequest, app: &App, product: &Product) -> Result<Group, Error> {
    let name = extract::name(request, "deployment")?;
    let mut conn = app.platform.db.acquire().await?;
    service::find(&mut conn, product, &name).await?.or_404()
}

/// The parameters, which may stand in an object `deployment`.
fn unwrapped(mut body: Map<String, Value>) -> Map<String, Value> {
    match body.remove("deployment") {
        Some(Value::Object(inner)) => inner,
        _ => body,
    }
}

/// What to release, taken out of the parameters.
fn parts(body: &mut Map<String, Value>) -> Result<Parts, Error> {
    let firmware = uuid(body, ["firmware", "firmware_id"])?;
    Ok(Parts {
        firmware: firmware.ok_or_else(|| Error::invalid("firmware", "can't be blank"))?,
        archive: uuid(body, ["archive", "archive_id"])?,
    })
}

/// The UUID by one of these names; a blank one is none.
fn uuid(body: &mut Map<String, Value>, names: [&'static str; 2]) -> Result<Option<Uuid>, Error> {
    let [first, second] = names.map(|name| body.remove(name));
    let text = match first.or(second) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    let uuid = text.trim().parse();
    uuid.map(Some).map_err(|_| Error::invalid(names[0], "is not a UUID"))
}

fn settings(group: &Group) -> Settings {
    Settings {
        name: group.name.clone(),
        tags: group.tags.clone(),
        tag_operator: group.tag_operator,
        version_requirement: group.version_requirement.clone(),
        concurrent_updates: group.concurrent_updates,
        penalty_seconds: group.penalty_seconds,
        notes: group.notes.clone(),
        connecting_code: group.connecting_code.clone(),
    }
}

/// What a client says of a group. A key that this server does not have is refused by its name.
#[derive(Debug, Default, Deserialize)]
struct Said {
    name: Option<String>,
    conditions: Option<Conditions>,
    version: Option<String>,
    tags: Option<Words>,
    state: Option<String>,
    is_active: Option<Flag>,
    concurrent_updates: Option<Number>,
    penalty_timeout_minutes: Option<Number>,
    notes: Option<String>,
    connecting_code: Option<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    version: Option<String>,
    tags: Option<Words>,
    tag_operator: Option<String>,
}

fn said(body: Map<String, Value>) -> Result<Said, Error> {
    let said: Said = serde_json::from_value(Value::Object(body))
        .map_err(|error| Error::BadRequest(format!("a parameter has the wrong form: {error}")))?;
    let unknown = said.other.keys().find(|key| !ONE_WAY.contains(&key.as_str()));
    match unknown {
        Some(key) => Err(Error::Refused(format!(
            "A deployment's {key} cannot be set on this server."
        ))),
        None => Ok(said),
    }
}

impl Said {
    /// Whether devices are to be told, if it says so.
    fn on(&self) -> Result<Option<bool>, Error> {
        match self.state.as_deref() {
            Some("on") => Ok(Some(true)),
            Some("off") => Ok(Some(false)),
            Some(_) => Err(Error::invalid("state", "must be on or off")),
            None => Ok(self.is_active.map(|flag| flag.0)),
        }
    }

    fn change(self, settings: &mut Settings) -> Result<(), Error> {
        let conditions = self.conditions.unwrap_or_default();
        if let Some(name) = self.name {
            name.trim().clone_into(&mut settings.name);
        }
        if let Some(version) = conditions.version.or(self.version) {
            version.trim().clone_into(&mut settings.version_requirement);
        }
        if let Some(words) = conditions.tags.or(self.tags) {
            let tags = Tag::read(words.0.iter().map(String::as_str));
            let tags = tags.map_err(|error| Error::invalid_in("conditions", "tags", error.to_string()))?;
            settings.tags = Tag::texts(tags);
        }
        match conditions.tag_operator.as_deref() {
            Some("and") => settings.tag_operator = TagOperator::And,
            Some("or") => settings.tag_operator = TagOperator::Or,
            Some(_) => return Err(Error::invalid_in("conditions", "tag_operator", "must be and or or")),
            None => {}
        }
        if let Some(Number(number)) = self.concurrent_updates {
            settings.concurrent_updates = i32::try_from(number).unwrap_or_default();
        }
        if let Some(Number(minutes)) = self.penalty_timeout_minutes {
            settings.penalty_seconds = i32::try_from(minutes.saturating_mul(60)).unwrap_or(-1);
        }
        if let Some(notes) = self.notes {
            if notes.chars().count() > MAX_NOTES {
                return Err(Error::invalid("notes", "should be at most 1000 characters"));
            }
            settings.notes = Some(notes).filter(|notes| !notes.is_empty());
        }
        if let Some(code) = self.connecting_code {
            settings.connecting_code = code;
        }
        Ok(())
    }
}

/// A group as the API shows it.
fn json(group: &Group) -> Value {
    json!({
        "name": group.name,
        "is_active": group.is_on,
        "state": if group.is_on { "on" } else { "off" },
        "firmware_uuid": group.firmware_uuid,
        "archive_uuid": group.archive_uuid,
        "current_release": {
            "number": group.release_number,
            "firmware": {
                "version": group.firmware_version,
                "architecture": group.firmware_architecture,
                "platform": group.firmware_platform,
                "uuid": group.firmware_uuid,
            },
            "inserted_at": api::naive(group.released_at),
            "updated_at": api::naive(group.released_at),
        },
        "conditions": {
            "version": group.version_requirement,
            "tags": group.tags,
            "tag_operator": group.tag_operator,
        },
        "delta_updatable": false,
        "concurrent_updates": group.concurrent_updates,
        "penalty_timeout_minutes": group.penalty_seconds / 60,
        "device_count": group.device_count,
        "releases_count": group.release_number,
        "notes": group.notes,
        "connecting_code": group.connecting_code,
    })
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        let message = error.to_string();
        match error {
            ChangeError::Forbidden(forbidden) => forbidden.into(),
            ChangeError::Name | ChangeError::Taken => Self::invalid("name", message),
            ChangeError::Requirement(_) => Self::invalid_in("conditions", "version", message),
            ChangeError::Concurrency => Self::invalid("concurrent_updates", message),
            ChangeError::Penalty => Self::invalid("penalty_timeout_minutes", message),
            ChangeError::NoFirmware => Self::invalid("firmware", message),
            ChangeError::NoArchive => Self::invalid("archive", message),
            ChangeError::Code => Self::invalid("connecting_code", message),
            ChangeError::Running => Self::Conflict(message),
            ChangeError::Database(cause) => Self::Internal(cause.into()),
        }
    }
}
