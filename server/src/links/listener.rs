//! The upgrade: who it is is decided before the 101 is written (device-link §1.3).

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::socket;
use super::tls::PeerChain;
use crate::app::App;
use crate::ca::x509::Certificate;
use crate::devices::Refusal;
use muster_link::Encoding;

/// Says why an upgrade was refused, where no credential is involved.
const REASON_HEADER: &str = "nh-connection-error-reason";
/// What a device without any credential reads.
const NO_CREDENTIAL: &str = "no certificate pair or shared secrets connection settings were provided";
/// What a device reads while the server cannot look it up.
const UNAVAILABLE: &str = "the server cannot look devices up now; try again";

/// The serialisation that the device speaks.
#[derive(Debug, Deserialize)]
pub struct Query {
    vsn: Option<String>,
}

/// `GET /socket/websocket` and `/device-socket/websocket`.
///
/// # Errors
/// When the request is no upgrade.
pub async fn connect(
    app: web::Data<App>,
    request: HttpRequest,
    query: web::Query<Query>,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let Some(encoding) = query.vsn.as_deref().and_then(Encoding::of_vsn) else {
        return Ok(HttpResponse::Forbidden().finish());
    };
    let certificate = match presented(&request) {
        Ok(certificate) => certificate,
        Err(refusal) => return Ok(refuse(&app, refusal)),
    };
    match app.links.identities.who(certificate).await {
        Ok(peer) => {
            let address = request
                .peer_addr()
                .map(|address| address.ip().to_string())
                .unwrap_or_default();
            socket::start(&app.links, peer, address, encoding, &request, payload)
        }
        Err(refusal) => Ok(refuse(&app, refusal)),
    }
}

fn presented(request: &HttpRequest) -> Result<Certificate, Refusal> {
    let chain = request.conn_data::<PeerChain>().ok_or(Refusal::NoCertificate)?;
    let leaf = chain.0.first().ok_or(Refusal::NoCertificate)?;
    Certificate::from_der(leaf).map_err(|_| Refusal::Malformed)
}

fn refuse(app: &App, refusal: Refusal) -> HttpResponse {
    app.platform
        .metrics
        .links_refused
        .with_label_values(&[refusal.reason()])
        .inc();
    tracing::debug!(reason = refusal.reason(), "a device was refused");
    let (mut response, text) = match refusal {
        Refusal::NoCertificate => (HttpResponse::Unauthorized(), NO_CREDENTIAL),
        Refusal::Unavailable => (HttpResponse::ServiceUnavailable(), UNAVAILABLE),
        _ => {
            return HttpResponse::Unauthorized()
                .insert_header((header::CONNECTION, "close"))
                .finish();
        }
    };
    response
        .insert_header((REASON_HEADER, text))
        .insert_header((header::CONNECTION, "close"))
        .body(text)
}
