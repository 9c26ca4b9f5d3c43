//! Every URL of the product, on one page.

use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{self, ServiceConfig, delete, get, head, patch, post, put};

use crate::archives::ArchiveId;
use crate::firmware::FirmwareId;
use crate::links::listener;
use crate::packages::{Kind, api as packages, download};
use crate::web::{Error, assets, csrf, page, status};
use crate::{accounts, archives, ca, deployments, devices, firmware, keys, products};

/// What the web listener answers: pages, the REST API, firmware, status.
pub fn web(routes: &mut ServiceConfig) {
    routes
        .configure(status::routes)
        .configure(package_files)
        // Devices whose TLS ends at a proxy come here, by a shared secret.
        .route("/device-socket/websocket", web::to(listener::connect))
        .service(web::scope("/api").configure(api).default_service(web::to(nothing)))
        .service(
            web::scope("/static")
                .route("/{path:.*}", get().to(assets::serve))
                .wrap(page::headers())
                .wrap(Compress::default()),
        )
        .service(
            web::scope("")
                .configure(pages)
                .default_service(web::to(nothing))
                .wrap(from_fn(csrf::guard))
                .wrap(from_fn(page::errors))
                .wrap(page::headers())
                .wrap(Compress::default()),
        );
}

/// What the device listener answers: links, firmware, status.
pub fn devices(routes: &mut ServiceConfig) {
    routes
        .route("/socket/websocket", web::to(listener::connect))
        .route("/device-socket/websocket", web::to(listener::connect))
        .configure(package_files)
        .configure(status::alive_routes);
}

/// Packages by signed links, on both listeners.
fn package_files(routes: &mut ServiceConfig) {
    routes
        .route("/firmware/{org}/{file}", get().to(download::file::<FirmwareId>))
        .route("/firmware/{org}/{file}", head().to(download::file::<FirmwareId>))
        .route("/archives/{org}/{file}", get().to(download::file::<ArchiveId>))
        .route("/archives/{org}/{file}", head().to(download::file::<ArchiveId>));
}

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
        .route("/orgs/{org}/products/{product}", delete().to(products::api::delete))
        // keys
        .route("/orgs/{org}/keys", get().to(keys::api::index))
        .route("/orgs/{org}/keys", post().to(keys::api::create))
        .route("/orgs/{org}/keys/{key}", get().to(keys::api::show))
        .route("/orgs/{org}/keys/{key}", delete().to(keys::api::delete))
        .configure(api_of_packages::<FirmwareId>)
        .configure(api_of_packages::<ArchiveId>)
        .configure(api_of_fleet);
}

/// The packages of one kind.
fn api_of_packages<K: Kind>(routes: &mut ServiceConfig) {
    let all = format!("/orgs/{{org}}/products/{{product}}/{}", K::PLURAL);
    let one = format!("{all}/{{uuid}}");
    routes
        .route(&all, get().to(packages::index::<K>))
        .route(&all, post().to(packages::create::<K>))
        .route(&one, get().to(packages::show::<K>))
        .route(&one, delete().to(packages::delete::<K>))
        .route(&format!("{one}/download"), get().to(packages::download::<K>));
}

