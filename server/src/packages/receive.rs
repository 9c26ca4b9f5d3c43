//! A package out of a multipart form, for the API and the page alike.

use std::time::Duration as StdDuration;

use actix_multipart::{Field, Multipart, MultipartError};
use bytes::Bytes;
use futures_util::StreamExt as _;
use time::Duration;

use super::Kind;
use super::model::Package;
use super::upload::{self, Upload, UploadError};
use crate::platform::Platform;
use crate::products::Product;

/// The part that says after how many seconds it expires.
const TTL: &str = "ttl";
/// How long the parts beside the archive may be, together.
const MAX_OTHER: usize = 1024 * 1024;
/// How long a client may be silent.
const SILENCE: StdDuration = StdDuration::from_mins(1);
/// What is still read after a refusal, so that the client hears it before the connection ends.
const DRAIN_BYTES: u64 = 256 * 1024 * 1024;
/// For how long.
const DRAIN_TIME: StdDuration = StdDuration::from_secs(30);
/// The longest time to live.
const MAX_TTL: Duration = Duration::days(3650);

/// Takes the form's archive as a package of the product: the part that is named as its kind is. Parts with other names are skipped.
///
/// # Errors
/// [`UploadError`] says what is wrong. Nothing is left behind.
pub async fn receive<K: Kind>(
    platform: &Platform,
    product: &Product,
    mut form: Multipart,
) -> Result<Package<K>, UploadError> {
    let outcome = read_form(platform, product, &mut form).await;
    upload::count(platform, outcome.as_ref());
    if outcome.is_err() && !matches!(outcome, Err(UploadError::Interrupted | UploadError::Form(_))) {
        let _ = tokio::time::timeout(DRAIN_TIME, drain(&mut form)).await;
    }
    outcome
}

async fn read_form<K: Kind>(
    platform: &Platform,
    product: &Product,
    form: &mut Multipart,
) -> Result<Package<K>, UploadError> {
    let mut reading = None;
    let outcome = read_parts(platform, product, form, &mut reading).await;
    match (outcome, reading) {
        (Ok(ttl), Some(upload)) => upload.finish(ttl).await,
        (Ok(_), None) => Err(UploadError::NoFile(K::WORD)),
        (Err(error), Some(upload)) => {
            upload.abort().await;
            Err(error)
        }
        (Err(error), None) => Err(error),
    }
}

async fn read_parts<K: Kind>(
    platform: &Platform,
    product: &Product,
    form: &mut Multipart,
    reading: &mut Option<Upload<K>>,
) -> Result<Option<Duration>, UploadError> {
    let (mut ttl, mut other) = (None, 0);
    while let Some(field) = patient(form.next()).await? {
        let mut field = field.map_err(unreadable)?;
        if field.name() == Some(K::WORD) && reading.is_none() {
            let upload = reading.insert(upload::begin(platform, product).await?);
            while let Some(bytes) = next_bytes(&mut field).await? {
                upload.write(&bytes).await?;
            }
            continue;
        }
        let is_ttl = field.name() == Some(TTL);
        let mut text = Vec::new();
        while let Some(bytes) = next_bytes(&mut field).await? {
            other += bytes.len();
            if other > MAX_OTHER {
                return Err(UploadError::Form(
                    "its parts beside the archive are too long".to_owned(),
                ));
            }
            if is_ttl {
                text.extend_from_slice(&bytes);
            }
        }
        if is_ttl {
            ttl = parse_ttl(&text)?;
        }
    }
    Ok(ttl)
}

async fn next_bytes(field: &mut Field) -> Result<Option<Bytes>, UploadError> {
    patient(field.next()).await?.transpose().map_err(unreadable)
}

async fn patient<T>(wait: impl Future<Output = T>) -> Result<T, UploadError> {
    let waited = tokio::time::timeout(SILENCE, wait).await;
    waited.map_err(|_| UploadError::Interrupted)
}

fn unreadable(error: MultipartError) -> UploadError {
    match error {
        MultipartError::Incomplete | MultipartError::Payload(_) => UploadError::Interrupted,
        other => UploadError::Form(other.to_string()),
    }
}

fn parse_ttl(text: &[u8]) -> Result<Option<Duration>, UploadError> {
    let text = std::str::from_utf8(text).map_err(|_| UploadError::Ttl)?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let seconds: u32 = text.parse().map_err(|_| UploadError::Ttl)?;
    let ttl = Duration::seconds(i64::from(seconds));
    if seconds == 0 || ttl > MAX_TTL {
        return Err(UploadError::Ttl);
    }
    Ok(Some(ttl))
}

async fn drain(form: &mut Multipart) {
    let mut read = 0;
    while let Some(Ok(mut field)) = form.next().await {
        while let Some(Ok(bytes)) = field.next().await {
            read += bytes.len() as u64;
            if read > DRAIN_BYTES {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_a_number_of_seconds() {
        assert_eq!(parse_ttl(b"").unwrap(), None);
        assert_eq!(parse_ttl(b" 3600\n").unwrap(), Some(Duration::hours(1)));
        for bad in ["0", "-1", "soon", "4294967296", "400000000"] {
            assert!(parse_ttl(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
