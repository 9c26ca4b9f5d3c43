//! What the pages of CA certificates show.

use askama::Template;
use time::OffsetDateTime;

use super::model::Ca;
use crate::web::forms::Wrong;
use crate::web::page::Frame;

/// The org's CAs, and the form of a new one.
#[derive(Template)]
#[template(path = "ca/index.html")]
pub(super) struct IndexPage {
    pub frame: Frame,
    pub authorities: Vec<Ca>,
    pub may_change: bool,
    pub now: OffsetDateTime,
    pub wrong: Wrong,
    pub token: String,
    pub certificate: String,
    pub verification: String,
    pub description: String,
}

impl IndexPage {
    fn delete_url(&self, ca: &Ca) -> String {
        self.frame
            .org_url(&format!("/settings/authorities/{}/delete", ca.serial))
    }

    fn renewal_url(&self, ca: &Ca) -> String {
        self.frame
            .org_url(&format!("/settings/authorities/{}/renewal", ca.serial))
    }

    /// What makes the proof of possession.
    fn proof_command(&self) -> String {
        format!(
            "openssl req -new -newkey ed25519 -nodes -keyout /dev/null -subj /CN=verification \\\n  \
             | openssl x509 -req -CA ca.pem -CAkey ca-key.pem -days 1 -out verification.pem \\\n  \
             -extfile <(echo 'subjectAltName=URI:{}{}')",
            super::model::VERIFICATION_URI,
            self.token
        )
    }
}

/// Asks before a CA is removed.
#[derive(Template)]
#[template(path = "ca/delete.html")]
pub(super) struct DeletePage {
    pub frame: Frame,
    pub ca: Ca,
    pub url: String,
    pub wrong: Wrong,
}
