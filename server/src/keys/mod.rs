//! Signing keys: the Ed25519 public keys whose firmware an org trusts.
//!
//! A key that some firmware was signed with stays; deleting it is refused by the database.

pub mod api;
pub mod model;
pub mod pages;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
mod views;

pub use model::{KeyId, SigningKey};
