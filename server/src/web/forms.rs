//! Forms: taken with their token checked, and shown again with what was wrong beside each field.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use super::{Error, FieldErrors, csrf};

/// What a form may send at most: a certificate of a few kB and its fields.
const MAX_BYTES: usize = 128 * 1024;

/// A form that a page of ours sent.
#[derive(Debug)]
pub struct Form<T>(pub T);

/// A name that is typed again before its thing is deleted.
#[derive(Debug, serde::Deserialize)]
pub struct Confirmed {
    confirm: String,
}

impl Confirmed {
    /// Whether it is this name; spaces around it do not count.
    pub fn is(&self, name: &str) -> bool {
        self.confirm.trim() == name
    }
}

#[derive(Debug, serde::Deserialize)]
struct Token {
    csrf: Option<String>,
}

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let body = web::Payload::from_request(&request, &mut { payload })
                .await
                .map_err(unreadable)?
                .to_bytes_limited(MAX_BYTES)
                .await
                .map_err(|_| Error::TooLarge(format!("A form may have {MAX_BYTES} bytes at most.")))?
                .map_err(unreadable)?;
            let text = std::str::from_utf8(&body).map_err(unreadable)?;
            let token = web::Query::<Token>::from_query(text).map_err(unreadable)?;
            let header = request
                .headers()
                .get(csrf::HEADER)
                .and_then(|value| value.to_str().ok());
            csrf::check(&request, token.csrf.as_deref().or(header))?;
            let fields = web::Query::<T>::from_query(text).map_err(unreadable)?;
            Ok(Self(fields.into_inner()))
        })
    }
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    tracing::debug!(%error, "a form could not be read");
    Error::BadRequest("The form could not be read. Reload the page and send it again.".to_owned())
}

/// What was wrong with a form, for its template.
#[derive(Debug, Clone, Default)]
pub struct Wrong(FieldErrors);

impl Wrong {
    /// Nothing was.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// The first sentence for this field, if it was wrong.
    pub fn of(&self, field: &str) -> Option<String> {
        let message = self.0.get(field)?.first()?;
        Some(sentence(message))
    }

    /// What belongs to none of the form's own `fields`.
    pub fn beside(&self, fields: impl AsRef<[&'static str]>) -> Vec<String> {
        self.0
            .iter()
            .filter(|(field, _)| !fields.as_ref().contains(field))
            .flat_map(|(field, messages)| messages.iter().map(move |message| (field, message)))
            .map(|(field, message)| match *field {
                "" => sentence(message),
                field => sentence(&format!("{} {message}", field.replace('_', " "))),
            })
            .collect()
    }
}

/// `has already been taken` → `Has already been taken.`
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    let text = first.unwrap_or_default() + letters.as_str();
    if text.ends_with(['.', '!', '?']) {
        text
    } else {
        text + "."
    }
}

/// Takes a refusal apart: what the form can show beside its fields, and what must be answered otherwise.
///
/// # Errors
/// Every error that is not about what was filled in.
pub fn wrong(error: Error) -> Result<Wrong, Error> {
    match error {
        Error::Invalid(fields) | Error::InUse(fields) => Ok(Wrong(fields)),
        Error::Refused(sentence) | Error::Conflict(sentence) | Error::BadRequest(sentence) => {
            Ok(Wrong(FieldErrors::from([("", vec![sentence])])))
        }
        other => Err(other),
    }
}

/// `a, b c` → `["a", "b", "c"]`: tags as a person types them.
pub fn split_words(text: &str) -> Vec<String> {
    text.split([',', ' ', '\n', '\t'])
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Error, FieldErrors, split_words, wrong};

    #[test]
    fn what_was_wrong_stands_beside_its_field() {
        let wrong = wrong(Error::Invalid(FieldErrors::from([
            ("name", vec!["has already been taken".to_owned()]),
            ("product_name", vec!["is unknown".to_owned()]),
        ])))
        .unwrap();
        assert_eq!(wrong.of("name").unwrap(), "Has already been taken.");
        assert_eq!(wrong.of("tags"), None);
        assert_eq!(wrong.beside(["name"]), ["Product name is unknown."]);
    }

    #[test]
    fn tags_are_split_as_they_are_typed() {
        assert_eq!(split_words("beta, floor-1  eu"), ["beta", "floor-1", "eu"]);
        assert!(split_words(" ,").is_empty());
    }
}
