//! A device goes to another product, also of another org.

use serde_json::json;
use sqlx::PgConnection;

use super::{ChangeError, act, news, store};
use crate::accounts::Role;
use crate::audit;
use crate::devices::model::Device;
use crate::platform::events::{self, News, kind};
use crate::platform::{Platform, db};
use crate::products::Product;

/// Hands a device over, with its certificates and its own secrets, in the caller's transaction. Its link ends, so that it
/// comes back as one of the other product's. Both orgs find the act in their audit log.
///
/// # Errors
/// [`ChangeError`] says why not; who moves a device must be able to change devices in both orgs.
pub async fn hand_over(
    conn: &mut PgConnection,
    platform: &Platform,
    from: &Product,
    device: &Device,
    to: &Product,
) -> Result<(), ChangeError> {
    from.org().require(Role::Manage)?;
    to.org().require(Role::Manage)?;
    if from.id() == to.id() {
        return Err(ChangeError::SameProduct);
    }
    if !store::moves::lock(conn, from, device.id).await? {
        return Err(ChangeError::Database(sqlx::Error::RowNotFound));
    }
    let now = platform.clock.now();
    let moved = store::moves::update_product(conn, from, device.id, to, now).await;
    moved.map_err(|error| match db::violated(&error) {
        Some("devices_identifier_key") => ChangeError::Taken,
        _ => ChangeError::Database(error),
    })?;
    store::delete_refusals(conn, to.org(), &device.identifier).await?;
    let sides = [
        (from, "device.moved_away", json!({ "to": name(to) }), kind::CUT),
        (to, "device.moved_here", json!({ "from": name(from) }), kind::EDITED),
    ];
    for (product, action, detail, kind) in sides {
        audit::record(conn, platform, act(product.org(), device, action, detail)).await?;
        let news = News {
            product_id: Some(product.id().0),
            ..news(product.org(), device, kind)
        };
        events::publish(conn, now, &[news]).await?;
    }
    Ok(())
}

fn name(product: &Product) -> String {
    format!("{}/{}", product.org().name(), product.name())
}