/// The part of the REST API that is about devices: their CAs, themselves, their deployments.
fn api_of_fleet(routes: &mut ServiceConfig) {
    routes
        // ca
        .route("/orgs/{org}/ca_certificates", get().to(ca::api::index))
        .route("/orgs/{org}/ca_certificates", post().to(ca::api::create))
        .route("/orgs/{org}/ca_certificates/verification_token", get().to(ca::api::verification_token))
        .route("/orgs/{org}/ca_certificates/{serial}", get().to(ca::api::show))
        .route("/orgs/{org}/ca_certificates/{serial}", put().to(ca::api::update))
        .route("/orgs/{org}/ca_certificates/{serial}", patch().to(ca::api::update))
        .route("/orgs/{org}/ca_certificates/{serial}", delete().to(ca::api::delete))
        // devices
        .route("/orgs/{org}/products/{product}/devices", get().to(devices::api::index))
        .route("/orgs/{org}/products/{product}/devices", post().to(devices::api::create))
        .route("/orgs/{org}/products/{product}/shared_secrets", get().to(devices::api::secrets::of_product))
        .route("/orgs/{org}/products/{product}/shared_secrets", post().to(devices::api::secrets::create_of_product))
        .route(
            "/orgs/{org}/products/{product}/shared_secrets/{secret}",
            delete().to(devices::api::secrets::delete_of_product),
        )
        .route("/orgs/{org}/products/{product}/commands", post().to(devices::api::commands::ask_all))
        .service(web::scope("/orgs/{org}/products/{product}/devices/{device}").configure(api_of_device))
        .service(web::scope("/devices/{device}").configure(api_of_device))
        // deployments
        .route("/orgs/{org}/products/{product}/deployments", get().to(deployments::api::index))
        .route("/orgs/{org}/products/{product}/deployments", post().to(deployments::api::create))
        .route("/orgs/{org}/products/{product}/deployments/{deployment}", get().to(deployments::api::show))
        .route("/orgs/{org}/products/{product}/deployments/{deployment}", put().to(deployments::api::update))
        .route("/orgs/{org}/products/{product}/deployments/{deployment}", patch().to(deployments::api::update))
        .route("/orgs/{org}/products/{product}/deployments/{deployment}", delete().to(deployments::api::delete));
}

/// One device, by its long or its short path.
fn api_of_device(routes: &mut ServiceConfig) {
    routes
        .route("", get().to(devices::api::show))
        .route("", put().to(devices::api::update))
        .route("", patch().to(devices::api::update))
        .route("", delete().to(devices::api::delete))
        .route("/restore", post().to(devices::api::restore))
        .route("/destroy", post().to(devices::api::destroy))
        .route("/penalty", delete().to(devices::api::lift_penalty))
        .route("/updates", get().to(deployments::api::updates))
        .route("/shared_secrets", get().to(devices::api::secrets::of_device))
        .route("/shared_secrets", post().to(devices::api::secrets::create_of_device))
        .route(
            "/shared_secrets/{secret}",
            delete().to(devices::api::secrets::delete_of_device),
        )
        .route(
            "/{command:identify|reboot|reconnect}",
            post().to(devices::api::commands::ask),
        )
        .route("/move", post().to(devices::api::moves::create))
        .route("/links", get().to(devices::api::links::index))
        .route("/network_identities", get().to(devices::api::identities::index))
        .route("/certificates", get().to(devices::api::certificates::index))
        .route("/certificates", post().to(devices::api::certificates::create))
        .route("/certificates/{serial}", get().to(devices::api::certificates::show))
        .route(
            "/certificates/{serial}",
            delete().to(devices::api::certificates::delete),
        );
}

/// The dashboard. A form's page and what it sends to have the same URL wherever they can.
fn pages(routes: &mut ServiceConfig) {
    routes
        // accounts
        .route("/sign-in", get().to(accounts::pages::new))
        .route("/sign-in", post().to(accounts::pages::create))
        .route("/sign-out", post().to(accounts::pages::delete))
        .route("/theme", post().to(accounts::pages::theme))
        .route("/live", get().to(accounts::pages::live))
        // an org's settings
        .route("/org/{org}/settings/keys", get().to(keys::pages::index))
        .route("/org/{org}/settings/keys", post().to(keys::pages::create))
        .route("/org/{org}/settings/keys/{key}/delete", get().to(keys::pages::confirm))
        .route("/org/{org}/settings/keys/{key}/delete", post().to(keys::pages::delete))
        .route("/org/{org}/settings/authorities", get().to(ca::pages::index))
        .route("/org/{org}/settings/authorities", post().to(ca::pages::create))
        .route("/org/{org}/settings/authorities/{serial}/renewal", post().to(ca::pages::renewal))
        .route("/org/{org}/settings/authorities/{serial}/delete", get().to(ca::pages::confirm))
        .route("/org/{org}/settings/authorities/{serial}/delete", post().to(ca::pages::delete))
        // products
        .route("/", get().to(products::pages::index))
        .route("/", post().to(products::pages::create))
        .route("/org/{org}/{product}", get().to(products::pages::show))
        .route("/org/{org}/{product}/settings", get().to(products::pages::settings))
        .route("/org/{org}/{product}/settings", post().to(products::pages::change_settings))
        .service(web::scope("/org/{org}/{product}").configure(product_pages));
}

