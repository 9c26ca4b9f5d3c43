//! What is shown before a device is moved.

use askama::Template;

use crate::devices::model::Device;
use crate::web::forms::Wrong;
use crate::web::page::Frame;

/// Asks where a device is moved to.
#[derive(Template)]
#[template(path = "devices/move.html")]
pub(in crate::devices) struct MovePage<'a> {
    pub frame: Frame,
    pub device: &'a Device,
    pub url: String,
    /// `org/product` of each.
    pub targets: Vec<String>,
    pub wrong: Wrong,
}
