//! Keys of devices in overlay networks over REST.

use actix_web::{HttpResponse, web};
use muster_link::IdentityService;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::devices::extract::Found;
use crate::devices::service::{self, NetworkIdentity};
use crate::web::extract::Query;
use crate::web::{Error, api};

/// Which of them.
#[derive(Debug, Deserialize)]
pub struct Asked {
    service: Option<String>,
    instance: Option<String>,
}

/// `GET D/network_identities?service=&instance=`; an empty parameter asks for all.
pub async fn index(app: web::Data<App>, found: Found, Query(asked): Query<Asked>) -> Result<HttpResponse, Error> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let service = given(asked.service).map(|name| named(&name)).transpose()?;
    let instance = given(asked.instance);
    let (org, device) = (found.product.org(), found.device.id);
    let mut conn = app.platform.db.acquire().await?;
    let all = service::network_identities(&mut conn, org, device, service, instance.as_deref()).await?;
    Ok(api::data(all.iter().map(one).collect::<Vec<_>>()))
}

fn named(name: &str) -> Result<IdentityService, Error> {
    let all = IdentityService::ALL.map(IdentityService::name).join(", ");
    IdentityService::named(name).ok_or_else(|| Error::invalid("service", format!("is unknown: there are {all}")))
}

fn one(identity: &NetworkIdentity) -> Value {
    json!({
        "identifier": identity.identifier,
        "service": identity.service,
        "instance": identity.instance,
        "source": "device_reported",
        "details": identity.details,
        "last_reported_at": api::zulu(identity.last_reported_at),
        "inserted_at": api::naive(identity.created_at),
        "updated_at": api::naive(identity.updated_at),
    })
}
