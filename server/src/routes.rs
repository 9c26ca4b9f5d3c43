//! Every URL of the product, on one page.

use actix_web::web::{self, ServiceConfig, delete, get, patch, post, put};

use crate::web::Error;
use crate::{accounts, products};

/// What the web listener answers: pages, the REST API, firmware, status.
pub fn web(routes: &mut ServiceConfig) {
    routes.service(web::scope("/api").configure(api).default_service(web::to(nothing)));
}

/// What the device listener answers: links, firmware, status.
pub fn devices(_routes: &mut ServiceConfig) {}

/// The REST API, below `/api`.
fn api(routes: &mut ServiceConfig) {
    routes
        // accounts
        .route("/users/login", post().to(accounts::api::login))
        .route("/users/auth", post().to(accounts::api::login))
        .route("/users/me", get().to(accounts::api::me))
        .route("/orgs", get().to(products::api::orgs))
        .route("/orgs", post().to(products::api::create_org))
        // products
        .route("/orgs/{org}/products", get().to(products::api::index))
        .route("/orgs/{org}/products", post().to(products::api::create))
        .route("/orgs/{org}/products/{product}", get().to(products::api::show))
        .route("/orgs/{org}/products/{product}", put().to(products::api::update))
        .route("/orgs/{org}/products/{product}", patch().to(products::api::update))
        .route("/orgs/{org}/products/{product}", delete().to(products::api::delete));
}

/// What the API says of every other path: whoever asks learns nothing of what is there.
async fn nothing() -> Result<String, Error> {
    Err(Error::NotFound)
}
