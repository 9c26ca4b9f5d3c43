//! Every URL of the product, on one page.

use actix_web::web::ServiceConfig;

/// What the web listener answers: pages, the REST API, firmware, status.
pub fn web(_routes: &mut ServiceConfig) {}

/// What the device listener answers: links, firmware, status.
pub fn devices(_routes: &mut ServiceConfig) {}
