//! People, orgs, and what a person may do in an org.
//!
//! [`Org`] is the proof that a viewer is a member: it is made only by [`access`], and every store function for a
//! tenant's data takes it, or a proof that was made from it. Passwords and tokens are stored as hashes only, and guesses
//! at them pass one gate, [`SignIns`].

pub mod api;
pub mod extract;
pub mod model;
pub mod pages;
mod password;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
mod token;
mod views;

pub use model::{Email, Forbidden, Org, OrgId, Role, SESSION_COOKIE, SESSION_LIFETIME, UserId, Via, Viewer};
pub use password::{MAX_FAILURES, PASSWORD_LEN, Refused, SignIns};
pub use service::access;
pub use token::{TokenContext, TokenSecret};