/// The pages of one product.
fn product_pages(routes: &mut ServiceConfig) {
    use deployments::pages as groups;
    use devices::pages::{self as list, certificates, commands, edit, moves, secrets, show};
    routes
        // devices; a device may be called anything, so what is not a device stands beside them
        .route("/devices", get().to(list::index))
        .route("/devices", post().to(edit::create))
        .route("/new-device", get().to(edit::new))
        .route("/device-rows", get().to(list::rows))
        .route("/devices/{device}", get().to(show::show))
        .route("/devices/{device}/edit", get().to(edit::edit))
        .route("/devices/{device}/edit", post().to(edit::update))
        .route("/devices/{device}/move", get().to(moves::new))
        .route("/devices/{device}/move", post().to(moves::create))
        .route("/devices/{device}/delete", get().to(edit::confirm))
        .route("/devices/{device}/delete", post().to(edit::delete))
        .route("/devices/{device}/restore", post().to(show::restore))
        .route("/devices/{device}/unblock", post().to(show::unblock))
        .route("/devices/{device}/reboot", get().to(commands::confirm))
        .route("/devices/{device}/{command:identify|reboot|reconnect}", post().to(commands::create))
        .route("/commands", get().to(commands::index))
        .route("/commands", post().to(commands::create_all))
        .route("/devices/{device}/certificates", post().to(certificates::create))
        .route("/devices/{device}/certificates/{serial}/delete", post().to(certificates::delete))
        .route("/devices/{device}/secrets", get().to(secrets::index))
        .route("/devices/{device}/secrets", post().to(secrets::create))
        .route("/devices/{device}/secrets/{secret}/deactivate", get().to(secrets::confirm))
        .route("/devices/{device}/secrets/{secret}/deactivate", post().to(secrets::delete))
        .route("/secrets", get().to(secrets::index))
        .route("/secrets", post().to(secrets::create))
        .route("/secrets/{secret}/deactivate", get().to(secrets::confirm))
        .route("/secrets/{secret}/deactivate", post().to(secrets::delete))
        // firmware
        .route("/firmware", get().to(firmware::pages::index))
        .route("/firmware", post().to(firmware::pages::create))
        .route("/firmware/{firmware}", get().to(firmware::pages::show))
        .route("/firmware/{firmware}/delete", get().to(firmware::pages::confirm))
        .route("/firmware/{firmware}/delete", post().to(firmware::pages::delete))
        // archives
        .route("/archives", get().to(archives::pages::index))
        .route("/archives", post().to(archives::pages::create))
        .route("/archives/{archive}", get().to(archives::pages::show))
        .route("/archives/{archive}/delete", get().to(archives::pages::confirm))
        .route("/archives/{archive}/delete", post().to(archives::pages::delete))
        // deployments
        .route("/deployments", get().to(groups::index))
        .route("/deployments", post().to(groups::edit::create))
        .route("/new-deployment", get().to(groups::edit::new))
        .route("/deployments/{deployment}", get().to(groups::show))
        .route("/deployments/{deployment}/start", post().to(groups::start))
        .route("/deployments/{deployment}/stop", post().to(groups::stop))
        .route("/deployments/{deployment}/edit", get().to(groups::edit::edit))
        .route("/deployments/{deployment}/edit", post().to(groups::edit::update))
        .route("/deployments/{deployment}/release", get().to(groups::release::new))
        .route("/deployments/{deployment}/release", post().to(groups::release::create))
        .route("/deployments/{deployment}/delete", get().to(groups::edit::confirm))
        .route("/deployments/{deployment}/delete", post().to(groups::edit::delete));
}

/// What is answered for every other path: whoever asks learns nothing of what is there.
async fn nothing() -> Result<String, Error> {
    Err(Error::NotFound)
}
