//! A form of another site must not act for a viewer. Two locks: what browsers say of where a request comes from, and a
//! token in each form that only a page of ours can know, since it is derived from the session's secret.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::{Error, session};
use crate::platform::random::Random;

/// The header of requests that scripts make.
pub const HEADER: &str = "x-csrf-token";
/// The field of forms.
pub const FIELD: &str = "csrf";

const LEN: usize = 32;

/// The token for this request's session, masked anew for each page, so that compression tells nothing of it.
/// Empty without a session.
pub fn token(request: &HttpRequest) -> String {
    let Some(secret) = session::secret(request) else {
        return String::new();
    };
    let mask: [u8; LEN] = Random::system().bytes();
    let mut bytes = mask.to_vec();
    bytes.extend(digest(&secret).iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Checks a token that came with a form or a header. Without a session there is nothing to forge.
///
/// # Errors
/// [`Error::Forbidden`] when it is not this session's.
pub fn check(request: &HttpRequest, given: Option<&str>) -> Result<(), Error> {
    let Some(secret) = session::secret(request) else {
        return Ok(());
    };
    let bytes = given
        .and_then(|given| URL_SAFE_NO_PAD.decode(given).ok())
        .unwrap_or_default();
    let right = bytes.len() == 2 * LEN && {
        let (mask, masked) = bytes.split_at(LEN);
        let unmasked: Vec<u8> = mask.iter().zip(masked).map(|(mask, byte)| mask ^ byte).collect();
        bool::from(unmasked.ct_eq(&digest(&secret)))
    };
    if right {
        return Ok(());
    }
    Err(Error::Forbidden(
        "This form was made for another session. Go back, reload the page and send it again.".to_owned(),
    ))
}

fn digest(secret: &str) -> [u8; LEN] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut digest = [0; LEN];
    digest.copy_from_slice(hmac::sign(&key, b"muster form").as_ref());
    digest
}

/// Refuses what a browser says comes from another site, before anything else is looked at.
///
/// # Errors
/// None of its own.
pub async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if !request.method().is_safe() && is_foreign(request.request()) {
        let error = Error::Forbidden("This request comes from another site.".to_owned());
        return Ok(request.into_response(HttpResponse::from_error(error)));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

fn is_foreign(request: &HttpRequest) -> bool {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match (text("origin"), text(header::HOST.as_str())) {
        (Some(origin), Some(host)) => origin.split_once("://").map(|(_, host)| host) != Some(host),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::cookie::Cookie;
    use actix_web::test::TestRequest;

    use super::{check, is_foreign, token};

    fn of(session: &str) -> actix_web::HttpRequest {
        TestRequest::post()
            .cookie(Cookie::new(super::session::COOKIE, session.to_owned()))
            .to_http_request()
    }

    #[test]
    fn a_token_is_good_for_its_own_session_only_and_differs_each_time() {
        let (first, second) = (token(&of("a")), token(&of("a")));
        assert_ne!(first, second);
        assert!(check(&of("a"), Some(&first)).is_ok());
        assert!(check(&of("a"), Some(&second)).is_ok());
        assert!(check(&of("b"), Some(&first)).is_err());
        assert!(check(&of("a"), Some("")).is_err());
        assert!(check(&of("a"), None).is_err());
    }

    #[test]
    fn what_another_site_sends_is_foreign() {
        let request = |name: &'static str, value: &str| {
            TestRequest::post()
                .insert_header(("host", "localhost:4000"))
                .insert_header((name, value))
                .to_http_request()
        };
        assert!(!is_foreign(&request("sec-fetch-site", "same-origin")));
        assert!(is_foreign(&request("sec-fetch-site", "cross-site")));
        assert!(is_foreign(&request("sec-fetch-site", "same-site")));
        assert!(!is_foreign(&request("origin", "http://localhost:4000")));
        assert!(is_foreign(&request("origin", "http://evil.example")));
        assert!(is_foreign(&request("origin", "null")));
    }
}
