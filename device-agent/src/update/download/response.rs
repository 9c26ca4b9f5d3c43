//! What an answer means for the part of a file that is being fetched. No I/O.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};

use super::DownloadError;
use crate::net;

/// A file, as far as it is known, and which of its bytes are wanted.
#[derive(Debug)]
pub(super) struct File {
    told: Option<u64>,
    max: u64,
    total: Option<u64>,
    etag: Option<String>,
    at: u64,
    end: Option<u64>,
}

/// What to do with an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Ask there.
    Elsewhere(String),
    /// Get another URL.
    Expired,
    /// Ask again, at the earliest after this.
    Later(StatusCode, Option<Duration>),
    /// Read the body; so many bytes of it are known already.
    Body {
        /// How many.
        skip: u64,
    },
}

impl File {
    /// The bytes from `at` to before `end`, or to the file's end.
    pub(super) fn new(told: Option<u64>, max: u64, at: u64, end: Option<u64>) -> Self {
        Self {
            told,
            max,
            total: None,
            etag: None,
            at,
            end,
        }
    }

    /// The byte that is needed next.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The whole file's length, once an answer has said it.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// How many bytes are still wanted, as far as is known.
    pub(super) fn remaining(&self) -> u64 {
        self.end.or(self.total).unwrap_or(0).saturating_sub(self.at)
    }

    /// Whether every wanted byte is there.
    pub(super) fn complete(&self) -> bool {
        self.end.or(self.total).is_some_and(|end| self.at >= end)
    }

    /// The `Range` header of the next request; none where the whole file is wanted.
    pub(super) fn range(&self) -> Option<String> {
        match (self.at, self.end) {
            (0, None) => None,
            (at, None) => Some(format!("bytes={at}-")),
            (at, Some(end)) => Some(format!("bytes={at}-{}", end.saturating_sub(1))),
        }
    }

    /// Counts bytes that came.
    pub(super) fn received(&mut self, bytes: u64) {
        self.at = self.at.saturating_add(bytes);
    }

