//! What the pages of signing keys show.

use askama::Template;

use super::model::SigningKey;
use crate::web::forms::Wrong;
use crate::web::page::{Frame, path};

/// The org's keys, and the form of a new one.
#[derive(Template)]
#[template(path = "keys/index.html")]
pub(super) struct IndexPage {
    pub frame: Frame,
    pub keys: Vec<SigningKey>,
    pub may_change: bool,
    pub wrong: Wrong,
    pub name: String,
    pub key: String,
}

impl IndexPage {
    fn delete_url(&self, key: &SigningKey) -> String {
        self.frame
            .org_url(&format!("/settings/keys{}/delete", path(&[&key.name])))
    }
}

/// Asks before a key is deleted.
#[derive(Template)]
#[template(path = "keys/delete.html")]
pub(super) struct DeletePage {
    pub frame: Frame,
    pub key: SigningKey,
    pub url: String,
    pub wrong: Wrong,
}
