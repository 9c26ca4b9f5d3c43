//! HTTP with no fleet meaning: errors, pages, sessions' cookies, forms, assets, streams.

pub mod api;
pub mod coerce;
pub mod error;
pub mod extract;
pub mod middleware;
pub mod status;

pub use error::{Error, FieldErrors};
