//! Links of devices over REST: one that opens many in an hour has a bad network or bad power.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::app::App;
use crate::devices::extract::Found;
use crate::devices::model::PastLink;
use crate::devices::service;
use crate::web::{Error, api};

/// Links that are shown.
const SHOWN: i64 = 100;

/// `GET D/links`: those that have ended, newest first, and how many were opened in the last hour.
pub async fn index(app: web::Data<App>, found: Found) -> Result<HttpResponse, Error> {
    let (org, device) = (found.product.org(), found.device.id);
    let mut conn = app.platform.db.acquire().await?;
    let past = service::past_links(&mut conn, org, device, SHOWN).await?;
    let count = service::links_last_hour(&mut conn, &app.platform, org, device).await?;
    Ok(api::data(json!({
        "last_hour": count,
        "ended": past.iter().map(one).collect::<Vec<_>>(),
    })))
}

fn one(link: &PastLink) -> Value {
    json!({
        "opened_at": api::zulu(link.link.opened_at()),
        "ended_at": api::zulu(link.ended_at),
        "reason": link.reason,
        "address": link.address,
    })
}
