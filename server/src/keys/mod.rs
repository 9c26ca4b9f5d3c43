//! Signing keys: the Ed25519 public keys whose firmware an org trusts.

pub mod service;
mod store;
