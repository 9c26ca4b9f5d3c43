//! Firmware: signed `.fw` archives, each verified before its row is written, and how devices fetch them.

pub mod url;

pub use url::FirmwareUrls;
