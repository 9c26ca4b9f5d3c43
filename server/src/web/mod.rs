//! HTTP with no fleet meaning: errors, pages, sessions' cookies, forms, assets, streams.

pub mod api;
pub mod assets;
pub mod coerce;
pub mod csrf;
pub mod error;
pub mod extract;
pub mod forms;
pub mod listing;
pub mod markup;
pub mod middleware;
pub mod page;
pub mod session;
pub mod status;
pub mod stream;
pub mod words;

pub use error::{Error, FieldErrors, OrNotFound};
