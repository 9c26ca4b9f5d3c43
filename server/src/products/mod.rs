//! Products: devices that run the same kind of firmware.
//!
//! [`Product`] is the proof that the viewer may see it: it is made only by [`access`], out of an [`Org`](crate::accounts::Org).

pub mod api;
pub mod extensions;
pub mod extract;
pub mod model;
pub mod pages;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
pub mod views;

pub use extensions::Switches;
pub use model::{Changes, Product, ProductId};
pub use service::{access, lock};
