//! Products.

use muster_link::ExtensionSet;

use super::extensions::Switches;
use crate::accounts::Org;

crate::declare_id! {
    /// A product.
    ProductId
}

/// The proof that the viewer may see this product.
#[derive(Debug, Clone)]
pub struct Product {
    pub(super) id: ProductId,
    pub(super) name: String,
    pub(super) require_unique_firmware_version: bool,
    pub(super) extensions: ExtensionSet,
    pub(super) org: Org,
}

/// What may be changed of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another name.
    pub name: Option<String>,
    /// Whether a version is uploaded once for each platform and architecture.
    pub require_unique_firmware_version: Option<bool>,
    /// Extensions that the product's devices may use from now on, or may not.
    pub extensions: Switches,
}

impl Product {
    /// The product's id.
    pub fn id(&self) -> ProductId {
        self.id
    }

    /// The product's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a version is uploaded once for each platform and architecture.
    pub fn require_unique_firmware_version(&self) -> bool {
        self.require_unique_firmware_version
    }

    /// The extensions that its devices may use, unless one is off for a device.
    pub fn extensions(&self) -> ExtensionSet {
        self.extensions
    }

    /// The org that owns it.
    pub fn org(&self) -> &Org {
        &self.org
    }
}
