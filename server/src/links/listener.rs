//! The upgrade: who it is is decided before the 101 is written (device-link §1.3).

use std::sync::Arc;

use actix_http::ws;
#[cfg(feature = "upgrade-socket")]
use actix_web::HttpMessage as _;
use actix_web::http::uri::Authority;
use actix_web::http::{Method, Uri, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use muster_link::Encoding;
use muster_link::credential::{ALG_HEADER, Claim, KEY_HEADER, SIGNATURE_HEADER, TIME_HEADER};
use serde::Deserialize;

use super::gate::Gate;
use super::identities::Proof;
use super::link::{Admitted, Link};
use super::socket;
use super::tls::PeerChain;
use super::wire::Wire;
use crate::app::App;
use crate::ca::x509::Certificate;
use crate::devices::{Peer, Refusal};

/// Says why an upgrade was refused, where no credential is involved.
const REASON_HEADER: &str = "nh-connection-error-reason";
/// What a device without any credential reads.
const NO_CREDENTIAL: &str = "no certificate pair or shared secrets connection settings were provided";
/// What a device reads while the server cannot look it up.
const UNAVAILABLE: &str = "the server cannot look devices up now; try again";
/// The headers of a signature by a shared secret, in the order in which a claim is read.
const SIGNATURE_HEADERS: [&str; 4] = [ALG_HEADER, KEY_HEADER, TIME_HEADER, SIGNATURE_HEADER];

/// The serialisation that the device speaks.
#[derive(Debug, Deserialize)]
pub struct Query {
    vsn: Option<String>,
}

/// `/socket/websocket` and `/device-socket/websocket`. On the web listener nobody has shown a certificate, so there a
/// shared secret is the only way in.
///
/// # Errors
/// When the request is no upgrade.
pub async fn connect(
    app: web::Data<App>,
    request: HttpRequest,
    query: web::Query<Query>,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let wire = request.conn_data::<Arc<Wire>>().cloned().unwrap_or_default();
    match admit(&app, &request, &query, &wire).await {
        Ok(admitted) => {
            let (link, gate) = (Link::new(&app.links, admitted), Gate::new(app.links.unfinished.clone()));
            #[cfg(feature = "upgrade-socket")]
            if let Some(seat) = request.extensions().get::<super::upgrade::Seat>() {
                return Ok(seat.take(link, gate, request.head()));
            }
            socket::start(link, gate, &request, payload)
        }
        Err(refusal) => {
            wire.refuse();
            Ok(refusal)
        }
    }
}

/// Who is let in, or the last answer of the connection.
async fn admit(app: &App, request: &HttpRequest, query: &Query, wire: &Arc<Wire>) -> Result<Admitted, HttpResponse> {
    if request.method() != Method::GET {
        return Err(last(HttpResponse::BadRequest()).body("A device connects by GET."));
    }
    if let Err(error) = ws::verify_handshake(request.head()) {
        return Err(last(HttpResponse::BadRequest()).body(error.to_string()));
    }
    let encoding = query.vsn.as_deref().and_then(Encoding::of_vsn);
    let Some(encoding) = encoding.filter(|_| is_of_here(request)) else {
        return Err(last(HttpResponse::Forbidden()).finish());
    };
    let peer = who(app, request).await.map_err(|refusal| refuse(app, refusal))?;
    let address = request.peer_addr().map(|address| address.ip().to_string());
    Ok(Admitted {
        peer,
        address: address.unwrap_or_default(),
        encoding,
        wire: Arc::clone(wire),
    })
}

/// Browsers say where a page came from, and no other page has business here; devices say nothing.
fn is_of_here(request: &HttpRequest) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let connection = request.connection_info();
    origin.is_some_and(|origin| {
        let authority = origin.authority().map(Authority::as_str);
        authority == Some(connection.host())
    })
}

/// A certificate decides alone; only who shows none is asked for a signature.
async fn who(app: &App, request: &HttpRequest) -> Result<Peer, Refusal> {
    let leaf = request.conn_data::<PeerChain>().and_then(|chain| chain.0.first());
    let proof = match leaf {
        Some(leaf) => Proof::Certificate(Box::new(Certificate::from_der(leaf).map_err(|_| Refusal::Malformed)?)),
        None => Proof::Signature(Box::new(signature(app, request)?)),
    };
    app.links.identities.who(proof).await
}

/// What a device claims by its headers. A signature that is not of now is not looked up.
fn signature(app: &App, request: &HttpRequest) -> Result<Claim, Refusal> {
    let headers = SIGNATURE_HEADERS.map(|name| request.headers().get(name));
    if headers.iter().all(Option::is_none) {
        return Err(Refusal::NoCredential);
    }
    let [alg, key, time, signature] = headers.map(|value| value.and_then(|value| value.to_str().ok()).unwrap_or(""));
    let claim = Claim::read(alg, key, time, signature)?;
    claim.check_time(crate::devices::identity::now_ms(&app.platform))?;
    Ok(claim)
}

/// The connection ends with this answer, so that a device that was refused does not hold it.
fn last(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response.insert_header((header::CONNECTION, "close"));
    response
}

fn refuse(app: &App, refusal: Refusal) -> HttpResponse {
    app.platform
        .metrics
        .links_refused
        .with_label_values(&[refusal.reason()])
        .inc();
    tracing::debug!(reason = refusal.reason(), "a device was refused");
    let (response, text) = match refusal {
        Refusal::NoCredential => (HttpResponse::Unauthorized(), NO_CREDENTIAL),
        Refusal::Unavailable => (HttpResponse::ServiceUnavailable(), UNAVAILABLE),
        _ => return last(HttpResponse::Unauthorized()).finish(),
    };
    last(response).insert_header((REASON_HEADER, text)).body(text)
}
