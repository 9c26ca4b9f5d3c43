//! What the REST API's answers have in common: the envelope, `Location`, times, and the shims for its oldest client.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::Error;
use super::coerce::Number;

/// The user agent of the command-line client whose deletes want a body.
const OLD_CLIENT: &str = "mint/";
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const NAIVE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
const ZULU: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const SPACED: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6]Z");

/// 200 with `{"data": …}`.
pub fn data(value: impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({ "data": value }))
}

/// 201 with `{"data": …}` and where it now is: the segments below `/api`.
pub fn created(segments: &[&str], value: impl Serialize) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((header::LOCATION, location(segments)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({ "data": value }))
}

/// A PEM file, which clients send as base64.
///
/// # Errors
/// 422 for the field when it is neither.
pub fn pem(field: &'static str, text: &str) -> Result<String, Error> {
    if text.trim_start().starts_with("-----BEGIN") {
        return Ok(text.to_owned());
    }
    let packed: String = text.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(packed).ok();
    let pem = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    pem.ok_or_else(|| Error::invalid(field, "must be the base64 of a PEM file"))
}

/// 204.
pub fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// 204; the old client, which takes an empty body for a failure, gets 200 with `""`.
pub fn deleted(request: &HttpRequest) -> HttpResponse {
    if is_old_client(request) {
        return HttpResponse::Ok().json("");
    }
    no_content()
}

/// One page of a list with its `pagination`.
pub fn page(rows: &[impl Serialize], paging: Paging, total: u64) -> HttpResponse {
    let size = u64::from(paging.size);
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({
            "data": rows,
            "pagination": {
                "page_number": paging.number,
                "page_size": paging.size,
                "total_entries": total,
                "total_pages": total.div_ceil(size.max(1)).max(1),
            }
        }))
}

/// Which page a query asks for, as `pagination[page]` and `pagination[page_size]`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct PageQuery {
    page: Option<Number>,
    page_size: Option<Number>,
}

impl PageQuery {
    /// The page, of `size` rows unless the query says otherwise.
    ///
    /// # Errors
    /// 400 as for [`Paging::new`].
    pub fn paging(self, size: u32) -> Result<Paging, Error> {
        let number = |asked: Option<Number>, default: u32| {
            asked.map_or(default, |number| u32::try_from(number.0).unwrap_or_default())
        };
        Paging::new(number(self.page, 1), number(self.page_size, size))
    }
}

/// Whether the oldest client asks, which shows only what one answer holds.
pub fn is_old_client(request: &HttpRequest) -> bool {
    let agent = request.headers().get(header::USER_AGENT);
    agent.is_some_and(|agent| agent.as_bytes().starts_with(OLD_CLIENT.as_bytes()))
}

/// Which page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// From 1.
    pub number: u32,
    /// Rows of a page.
    pub size: u32,
}

impl Paging {
    /// Rows of a page, at most.
    pub const MAX_SIZE: u32 = 1000;
    /// Pages are numbered up to this row; who wants more filters.
    pub const MAX_ROW: u64 = 10_000;

    /// Page `number` of `size` rows.
    ///
    /// # Errors
    /// 400 for page 0, for empty pages, and beyond [`Paging::MAX_ROW`].
    pub fn new(number: u32, size: u32) -> Result<Self, Error> {
        let size = size.min(Self::MAX_SIZE);
        if number == 0 || size == 0 {
            return Err(Error::BadRequest(
                "pagination: page and page_size begin at 1".to_owned(),
            ));
        }
        let paging = Self { number, size };
        if paging.offset() >= Self::MAX_ROW {
            return Err(Error::BadRequest(format!(
                "pagination: pages reach up to row {}; narrow the list by a filter",
                Self::MAX_ROW
            )));
        }
        Ok(paging)
    }

    /// Rows before this page.
    pub fn offset(self) -> u64 {
        u64::from(self.number - 1) * u64::from(self.size)
    }
}

/// The path of a thing below `/api`, each segment escaped.
pub fn location(segments: &[&str]) -> String {
    let mut path = String::from("/api");
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment, SEGMENT));
    }
    path
}

/// `2026-08-20T10:11:12`, as `inserted_at` is written.
pub fn naive(at: OffsetDateTime) -> String {
    written(at, NAIVE)
}

/// `2026-08-20T10:11:12Z`.
pub fn zulu(at: OffsetDateTime) -> String {
    written(at, ZULU)
}

/// `2026-08-20 10:11:12.123456Z`, as `last_communication` is written.
pub fn spaced(at: OffsetDateTime) -> String {
    written(at, SPACED)
}

fn written(at: OffsetDateTime, format: &[BorrowedFormatItem<'_>]) -> String {
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn locations_escape_their_segments() {
        assert_eq!(
            location(&["orgs", "acme", "products", "smart kiosk/é"]),
            "/api/orgs/acme/products/smart%20kiosk%2F%C3%A9"
        );
    }

    #[test]
    fn times_are_written_in_the_three_forms() {
        let at = datetime!(2026-08-20 12:11:12.123456 +2);
        assert_eq!(naive(at), "2026-08-20T10:11:12");
        assert_eq!(zulu(at), "2026-08-20T10:11:12Z");
        assert_eq!(spaced(at), "2026-08-20 10:11:12.123456Z");
    }

    #[test]
    fn only_the_old_client_gets_a_body_for_a_delete() {
        let old = TestRequest::delete()
            .insert_header((header::USER_AGENT, "mint/1.7.1"))
            .to_http_request();
        assert_eq!(deleted(&old).status(), 200);
        assert_eq!(deleted(&TestRequest::delete().to_http_request()).status(), 204);
    }

    #[test]
    fn pages_begin_at_one_and_end_at_the_last_row() {
        assert_eq!(Paging::new(3, 25).unwrap().offset(), 50);
        assert_eq!(Paging::new(1, 5000).unwrap().size, 1000);
        assert!(Paging::new(0, 10).is_err() && Paging::new(1, 0).is_err() && Paging::new(1001, 10).is_err());
    }
}
