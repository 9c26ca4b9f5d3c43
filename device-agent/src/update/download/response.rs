//! What an answer means for the file that is being fetched. No I/O.

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};

use super::DownloadError;

/// The file, as far as it is known and fetched.
#[derive(Debug)]
pub(super) struct File {
    told: Option<u64>,
    max: u64,
    total: Option<u64>,
    etag: Option<String>,
    done: u64,
}

/// What to do with an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Ask there.
    Elsewhere(String),
    /// Get another URL.
    Expired,
    /// Read the body; so many bytes of it are known already.
    Body {
        /// How many.
        skip: u64,
    },
}

impl File {
    pub(super) fn new(told: Option<u64>, max: u64) -> Self {
        Self {
            told,
            max,
            total: None,
            etag: None,
            done: 0,
        }
    }

    pub(super) fn done(&self) -> u64 {
        self.done
    }

    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    pub(super) fn complete(&self) -> bool {
        self.total == Some(self.done)
    }

    /// Counts bytes that came; more than were announced are an error.
    pub(super) fn received(&mut self, bytes: u64) -> Result<(), DownloadError> {
        self.done = self.done.saturating_add(bytes);
        if self.total.is_some_and(|total| self.done > total) {
            return Err(bad("the server sends more bytes than it announced"));
        }
        Ok(())
    }

    /// Reads status and headers.
    pub(super) fn answer(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<Answer, DownloadError> {
        if status == StatusCode::FORBIDDEN {
            return Ok(Answer::Expired);
        }
        if status.is_redirection() {
            let location = text(headers, header::LOCATION).ok_or_else(|| bad("the redirect leads nowhere"))?;
            return Ok(Answer::Elsewhere(location.to_owned()));
        }
        let length = text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let (skip, total) = match (status, length) {
            (StatusCode::OK, Some(length)) => (self.done, length),
            (StatusCode::PARTIAL_CONTENT, Some(length)) => (0, self.range(headers, length)?),
            (StatusCode::OK | StatusCode::PARTIAL_CONTENT, None) => {
                return Err(bad("the server does not say how long the file is"));
            }
            _ => return Err(DownloadError::Status(status)),
        };
        self.same(total, text(headers, header::ETAG))?;
        Ok(Answer::Body { skip })
    }

    /// The whole file's length, if the part is the one that is missing.
    fn range(&self, headers: &HeaderMap, length: u64) -> Result<u64, DownloadError> {
        let range = text(headers, header::CONTENT_RANGE).and_then(content_range);
        match range {
            Some((start, total)) if start == self.done && start.checked_add(length) == Some(total) => Ok(total),
            _ => Err(bad("the server sends another part than was asked for")),
        }
    }

    fn same(&mut self, total: u64, etag: Option<&str>) -> Result<(), DownloadError> {
        if total == 0 {
            return Err(bad("the file is empty"));
        }
        if total > self.max {
            return Err(bad(&format!(
                "{total} bytes are more than max_firmware_bytes, {}",
                self.max
            )));
        }
        if let Some(told) = self.told.filter(|told| *told != total) {
            return Err(bad(&format!("the file has {total} bytes, the server told {told}")));
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

    #[test]
    fn whole_file_is_taken_and_known_bytes_are_skipped() {
        let mut file = File::new(Some(10), 100);
        assert_eq!(
            file.answer(StatusCode::OK, &length("10")).unwrap(),
            Answer::Body { skip: 0 }
        );
        file.received(4).unwrap();
        assert_eq!(
            file.answer(StatusCode::OK, &length("10")).unwrap(),
            Answer::Body { skip: 4 }
        );
        assert!(!file.complete());
        file.received(6).unwrap();
        assert!(file.complete());
        assert!(file.received(1).is_err());
    }

    #[test]
    fn only_the_missing_part_is_taken() {
        let whole = length("10");
        for (length, range, good) in [
            ("6", "bytes 4-9/10", true),
            ("6", "bytes 4-9/*", true),
            ("5", "bytes 5-9/10", false),
            ("6", "bytes 4-9/11", false),
            ("5", "bytes 4-8/10", false),
            ("6", "4-9/10", false),
        ] {
            let mut file = File::new(None, 100);
            file.answer(StatusCode::OK, &whole).unwrap();
            file.received(4).unwrap();
            let answer = file.answer(StatusCode::PARTIAL_CONTENT, &part(length, range));
            assert_eq!(answer.is_ok(), good, "{range}");
        }
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
            assert!(
                File::new(told, 100).answer(StatusCode::OK, &headers).is_err(),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn changed_file_is_refused() {
        let tagged = |tag| headers(&[(header::CONTENT_LENGTH, "10"), (header::ETAG, tag)]);
        let mut file = File::new(None, 100);
        file.answer(StatusCode::OK, &tagged("\"1\"")).unwrap();
        assert!(file.answer(StatusCode::OK, &tagged("\"2\"")).is_err());
        assert!(file.answer(StatusCode::OK, &length("11")).is_err());
    }

    #[test]
    fn statuses_are_told_apart() {
        let mut file = File::new(None, 100);
        let empty = HeaderMap::new();
        assert_eq!(file.answer(StatusCode::FORBIDDEN, &empty).unwrap(), Answer::Expired);
        let moved = headers(&[(header::LOCATION, "/x")]);
        assert_eq!(
            file.answer(StatusCode::FOUND, &moved).unwrap(),
            Answer::Elsewhere("/x".into())
        );
        assert!(file.answer(StatusCode::FOUND, &empty).is_err());
        for status in [
            StatusCode::NOT_FOUND,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::NO_CONTENT,
        ] {
            let refused = file.answer(status, &length("10"));
            assert!(matches!(refused, Err(DownloadError::Status(_))), "{status}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_content_range_panics(text in "(bytes )?[0-9*/-]{0,60}") {
            let _ = content_range(&text);
        }
    }
}
