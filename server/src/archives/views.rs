//! What the pages of archives show.

use askama::Template;

use super::model::Archive;
use crate::web::forms::Wrong;
use crate::web::page::{Frame, path};
use crate::web::words;

/// An archive, with who hands it out.
pub(super) struct Row {
    pub archive: Archive,
    pub url: String,
    /// Deployments whose current release has it, by name.
    pub groups: Vec<String>,
}

impl Row {
    pub(super) fn size(&self) -> String {
        words::size(self.archive.size_bytes as i64)
    }
}

/// The product's archives, and where more are dropped.
#[derive(Template)]
#[template(path = "archives/index.html")]
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

    fn upload_command(&self) -> String {
        let url = path(&[
            "api",
            "orgs",
            self.frame.org_name(),
            "products",
            self.frame.product_name(),
            "archives",
        ]);
        format!(
            "curl -F archive=@models.fw -H \"Authorization: token $MUSTER_TOKEN\" \\\n  '{}{url}'",
            self.public_url.trim_end_matches('/')
        )
    }
}

/// One archive.
#[derive(Template)]
#[template(path = "archives/show.html")]
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
}

/// Asks before an archive is deleted.
#[derive(Template)]
#[template(path = "archives/delete.html")]
pub(super) struct DeletePage {
    pub frame: Frame,
    pub row: Row,
    pub wrong: Wrong,
}
