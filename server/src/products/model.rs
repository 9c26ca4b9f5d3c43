//! Products.

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
    pub(super) org: Org,
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

    /// The org that owns it.
    pub fn org(&self) -> &Org {
        &self.org
    }
}
