//! Firmware: signed `.fw` archives that a product's devices may run.
//!
//! A row exists only for an archive that was read to its end, signed by a key of the org, and is in the object store;
//! an upload that fails at any point leaves neither row nor blob. Devices fetch it by a signed link, without asking who
//! they are.

pub mod api;
pub mod download;
mod inspect;
pub mod model;
pub mod pages;
pub mod range;
pub mod receive;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
pub mod upload;
pub mod url;
mod views;

pub use model::{Firmware, FirmwareId};
pub use url::{FirmwareUrls, Holder};
