//! What the pages of firmware show.

use askama::Template;
use uuid::Uuid;

use super::model::Firmware;
use crate::web::forms::Wrong;
use crate::web::page::{Frame, path};
use crate::web::words;

/// Firmware, with who uses it.
pub(super) struct Row {
    pub firmware: Firmware,
    pub url: String,
    /// Devices that run it.
    pub devices: i64,
    /// Deployments whose current release it is, by name.
    pub groups: Vec<String>,
}

impl Row {
    pub(super) fn size(&self) -> String {
        words::size(self.firmware.size_bytes as i64)
    }

    pub(super) fn devices_text(&self) -> String {
        words::count(self.devices, "device", "devices")
    }
}

/// The product's firmware, and where more is dropped.
#[derive(Template)]
#[template(path = "firmware/index.html")]
pub(super) struct IndexPage {
    pub frame: Frame,
    pub rows: Vec<Row>,
    pub may_change: bool,
    pub refused: Option<String>,
    pub has_keys: bool,
    pub public_url: String,
}

impl IndexPage {
    fn group_url(&self, name: &str) -> String {
        format!("{}{}", self.frame.product_url("/deployments"), path(&[name]))
    }

    fn deploy_url(&self, uuid: &Uuid) -> String {
        self.frame.product_url(&format!("/new-deployment?firmware={uuid}"))
    }

    fn upload_command(&self) -> String {
        let product = self.frame.product.as_ref().map_or("", |product| product.name.as_str());
        let org = self.frame.org.as_deref().unwrap_or_default();
        let url = path(&["api", "orgs", org, "products", product, "firmwares"]);
        format!(
            "curl -F firmware=@kiosk.fw -H \"Authorization: token $MUSTER_TOKEN\" \\\n  '{}{url}'",
            self.public_url.trim_end_matches('/')
        )
    }
}

/// One firmware.
#[derive(Template)]
#[template(path = "firmware/show.html")]
pub(super) struct ShowPage {
    pub frame: Frame,
    pub row: Row,
    pub may_change: bool,
    pub download: Option<String>,
}

impl ShowPage {
    fn group_url(&self, name: &str) -> String {
        format!("{}{}", self.frame.product_url("/deployments"), path(&[name]))
    }

    fn deploy_url(&self) -> String {
        let uuid = self.row.firmware.uuid;
        self.frame.product_url(&format!("/new-deployment?firmware={uuid}"))
    }

    fn devices_url(&self) -> String {
        let version = path(&[&self.row.firmware.version]);
        self.frame
            .product_url(&format!("/devices?q=version%3A{}", version.trim_start_matches('/')))
    }
}

/// Asks before firmware is deleted.
#[derive(Template)]
#[template(path = "firmware/delete.html")]
pub(super) struct DeletePage {
    pub frame: Frame,
    pub row: Row,
    pub wrong: Wrong,
}
