//! Opening the link: TCP, TLS with the device's certificate, the websocket upgrade.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use muster_link::credential::{CredentialError, Signed};
use muster_link::limits::MESSAGE_MAX;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::backoff::Why;
use crate::USER_AGENT;
use crate::clock::{self, Now};
use crate::identity::Identity;
use crate::identity::secret::SharedSecret;
use crate::identity::time::TrustedTime;
use crate::net::{self, Stream};

/// The upgrade must be answered within this.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(20);
/// More redirects in a row than this are not followed.
const REDIRECTS_MAX: u32 = 2;
/// An idle link should cost little.
const BUFFER_BYTES: usize = 4 * 1024;
/// hyper's smallest.
const UPGRADE_BUFFER_BYTES: usize = 8 * 1024;
/// A clock that is further off than this is worth a warning: certificates and URLs expire by it.
const SKEW_MAX: Duration = Duration::from_mins(1);

/// An open link's connection.
pub(super) type Socket = WebSocketStream<Stream>;

/// A link that has just been opened.
pub(super) struct Opened {
    pub socket: Socket,
    /// The device's own address on it.
    pub local: Option<IpAddr>,
    /// The file of the certificate that was shown.
    pub cert: Option<Arc<Path>>,
}

/// Why the link did not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// No connection, or one that broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server speaks something else.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The server answered too late.
    #[error("the upgrade was not answered in time")]
    TimedOut,
    /// The server said no.
    #[error("the server answered {status}{}", if reason.is_empty() { String::new() } else { format!(": {reason}") })]
    Refused {
        /// Its answer.
        status: StatusCode,
        /// Its reason, if it gave one.
        reason: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The shared secret does not sign.
    #[error("{0}")]
    Unsigned(#[from] CredentialError),
    /// The server's answer makes no sense.
    #[error("{0}")]
    Nonsense(&'static str),
}

impl DialError {
    /// What the next attempt has to wait for.
    pub(super) fn why(&self) -> Why {
        match self {
            Self::Refused {
                retry_after: Some(asked),
                ..
            } => Why::Asked(*asked),
            Self::Io(cause) if net::is_network_missing(cause) => Why::NoNetwork,
            Self::Io(_)
            | Self::Http(_)
            | Self::TimedOut
            | Self::Nonsense(_)
            | Self::Unsigned(_)
            | Self::Refused { .. } => Why::Failed,
        }
    }
}

/// Dials, following redirects; signs each request at the moment that it is sent.
pub(super) async fn dial(url: &Uri, identity: &Identity) -> Result<Opened, DialError> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS_MAX {
        let tls = identity.link();
        let stream = net::connect(&url, tls.config).await?;
        let local = stream.local_addr().ok().map(|local| local.ip());
        let key = generate_key();
        let signed = sign(identity)?;
        let response = tokio::time::timeout(UPGRADE_TIMEOUT, upgrade(stream, &url, &key, signed.as_ref()))
            .await
            .map_err(|_| DialError::TimedOut)??;
        note_date(response.headers(), &identity.time, clock::now());
        if response.status().is_redirection() {
            let location = response
                .headers()
                .get(header::LOCATION)
                .and_then(|value| value.to_str().ok());
            url = location
                .and_then(|location| net::url::resolve_upgrade(&url, location))
                .ok_or(DialError::Nonsense(
                    "the server redirects to nowhere that can be dialled",
                ))?;
            tracing::info!(server.url = %url, "link redirected");
            continue;
        }
        return Ok(Opened {
            socket: open(response, &key).await?,
            local,
            cert: tls.cert,
        });
    }
    Err(DialError::Nonsense("the server redirects in circles"))
}

fn sign(identity: &Identity) -> Result<Option<Signed>, DialError> {
    let time = identity.time.to_sign(clock::now());
    let sign = |secret: &SharedSecret| secret.sign(&identity.identifier, time);
    Ok(identity.secret.as_ref().map(sign).transpose()?)
}

async fn upgrade(
    stream: Stream,
    url: &Uri,
    key: &str,
    signed: Option<&Signed>,
) -> Result<Response<hyper::body::Incoming>, DialError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(UPGRADE_BUFFER_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection.with_upgrades());
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "upgrade")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key);
    for (name, value) in signed.iter().flat_map(|signed| signed.headers()) {
        request = request.header(name, value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|_| DialError::Nonsense("the URL cannot be asked for"))?;
    Ok(sender.send_request(request).await?)
}

async fn open(response: Response<hyper::body::Incoming>, key: &str) -> Result<Socket, DialError> {
    let headers = response.headers();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let reason = headers
            .get("nh-connection-error-reason")
            .and_then(|value| value.to_str().ok());
        return Err(DialError::Refused {
            status: response.status(),
            reason: reason.unwrap_or_default().to_owned(),
            retry_after: net::retry_after(headers, clock::wall()),
        });
    }
    let accepted = headers
        .get(header::SEC_WEBSOCKET_ACCEPT)
        .map(header::HeaderValue::as_bytes);
    if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(DialError::Nonsense("the server did not accept our websocket key"));
    }
    let upgraded = hyper::upgrade::on(response).await?;
    let parts = upgraded
        .downcast::<TokioIo<Stream>>()
        .map_err(|_| DialError::Nonsense("the connection changed under the upgrade"))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let socket = WebSocketStream::from_partially_read(
        parts.io.into_inner(),
        parts.read_buf.to_vec(),
        Role::Client,
        Some(config),
    );
    Ok(socket.await)
}

/// Learns the time from the server, and warns where the device's clock is off.
fn note_date(headers: &HeaderMap, time: &TrustedTime, now: Now) {
    let text = headers.get(header::DATE).and_then(|value| value.to_str().ok());
    let Some(date) = text.and_then(|text| httpdate::parse_http_date(text).ok()) else {
        return;
    };
    time.told(date, now);
    let skew = TrustedTime::skew(date, now);
    if skew > SKEW_MAX {
        tracing::warn!(
            skew_ms = clock::millis(skew),
            server.date = text,
            "clock differs from the server's"
        );
    }
}
