//! What a handler answers when it does not succeed. This is the only table of statuses; causes are logged here, once, and
//! never reach a body.

use std::collections::BTreeMap;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Value, json};

/// What the API says of things that are not there, or not the caller's.
const NOT_FOUND: &str = "Resource Not Found or Authorization Insufficient";

/// Messages by field, as forms and the API show them.
pub type FieldErrors = BTreeMap<&'static str, Vec<String>>;

/// An unsuccessful answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// No valid token or session; the sentence says how to get one.
    #[error("{0}")]
    Unauthorized(String),
    /// A valid one, whose role is too low; the sentence names what is needed.
    #[error("{0}")]
    Forbidden(String),
    /// Not there, or another org's.
    #[error("{NOT_FOUND}")]
    NotFound,
    /// It stands in the way of something else.
    #[error("{0}")]
    Conflict(String),
    /// It is in use: the field names by what.
    #[error("in use")]
    InUse(FieldErrors),
    /// Understood and refused, in one sentence.
    #[error("{0}")]
    Refused(String),
    /// Understood and refused, field by field.
    #[error("invalid fields")]
    Invalid(FieldErrors),
    /// Understood and refused, fields of a part: the part's name, then its fields.
    #[error("invalid fields")]
    InvalidIn(&'static str, FieldErrors),
    /// Asked too often.
    #[error("{0}")]
    TooMany(String),
    /// Larger than is taken.
    #[error("{0}")]
    TooLarge(String),
    /// Something of ours failed.
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

impl Error {
    /// One invalid field.
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(BTreeMap::from([(field, vec![message.into()])]))
    }

    /// One invalid field of a part, such as `conditions`.
    pub fn invalid_in(part: &'static str, field: &'static str, message: impl Into<String>) -> Self {
        Self::InvalidIn(part, BTreeMap::from([(field, vec![message.into()])]))
    }

    /// 401 for a request without a valid token.
    pub fn unauthenticated() -> Self {
        Self::Unauthorized(NOT_FOUND.to_owned())
    }

    /// The sentence that a person reads.
    pub fn sentence(&self) -> String {
        match self {
            Self::Internal(_) => {
                "Something failed on our side. Try again; if it stays, look in the server's log for the request id."
                    .to_owned()
            }
            Self::NotFound => "There is nothing here, or it belongs to an org that you are not a member of.".to_owned(),
            Self::InUse(fields) | Self::Invalid(fields) | Self::InvalidIn(_, fields) => {
                let sentences: Vec<String> = fields
                    .iter()
                    .map(|(field, messages)| format!("{field} {}", messages.join(", ")))
                    .collect();
                sentences.join("; ")
            }
            other => other.to_string(),
        }
    }

    fn body(&self) -> Value {
        match self {
            Self::InUse(fields) | Self::Invalid(fields) => json!({ "errors": fields }),
            Self::InvalidIn(part, fields) => json!({ "errors": { *part: fields } }),
            Self::Internal(_) => {
                json!({ "errors": { "detail": "Something failed on our side; the server's log has it under the request id." } })
            }
            other => json!({ "errors": { "detail": other.to_string() } }),
        }
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict(_) | Self::InUse(_) => StatusCode::CONFLICT,
            Self::Refused(_) | Self::Invalid(_) | Self::InvalidIn(..) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::Internal(cause) = self {
            tracing::error!(error = format!("{cause:#}"), "a request failed");
        }
        HttpResponse::build(self.status_code())
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(self.body())
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

/// Absence as 404.
pub trait OrNotFound<T> {
    /// The value, or [`Error::NotFound`].
    ///
    /// # Errors
    /// [`Error::NotFound`] for `None`.
    fn or_404(self) -> Result<T, Error>;
}

impl<T> OrNotFound<T> for Option<T> {
    fn or_404(self) -> Result<T, Error> {
        self.ok_or(Error::NotFound)
    }
}
