//! Packages: signed `.fw` archives of a product, on their way in, where they lie, and on their way out.
//!
//! What a package is to the fleet, firmware that devices run or an archive beside it, is the matter of the room that keeps
//! it: that room has the table and implements [`Kind`] for its id. For every kind holds: a row exists only for an archive
//! that was read to its end, signed by a key of the org, and is in the object store; an upload that fails at any point
//! leaves neither row nor blob. Devices fetch it by a signed link, without asking who they are.

pub mod api;
pub mod download;
mod inspect;
pub mod model;
pub mod pages;
pub mod range;
pub mod receive;
pub mod service;
#[cfg(test)]
pub(crate) mod tests;
pub mod upload;
pub mod url;

use std::fmt::{Debug, Display};
use std::future::Future;
use std::str::FromStr;

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use self::upload::UploadError;
use crate::platform::blobs::BlobName;
use crate::platform::ids::Id;
use crate::platform::sweep::Sweep;
use crate::products::Product;

pub use model::{Facts, New, Package, Row, Stored};
pub use url::{Holder, PackageUrls, Ticket};

/// A kind of packages, named by its id: the words for it, and the table that its room keeps it in.
pub trait Kind: Id + Copy + Eq + Debug + Display + FromStr + Send + Sync + 'static {
    /// One of them, in sentences, in the audit log, and as the part of a form that holds it.
    const WORD: &'static str;
    /// All of them, in the paths of the API.
    const PLURAL: &'static str;
    /// The folder of their blobs, and the first part of their links.
    const FOLDER: &'static str;
    /// What their links' signatures begin with, so that none opens a package of another kind.
    const SIGNED_AS: &'static str;
    /// How long a link is good for; `None`: as long as the server is configured to.
    const LINK_LIFETIME: Option<Duration>;
    /// The act of uploading one, as the audit log names it.
    const UPLOADED: &'static str;
    /// The act of deleting one.
    const DELETED: &'static str;
    /// The news of one that came or went.
    const NEWS: &'static str;

    /// The product's packages, in no order; `uuid`: that one only.
    fn list(
        conn: &mut PgConnection,
        product: &Product,
        uuid: Option<Uuid>,
    ) -> impl Future<Output = sqlx::Result<Vec<Package<Self>>>> + Send;

    /// Refuses what the archive says, beside what no kind takes.
    fn check(
        _conn: &mut PgConnection,
        _product: &Product,
        _facts: &Facts,
    ) -> impl Future<Output = Result<(), UploadError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Writes the row.
    fn insert(
        conn: &mut PgConnection,
        product: &Product,
        new: &New<Self>,
        now: OffsetDateTime,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Deletes the row; whether it was there.
    fn delete(conn: &mut PgConnection, product: &Product, id: Self) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// Releases that use it: the names of their deployments, and their numbers. At most `limit`.
    fn releases(
        conn: &mut PgConnection,
        product: &Product,
        id: Self,
        limit: i64,
    ) -> impl Future<Output = sqlx::Result<Vec<(String, i32)>>> + Send;

    /// The bytes that a signed link is for.
    fn stored(
        conn: &mut PgConnection,
        ticket: &Ticket<Self>,
    ) -> impl Future<Output = sqlx::Result<Option<Stored>>> + Send;
}

/// What the server's own sweep does to the packages of a kind, across orgs.
pub trait Swept: Kind {
    /// Deletes what has expired and is used by no release; its blobs are left to be deleted.
    fn delete_expired(
        conn: &mut PgConnection,
        proof: Sweep,
        now: OffsetDateTime,
    ) -> impl Future<Output = sqlx::Result<Vec<BlobName>>> + Send;

    /// Of these blobs, those that a row has.
    fn list_known_blobs(
        conn: &mut PgConnection,
        proof: Sweep,
        blobs: &[String],
    ) -> impl Future<Output = sqlx::Result<Vec<String>>> + Send;
}
