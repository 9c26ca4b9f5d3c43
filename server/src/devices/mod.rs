//! Devices: what operators know of them, what they last reported, and how they prove who they are.
//!
//! An identifier is unique in its org, deleted devices included: a deleted one is restored or destroyed before its
//! identifier is used again. [`identity`] alone turns a certificate into a [`Peer`], the proof that opens one device's rows.

pub mod api;
pub mod command;
pub mod extract;
pub mod identity;
pub mod model;
pub mod pages;
pub mod query;
mod reported;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
mod views;

pub use identity::{Peer, Refusal};
pub use model::{Connection, Device, DeviceId, Identifier, Tag, Validation};
