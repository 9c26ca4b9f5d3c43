//! A device goes to another product: what this one's deployments wanted of it is over.

use crate::deployments::store;
use crate::devices::Device;
use crate::devices::service::{self as devices, ChangeError};
use crate::platform::Platform;
use crate::platform::sweep::Sweep;
use crate::products::Product;

/// Moves a device to another product, also of another org. Its update in flight is withdrawn and it belongs to no group
/// until its new product's rules choose one.
///
/// # Errors
/// [`ChangeError`] says why not.
pub async fn move_device(
    platform: &Platform,
    from: &Product,
    device: &Device,
    to: &Product,
) -> Result<Device, ChangeError> {
    let mut tx = platform.db.begin().await?;
    devices::moves::hand_over(&mut tx, platform, from, device, to).await?;
    store::delete_membership(&mut tx, from, device.id).await?;
    let reason = "The device was moved to another product.";
    store::withdraw_of_device(&mut tx, from, device.id, reason, platform.clock.now()).await?;
    devices::set_progress(&mut tx, Sweep::of_the_server(), &[super::cleared(device.id)]).await?;
    let moved = devices::find(&mut tx, to, &device.identifier).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(moved.ok_or(sqlx::Error::RowNotFound)?)
}
