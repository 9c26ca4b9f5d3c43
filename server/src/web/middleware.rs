//! What is done for every request: an id that the log and the error page share, figures, and headers that no page may miss.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, web};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::app::App;
use crate::platform::ids;

/// The header of the id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Headers that an answer has unless it says otherwise.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    ),
    (
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("x-frame-options"),
        HeaderValue::from_static("DENY"),
    ),
];

/// The id of a request, among its extensions.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(pub Uuid);

/// Gives the request its id and span, counts it, and completes the answer's headers.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let app = request.app_data::<web::Data<App>>().cloned();
    let Some(app) = app else {
        return next.call(request).await;
    };
    let platform = &app.platform;
    let id = ids::new_uuid(&platform.clock, &platform.random);
    request.extensions_mut().insert(RequestId(id));
    let span =
        tracing::info_span!("request", request.id = %id, http.method = %request.method(), http.path = request.path());
    let timer = platform.metrics.http_seconds.start_timer();
    let result = next.call(request).instrument(span.clone()).await;
    let seconds = timer.stop_and_record();
    let status = match &result {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let class = format!("{}xx", status.as_u16() / 100);
    platform
        .metrics
        .http_requests
        .with_label_values(&[class.as_str()])
        .inc();
    span.in_scope(|| {
        tracing::debug!(
            http.status = status.as_u16(),
            duration_ms = seconds * 1000.0,
            "answered"
        );
    });
    let mut response = result?;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, value);
    }
    Ok(response)
}
