//! SQL of signing keys.

pub(super) mod sweep;
