//! Every URL of the product, on one page.

use actix_web::web::{ServiceConfig, get};

use crate::links::listener;
use crate::web::status;

/// What the web listener answers: pages, the REST API, firmware, status.
pub fn web(routes: &mut ServiceConfig) {
    routes.configure(status::routes);
}

/// What the device listener answers: links, firmware, status.
pub fn devices(routes: &mut ServiceConfig) {
    routes
        .route("/socket/websocket", get().to(listener::connect))
        .route("/device-socket/websocket", get().to(listener::connect))
        .configure(status::alive_routes);
}
