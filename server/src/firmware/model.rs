//! What firmware is.

use crate::packages::Package;

crate::declare_id! {
    /// Firmware of a product.
    FirmwareId
}

/// Firmware of a product.
pub type Firmware = Package<FirmwareId>;
