//! What the pages of accounts show.

use askama::Template;

use crate::web::page::Frame;

/// Asks who is there.
#[derive(Template)]
#[template(path = "accounts/sign_in.html")]
pub(super) struct SignInPage {
    pub frame: Frame,
    pub email: String,
    pub next: String,
    pub refused: Option<String>,
}