    /// Reads status and headers.
    pub(super) fn answer(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Answer, DownloadError> {
        if status == StatusCode::FORBIDDEN {
            return Ok(Answer::Expired);
        }
        if status.is_redirection() {
            let location = text(headers, header::LOCATION).ok_or_else(|| bad("the redirect leads nowhere"))?;
            return Ok(Answer::Elsewhere(location.to_owned()));
        }
        if passes(status) {
            return Ok(Answer::Later(status, net::retry_after(headers, now)));
        }
        let length = text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let (skip, total) = match (status, length) {
            (StatusCode::OK, Some(length)) => (self.at, length),
            (StatusCode::PARTIAL_CONTENT, Some(length)) => (0, self.part(headers, length)?),
            (StatusCode::OK | StatusCode::PARTIAL_CONTENT, None) => {
                return Err(bad("the server does not say how long the file is"));
            }
            _ => return Err(DownloadError::Status(status)),
        };
        self.same(total, text(headers, header::ETAG))?;
        Ok(Answer::Body { skip })
    }

    /// The whole file's length, if the part is the one that is missing.
    fn part(&self, headers: &HeaderMap, length: u64) -> Result<u64, DownloadError> {
        let range = text(headers, header::CONTENT_RANGE).and_then(content_range);
        match range {
            Some((start, total))
                if start == self.at && start.checked_add(length) == Some(self.end.unwrap_or(total).min(total)) =>
            {
                Ok(total)
            }
            _ => Err(bad("the server sends another part than was asked for")),
        }
    }

    fn same(&mut self, total: u64, etag: Option<&str>) -> Result<(), DownloadError> {
        if total == 0 {
            return Err(bad("the file is empty"));
        }
        if total > self.max {
            return Err(bad(&format!("{total} bytes are more than the limit of {}", self.max)));
        }
        if let Some(told) = self.told.filter(|told| *told != total) {
            return Err(bad(&format!("the file has {total} bytes, the server told {told}")));
        }
        if self.at > total {
            return Err(DownloadError::Status(StatusCode::RANGE_NOT_SATISFIABLE));
        }
        let other_etag = matches!((&self.etag, etag), (Some(ours), Some(theirs)) if ours != theirs);
        if self.total.is_some_and(|ours| ours != total) || other_etag {
            return Err(bad("the file changed while it was fetched"));
        }
        self.total = Some(total);
        self.etag = etag.map(str::to_owned);
        Ok(())
    }
}

/// Whether a refusal is of the kind that passes: an overloaded or restarting server, not a missing file.
fn passes(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

fn bad(reason: &str) -> DownloadError {
    DownloadError::BadAnswer(reason.to_owned())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Start and total of `bytes START-END/TOTAL`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let end: u64 = end.parse().ok()?;
    let total = match total {
        "*" => end.checked_add(1)?,
        total => total.parse().ok()?,
    };
    Some((start.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    fn length(bytes: &str) -> HeaderMap {
        headers(&[(header::CONTENT_LENGTH, bytes)])
    }

    fn part(length: &str, range: &str) -> HeaderMap {
        headers(&[(header::CONTENT_LENGTH, length), (header::CONTENT_RANGE, range)])
    }

    fn whole(told: Option<u64>) -> File {
        File::new(told, 100, 0, None)
    }

    #[test]
    fn whole_file_is_taken_and_known_bytes_are_skipped() {
        let mut file = whole(Some(10));
        assert_eq!(file.range(), None);
        let answer = file.answer(StatusCode::OK, &length("10"), NOW).unwrap();
        assert_eq!(answer, Answer::Body { skip: 0 });
        file.received(4);
        let answer = file.answer(StatusCode::OK, &length("10"), NOW).unwrap();
        assert_eq!(answer, Answer::Body { skip: 4 });
        assert_eq!((file.complete(), file.remaining()), (false, 6));
        file.received(6);
        assert!(file.complete());
    }

    #[test]
    fn only_the_missing_part_is_taken() {
        for (end, length, range, good) in [
            (None, "6", "bytes 4-9/10", true),
            (None, "6", "bytes 4-9/*", true),
            (None, "5", "bytes 5-9/10", false),
            (None, "5", "bytes 4-8/10", false),
            (None, "6", "4-9/10", false),
            (Some(7), "3", "bytes 4-6/10", true),
            (Some(7), "6", "bytes 4-9/10", false),
            (Some(70), "6", "bytes 4-9/10", true),
        ] {
            let mut file = File::new(None, 100, 4, end);
            let answer = file.answer(StatusCode::PARTIAL_CONTENT, &part(length, range), NOW);
            assert_eq!(answer.is_ok(), good, "{range}");
        }
    }

    #[test]
    fn range_of_a_request_names_the_last_byte() {
        assert_eq!(File::new(None, 100, 4, None).range().unwrap(), "bytes=4-");
        assert_eq!(File::new(None, 100, 0, Some(7)).range().unwrap(), "bytes=0-6");
    }

    #[test]
    fn length_is_needed_and_bounded_and_must_be_what_was_told() {
        for (told, headers) in [
            (None, HeaderMap::new()),
            (None, length("0")),
            (None, length("101")),
            (Some(11), length("10")),
            (None, length("-1")),
        ] {
            let answer = whole(told).answer(StatusCode::OK, &headers, NOW);
            assert!(answer.is_err(), "{headers:?}");
        }
    }

    #[test]
    fn changed_file_is_refused() {
        let tagged = |tag| headers(&[(header::CONTENT_LENGTH, "10"), (header::ETAG, tag)]);
        let mut file = whole(None);
        file.answer(StatusCode::OK, &tagged("\"1\""), NOW).unwrap();
        assert!(file.answer(StatusCode::OK, &tagged("\"2\""), NOW).is_err());
        assert!(file.answer(StatusCode::OK, &length("11"), NOW).is_err());
        let mut shrunk = File::new(None, 100, 11, None);
        assert!(shrunk.answer(StatusCode::OK, &length("10"), NOW).is_err());
    }

    #[test]
    fn statuses_are_told_apart() {
        let mut file = whole(None);
        let empty = HeaderMap::new();
        let mut answer = |status, headers: &HeaderMap| file.answer(status, headers, NOW);
        assert_eq!(answer(StatusCode::FORBIDDEN, &empty).unwrap(), Answer::Expired);
        let moved = headers(&[(header::LOCATION, "/x")]);
        let elsewhere = Answer::Elsewhere("/x".into());
        assert_eq!(answer(StatusCode::FOUND, &moved).unwrap(), elsewhere);
        assert!(answer(StatusCode::FOUND, &empty).is_err());
        for status in [StatusCode::NOT_FOUND, StatusCode::GONE, StatusCode::NO_CONTENT] {
            let refused = answer(status, &length("10"));
            assert!(matches!(refused, Err(DownloadError::Status(_))), "{status}");
        }
        let patience = headers(&[(header::RETRY_AFTER, "7")]);
        for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS] {
            let later = Answer::Later(status, Some(Duration::from_secs(7)));
            assert_eq!(answer(status, &patience).unwrap(), later);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_content_range_panics(text in "(bytes )?[0-9*/-]{0,60}") {
            let _ = content_range(&text);
        }
    }
}
