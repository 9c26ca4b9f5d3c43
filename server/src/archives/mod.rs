//! Archives: signed `.fw` archives beside the firmware (device-link §4.9). A release has one or none; the devices of its
//! group fetch it, verify it and hand it to the product's own program. How archives come in, where they lie and how they go
//! out is the matter of [`packages`](crate::packages); who is due one is asked of `deployments`.

pub mod model;
pub mod pages;
mod store;
#[cfg(test)]
mod tests;
mod views;

pub use model::{Archive, ArchiveId, Sent};
