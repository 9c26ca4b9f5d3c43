//! The frame of a product's pages, and the pages of products themselves.

use actix_web::HttpRequest;
use askama::Template;

use super::model::Product;
use crate::accounts::Org;
use crate::web::forms::Wrong;
use crate::web::page::{Frame, Section, path};
use crate::web::words;

/// The frame of an org's page.
pub fn org_frame(request: &HttpRequest, org: &Org, section: Section, title: &str) -> Frame {
    Frame::new(request, title)
        .seen_by(org.actor().name(), org.role().name())
        .of_org(org.name())
        .within(section)
        .under(org.name(), "/".to_owned())
}

/// The frame of a product's page.
pub fn frame(request: &HttpRequest, product: &Product, section: Section, title: &str) -> Frame {
    let url = path(&["org", product.org().name(), product.name(), "devices"]);
    org_frame(request, product.org(), section, title)
        .of_product(product.name(), product.id().0)
        .under(product.name(), url)
}

/// An org with its products.
pub(super) struct Shelf {
    pub org: Org,
    pub products: Vec<Card>,
    pub may_create: bool,
}

/// A product with its figures.
pub(super) struct Card {
    pub product: Product,
    pub devices: i64,
    pub online: i64,
}

impl Card {
    /// Where its devices are.
    pub(super) fn url(&self) -> String {
        path(&["org", self.product.org().name(), self.product.name(), "devices"])
    }

    pub(super) fn devices_text(&self) -> String {
        words::count(self.devices, "device", "devices")
    }

    pub(super) fn online_text(&self) -> String {
        format!("{} online", words::number(self.online))
    }
}

/// Every product of the viewer.
#[derive(Template)]
#[template(path = "products/index.html")]
pub(super) struct IndexPage {
    pub frame: Frame,
    pub shelves: Vec<Shelf>,
    pub wrong: Wrong,
    /// The form that was filled in wrongly: which org, and what.
    pub org: String,
    pub name: String,
}
