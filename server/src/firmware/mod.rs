//! Firmware: signed `.fw` archives that a product's devices may run. How they come in, where they lie and how they go out
//! is the matter of [`packages`](crate::packages).

pub mod model;
pub mod pages;
mod store;
mod views;

pub use model::{Firmware, FirmwareId};
