//! What the pages of every kind of packages have in common: where an archive is dropped.

use actix_multipart::Multipart;
use actix_web::HttpRequest;

use super::Kind;
use super::receive::receive;
use crate::app::App;
use crate::products::Product;
use crate::web::{Error, csrf};

/// The token of a form that is not read before its file is.
#[derive(Debug, serde::Deserialize)]
pub struct Token {
    csrf: Option<String>,
}

/// Takes an archive, while it streams; gives the sentence of its refusal, where it was refused.
///
/// # Errors
/// When the form is not ours, the role is too low, or the server failed.
pub async fn take<K: Kind>(
    request: &HttpRequest,
    app: &App,
    product: &Product,
    token: &Token,
    form: Multipart,
) -> Result<Option<String>, Error> {
    let header = request
        .headers()
        .get(csrf::HEADER)
        .and_then(|value| value.to_str().ok());
    csrf::check(request, header.or(token.csrf.as_deref()))?;
    match receive::<K>(&app.platform, product, form).await.map_err(Error::from) {
        Ok(_) => Ok(None),
        Err(Error::Invalid(fields)) => Ok(Some(Error::Invalid(fields).sentence())),
        Err(Error::Refused(sentence) | Error::TooLarge(sentence) | Error::BadRequest(sentence)) => Ok(Some(sentence)),
        Err(error) => Err(error),
    }
}
