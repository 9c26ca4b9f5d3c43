//! The frame of a product's pages, and the pages of products themselves.

use actix_web::HttpRequest;
use askama::Template;
use muster_link::{Extension, ExtensionSet};

use super::extensions::SWITCHED;
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

/// An extension with its switch.
#[derive(Debug)]
pub struct Switch {
    /// Its name in the API.
    pub name: &'static str,
    /// What people call it.
    pub label: &'static str,
    /// What it does.
    pub sentence: &'static str,
    /// Whether it is on.
    pub on: bool,
    /// Whether it cannot be switched here.
    pub is_locked: bool,
}

/// The switches of extensions, of which these are on and only those of `free` can be switched.
pub fn switches(on: ExtensionSet, free: ExtensionSet) -> Vec<Switch> {
    let switch = |extension: Extension| {
        let (label, sentence) = words_of(extension);
        Switch {
            name: extension.name(),
            label,
            sentence,
            on: on.has(extension),
            is_locked: !free.has(extension),
        }
    };
    SWITCHED.into_iter().map(switch).collect()
}

fn words_of(extension: Extension) -> (&'static str, &'static str) {
    match extension {
        Extension::Health => (
            "Health",
            "Devices report load, memory, disk and temperature, and the alarms that are raised on them.",
        ),
        Extension::Geo => ("Location", "Devices say where they are."),
        Extension::Logging => (
            "Log lines",
            "Devices send what they log: at most 5 lines a second each, kept for 3 days.",
        ),
        Extension::NetworkIdentity => (
            "Network identities",
            "Devices tell the keys by which they are reached in overlay networks: iroh, NetBird, Tailscale, WireGuard.",
        ),
        Extension::LocalShell => (
            "System shell",
            "Each device opens a shell of its system to this server for as long as it is connected.",
        ),
        Extension::Renewal => ("Renewal", "Certificates are renewed over the link."),
    }
}

/// A product's settings.
#[derive(Template)]
#[template(path = "products/settings.html")]
pub(super) struct SettingsPage {
    pub frame: Frame,
    pub url: String,
    pub switches: Vec<Switch>,
    pub may_change: bool,
    pub is_saved: bool,
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
