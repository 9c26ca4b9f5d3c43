//! What operators did. Every act of an operator leaves an entry in the same transaction as the act.

mod model;
mod store;

pub use model::{Act, Actor, Entry, Subject};
pub use store::{list_of_subject, record};
