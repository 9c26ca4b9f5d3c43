//! Device links.

pub mod tls;
