//! Log lines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::lenient::{self, cut};
use crate::limits::{FIELD_MAX, LOG_MESSAGE_MAX, LOG_META_MAX};

/// The levels that there are, least first.
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, by the device's clock.
    pub at: OffsetDateTime,
    /// One of syslog's levels.
    pub level: &'static str,
    /// The text.
    pub message: String,
    /// What the device tells with it.
    pub meta: BTreeMap<String, String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Wire {
    #[serde(deserialize_with = "lenient::text")]
    level: Option<String>,
    message: Value,
    #[serde(deserialize_with = "lenient::pairs::<_, _, LOG_META_MAX>")]
    meta: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
}

impl Wire {
    /// The line, unless it has no time or no message. `timestamp` counts before `meta.time`, which is microseconds.
    pub(super) fn read(mut self) -> Option<LogLine> {
        let given = self.timestamp.take();
        let at = given.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok());
        let micros = || self.meta.get("time")?.parse::<i64>().ok();
        let at = at.or_else(|| OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros()?) * 1000).ok())?;
        let message = match std::mem::take(&mut self.message) {
            Value::String(text) => text,
            Value::Array(characters) => characters
                .iter()
                .filter_map(|one| char::from_u32(u32::try_from(one.as_u64()?).ok()?))
                .collect(),
            _ => return None,
        };
        let level = self.level.as_deref();
        let meta = self.meta.into_iter();
        Some(LogLine {
            at,
            level: LEVELS.into_iter().find(|name| Some(*name) == level).unwrap_or("info"),
            message: cut(message, LOG_MESSAGE_MAX),
            meta: meta.map(|(key, text)| (key, cut(text, FIELD_MAX))).collect(),
        })
    }

    pub(super) fn of(line: &LogLine) -> Self {
        let mut meta = line.meta.clone();
        let micros = line.at.unix_timestamp_nanos() / 1000;
        meta.entry("time".to_owned()).or_insert_with(|| micros.to_string());
        Self {
            level: Some(line.level.to_owned()),
            message: line.message.clone().into(),
            meta,
            timestamp: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<LogLine> {
        serde_json::from_str::<Wire>(json).unwrap().read()
    }

    #[test]
    fn message_may_be_a_list_of_characters() {
        let line = read(r#"{"level":"loud","message":[104,105,9999999],"timestamp":"2026-08-22T10:15:30Z"}"#).unwrap();
        assert_eq!((line.message.as_str(), line.level), ("hi", "info"));
    }

    #[test]
    fn line_without_a_time_or_a_message_is_none() {
        for odd in [
            "{}",
            r#"{"message":"x"}"#,
            r#"{"message":7,"meta":{"time":"1"}}"#,
            r#"{"message":"x","meta":{"time":"soon"}}"#,
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
        let line = read(r#"{"level":"error","message":"x","meta":{"time":"1760000000123456"}}"#).unwrap();
        assert_eq!(
            (line.at.unix_timestamp(), line.at.microsecond()),
            (1_760_000_000, 123_456)
        );
    }

    #[test]
    fn long_message_is_cut() {
        let json = serde_json::json!({ "message": "é".repeat(LOG_MESSAGE_MAX), "meta": { "time": "1" } });
        assert_eq!(read(&json.to_string()).unwrap().message.len(), LOG_MESSAGE_MAX);
    }
}
