//! HTTP with no fleet meaning: errors, pages, sessions' cookies, forms, assets, streams.

pub mod api;
pub mod error;
pub mod extract;

pub use error::{Error, FieldErrors};
