//! What operators ask of connected devices: written as news, so that it reaches them on whatever node they are.

use serde_json::json;
use sqlx::PgConnection;

use super::{ChangeError, census, record};
use crate::accounts::{Org, Role};
use crate::audit::{self, Act, Subject};
use crate::devices::command::{Command, Reach};
use crate::devices::model::Device;
use crate::platform::Platform;
use crate::platform::events::{self, News};
use crate::products::Product;

/// Asks one device. One that is away does not hear it.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn ask(platform: &Platform, org: &Org, device: &Device, command: Command) -> Result<(), ChangeError> {
    org.require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    let news = command.news(Reach::Device);
    record(&mut tx, platform, org, device, command.act(), news).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(())
}

/// Asks every connected device of the product, by one row for all of them; how many are connected.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn ask_all(platform: &Platform, product: &Product, command: Command) -> Result<i64, ChangeError> {
    let org = product.org();
    org.require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    let (_, connected) = counts(&mut tx, product).await?;
    let act = Act {
        org_id: org.id().0,
        actor: org.actor(),
        action: command.act(),
        subject: Subject {
            kind: "product",
            id: Some(product.id().0),
            name: product.name(),
        },
        detail: json!({ "connected": connected }),
    };
    audit::record(&mut tx, platform, act).await?;
    let news = News {
        kind: command.news(Reach::Product),
        org_id: org.id().0,
        product_id: Some(product.id().0),
        subject_id: product.id().0,
    };
    events::publish(&mut tx, platform.clock.now(), &[news]).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(connected)
}

/// How many devices the product has, and how many of them are connected.
///
/// # Errors
/// When the database fails.
pub async fn counts(conn: &mut PgConnection, product: &Product) -> sqlx::Result<(i64, i64)> {
    let all = census(conn, product.org()).await?;
    let own = all.into_iter().find(|(id, ..)| *id == product.id());
    Ok(own.map_or((0, 0), |(_, devices, connected)| (devices, connected)))
}
