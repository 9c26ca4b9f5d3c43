//! CA certificates whose device certificates an org accepts, each proven to be the org's.
//!
//! [`x509`] reads and checks certificates and does no I/O. What a certificate means for a device is decided by
//! `devices::identity`.

pub mod api;
pub mod authority;
pub mod model;
pub mod pages;
pub mod request;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
mod views;
pub mod x509;

pub use model::{Ca, CaId, Jitp};
