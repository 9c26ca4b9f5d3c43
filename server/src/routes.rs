//! Every URL of the product, on one page.

use actix_web::web::ServiceConfig;

use crate::web::status;

/// What the web listener answers: pages, the REST API, firmware, status.
pub fn web(routes: &mut ServiceConfig) {
    routes.configure(status::routes);
}

/// What the device listener answers: links, firmware, status.
pub fn devices(routes: &mut ServiceConfig) {
    routes.configure(status::alive_routes);
}
