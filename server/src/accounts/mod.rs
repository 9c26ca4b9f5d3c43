//! People, orgs, and what a person may do in an org.
//!
//! [`Org`] is the proof that a viewer is a member: it is made only by [`access`], and every store function for a
//! tenant's data takes it, or a proof that was made from it.

pub mod model;
pub mod service;
mod store;

pub use model::{Forbidden, Org, OrgId, Role, UserId, Viewer};
pub use service::access;
