//! Use cases of products.

use serde_json::json;
use sqlx::PgConnection;

use super::model::{Changes, Product, ProductId};
use super::store;
use crate::accounts::{self, Forbidden, Org, Role, Viewer};
use crate::audit::{self, Act, Subject};
use crate::platform::events::{self, News, kind};
use crate::platform::{Platform, db};

/// Why a product was not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    /// The role is too low.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The name is empty, too long, or holds a slash or a control character.
    #[error("must have 1 to 100 characters, without slashes")]
    Name,
    /// The org has a product of this name.
    #[error("has already been taken")]
    Taken,
    /// It was deleted meanwhile.
    #[error("the product is gone")]
    Gone,
    /// The database failed.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for ProductError {
    fn from(error: sqlx::Error) -> Self {
        match db::violated(&error) {
            Some("products_name_key") => Self::Taken,
            Some("products_name_check") => Self::Name,
            _ => Self::Database(error),
        }
    }
}

/// The proof that the viewer may see this product; `None` when it is not there or another org's.
///
/// # Errors
/// When the database fails.
pub async fn access(
    conn: &mut PgConnection,
    viewer: &Viewer,
    org: &str,
    product: &str,
) -> sqlx::Result<Option<Product>> {
    let Some(org) = accounts::access(conn, viewer, org).await? else {
        return Ok(None);
    };
    store::find(conn, &org, product).await
}

/// The product of this name in an org, for those who hold the org's proof.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &mut PgConnection, org: &Org, name: &str) -> sqlx::Result<Option<Product>> {
    store::find(conn, org, name).await
}

/// The product as it is now; nobody changes it until the transaction ends. `None` when it was deleted.
///
/// # Errors
/// When the database fails.
pub async fn lock(conn: &mut PgConnection, product: &Product) -> sqlx::Result<Option<Product>> {
    store::lock(conn, product).await
}

/// The org's products, by name.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, org: &Org) -> sqlx::Result<Vec<Product>> {
    store::list(conn, org).await
}

/// Makes a product.
///
/// # Errors
/// [`ProductError`] says what is refused.
pub async fn create(platform: &Platform, org: &Org, name: &str) -> Result<Product, ProductError> {
    org.require(Role::Admin)?;
    let id: ProductId = platform.new_id();
    let mut tx = platform.db.begin().await?;
    let product = store::insert(&mut tx, org, id, name, platform.clock.now()).await?;
    record(&mut tx, platform, &product, "product.created", json!({})).await?;
    tx.commit().await?;
    Ok(product)
}

/// Changes a product.
///
/// # Errors
/// [`ProductError`] says what is refused.
pub async fn update(platform: &Platform, product: &Product, changes: &Changes) -> Result<Product, ProductError> {
    product.org().require(Role::Manage)?;
    let mut tx = platform.db.begin().await?;
    let before = store::lock(&mut tx, product).await?.ok_or(ProductError::Gone)?;
    let changed = store::update(&mut tx, product, changes, platform.clock.now())
        .await?
        .ok_or(ProductError::Gone)?;
    let detail = json!({
        "name": changes.name,
        "require_unique_firmware_version": changes.require_unique_firmware_version,
        "extensions": changes.extensions.record(),
    });
    record(&mut tx, platform, product, "product.changed", detail).await?;
    if changed.extensions() != before.extensions() {
        events::publish(&mut tx, platform.clock.now(), &[news(product, kind::EXTENSIONS)]).await?;
    }
    tx.commit().await?;
    platform.events.ring();
    Ok(changed)
}

/// Deletes a product: it, its devices and its firmware are no longer reached, its devices' links end, and its name is free.
///
/// # Errors
/// [`ProductError`] says what is refused.
pub async fn delete(platform: &Platform, product: &Product) -> Result<(), ProductError> {
    product.org().require(Role::Admin)?;
    let mut tx = platform.db.begin().await?;
    if !store::delete(&mut tx, product, platform.clock.now()).await? {
        return Err(ProductError::Gone);
    }
    record(&mut tx, platform, product, "product.deleted", json!({})).await?;
    events::publish(&mut tx, platform.clock.now(), &[news(product, kind::PRODUCT_GONE)]).await?;
    tx.commit().await?;
    platform.events.ring();
    Ok(())
}

fn news(product: &Product, kind: &'static str) -> News {
    News {
        kind,
        org_id: product.org().id().0,
        product_id: Some(product.id().0),
        subject_id: product.id().0,
    }
}

async fn record(
    conn: &mut PgConnection,
    platform: &Platform,
    product: &Product,
    action: &'static str,
    detail: serde_json::Value,
) -> sqlx::Result<()> {
    let act = Act {
        org_id: product.org().id().0,
        actor: product.org().actor(),
        action,
        subject: Subject {
            kind: "product",
            id: Some(product.id().0),
            name: product.name(),
        },
        detail,
    };
    audit::record(conn, platform, act).await
}
