//! SQL of what devices prove themselves by.

pub(in crate::devices) mod certificates;
pub(in crate::devices) mod secrets;
pub(in crate::devices) mod sweep;
