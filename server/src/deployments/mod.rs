//! Deployments: which devices should run which firmware, how fast, and each device's way there.
//!
//! A group's concurrency is a fact of the database: an update that has not ended is a slot, and slots are taken under the
//! lock of the group's row. [`plan`] is pure; [`service::take`] is the one place where a device is told.

pub mod api;
pub mod model;
pub mod pages;
pub mod plan;
pub mod requirement;
pub mod scheduler;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
mod views;
pub mod why;

pub use model::{Group, GroupId, Outcome, Status, UpdateId};
pub use scheduler::Scheduler;
