//! Packages by signed links: what devices fetch.
//!
//! Pieces are read from the store by range, the next one while one is sent; nothing is read whole.

use std::ops::Range;
use std::sync::Arc;

use actix_web::body::SizedStream;
use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};

use super::Kind;
use super::model::Stored;
use super::range::{Asked, asked};
use super::url::{LinkError, Signed, Ticket};
use crate::accounts::OrgId;
use crate::app::App;
use crate::platform::Platform;
use crate::platform::blobs::{BlobError, READ_BYTES};
use crate::web::error::OrNotFound as _;
use crate::web::extract::Query;
use crate::web::{Error, extract};

/// Pieces that are read at once: the one that is sent next, and the one after it.
const AHEAD: usize = 2;
/// What the name of an archive ends in.
const SUFFIX: &str = ".fw";

/// `GET /{folder}/{org}/{file}`, `HEAD` too: an archive or a part of it.
pub async fn file<K: Kind>(
    request: HttpRequest,
    app: web::Data<App>,
    signed: Result<Query<Signed>, Error>,
) -> Result<HttpResponse, Error> {
    let ticket: Ticket<K> = ticket(&request, &app, signed)?;
    let archive = find(&app, &ticket).await?;
    let etag = etag(&archive);
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let wanted = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|condition| condition == etag));
    let size = archive.size_bytes;
    let (status, range) = match asked(wanted, size) {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Outside => return Ok(outside(size)),
    };
    let mut response = HttpResponse::build(status);
    response
        .content_type("application/octet-stream")
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::ETAG, etag))
        .insert_header((header::CACHE_CONTROL, "private, no-transform"))
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}{SUFFIX}\"", archive.uuid),
        ));
    if status == StatusCode::PARTIAL_CONTENT {
        let content = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        response.insert_header((header::CONTENT_RANGE, content));
    }
    let length = range.end - range.start;
    if request.method() == Method::HEAD {
        return Ok(response.body(SizedStream::new(length, stream::empty::<Result<Bytes, BlobError>>())));
    }
    let mut body = Box::pin(pieces(app.platform.clone(), Arc::clone(&archive), range).peekable());
    if let Some(Err(error)) = body.as_mut().peek().await {
        return Err(unreadable(&app, &ticket, error));
    }
    Ok(response.body(SizedStream::new(length, body)))
}

fn ticket<K: Kind>(request: &HttpRequest, app: &App, signed: Result<Query<Signed>, Error>) -> Result<Ticket<K>, Error> {
    let org: OrgId = extract::name(request, "org")?.parse().or(Err(Error::NotFound))?;
    let file = extract::name(request, "file")?;
    let package: K = file.strip_suffix(SUFFIX).or_404()?.parse().or(Err(Error::NotFound))?;
    let signed = signed.map_err(|_| refused(LinkError::Foreign))?;
    app.package_urls
        .check(org, package, &signed.0, app.platform.clock.now())
        .map_err(refused)
}

fn refused(error: LinkError) -> Error {
    Error::Forbidden(error.to_string())
}

async fn find<K: Kind>(app: &App, ticket: &Ticket<K>) -> Result<Arc<Stored>, Error> {
    if let Some(archive) = app.package_urls.recent(ticket) {
        return Ok(archive);
    }
    let mut conn = app.platform.db.acquire().await?;
    let archive = K::stored(&mut conn, ticket).await?.or_404()?;
    Ok(app.package_urls.remember(ticket, archive))
}

/// The bytes of a range, piece after piece.
fn pieces(
    platform: Platform,
    archive: Arc<Stored>,
    range: Range<u64>,
) -> impl stream::Stream<Item = Result<Bytes, BlobError>> {
    let end = range.end;
    let starts = range.step_by(READ_BYTES as usize);
    stream::iter(starts)
        .map(move |start| {
            let (platform, archive) = (platform.clone(), Arc::clone(&archive));
            async move {
                let piece = platform.blobs.read(&archive.blob, start..end.min(start + READ_BYTES));
                let bytes = piece.await?;
                platform.metrics.package_bytes_sent.inc_by(bytes.len() as u64);
                Ok(bytes)
            }
        })
        .buffered(AHEAD)
        .inspect(|piece| {
            if let Err(error) = piece {
                tracing::error!(%error, "an archive cannot be read from the store");
            }
        })
}

/// The row was there and the blob is not: deleted meanwhile, or the store has lost it.
fn unreadable<K: Kind>(app: &App, ticket: &Ticket<K>, error: &BlobError) -> Error {
    app.package_urls.forget(ticket);
    if error.is_not_found() {
        return Error::NotFound;
    }
    Error::Internal(anyhow::anyhow!("an archive cannot be read: {error}"))
}

fn outside(size: u64) -> HttpResponse {
    HttpResponse::RangeNotSatisfiable()
        .insert_header((header::CONTENT_RANGE, format!("bytes */{size}")))
        .finish()
}

fn etag(archive: &Stored) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("\"");
    for byte in &archive.sha256 {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    text
}
