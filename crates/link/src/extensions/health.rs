//! Health: what a device measures of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::lenient;
use crate::limits::{FACTS_MAX, METRICS_MAX};

/// One report. Maps are bounded; what does not fit is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthReport {
    /// When it was measured, by the device's clock.
    #[serde(
        deserialize_with = "lenient::time",
        serialize_with = "rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub timestamp: Option<OffsetDateTime>,
    /// What operators set on the device.
    #[serde(deserialize_with = "lenient::pairs::<_, _, FACTS_MAX>")]
    pub metadata: BTreeMap<String, String>,
    /// What is wrong, by name, with a description.
    #[serde(deserialize_with = "lenient::pairs::<_, _, FACTS_MAX>")]
    pub alarms: BTreeMap<String, String>,
    /// Numbers by name.
    #[serde(deserialize_with = "metrics", serialize_with = "lenient::plain_pairs")]
    pub metrics: BTreeMap<String, f64>,
    /// Checks of the device's own.
    #[serde(deserialize_with = "lenient::pairs::<_, _, FACTS_MAX>")]
    pub checks: BTreeMap<String, Check>,
    /// Its network interfaces.
    #[serde(deserialize_with = "lenient::pairs::<_, _, FACTS_MAX>")]
    pub connectivity: BTreeMap<String, Interface>,
}

/// A check of the device's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// Whether it passed.
    #[serde(deserialize_with = "lenient::or_default")]
    pub pass: bool,
    /// Why, or why not.
    #[serde(deserialize_with = "lenient::prose")]
    pub note: Option<String>,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// `ethernet`, `wifi`, `mobile`, `local` or `unknown`.
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub kind: Option<String>,
    /// Whether it is there.
    #[serde(deserialize_with = "lenient::or_default")]
    pub present: bool,
    /// Its state, in the device's words.
    #[serde(deserialize_with = "lenient::text")]
    pub state: Option<String>,
    /// `lan`, `internet` or `disconnected`.
    #[serde(deserialize_with = "lenient::text")]
    pub connection_status: Option<String>,
}

/// How a device is, by its metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthStatus {
    /// It reports none of the metrics that decide.
    Unknown,
    /// None is over its threshold.
    Healthy,
    /// One is over the lower threshold.
    Warning,
    /// One is over the upper threshold.
    Unhealthy,
}

impl HealthStatus {
    /// The word on the wire and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// From which value on a metric warns, and from which on it is bad (device-link §3.5).
const THRESHOLDS: [(&str, f64, f64); 3] = [
    ("cpu_usage_percent", 80.0, 90.0),
    ("mem_used_percent", 70.0, 80.0),
    ("disk_used_percentage", 80.0, 90.0),
];

impl HealthReport {
    /// The worst of the metrics that decide.
    pub fn status(&self) -> HealthStatus {
        let of = |(name, warning, bad): &(&str, f64, f64)| {
            self.metrics.get(*name).map(|value| match *value {
                value if value >= *bad => HealthStatus::Unhealthy,
                value if value >= *warning => HealthStatus::Warning,
                _ => HealthStatus::Healthy,
            })
        };
        THRESHOLDS.iter().filter_map(of).max().unwrap_or(HealthStatus::Unknown)
    }
}

/// What stands around a report on the wire.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Envelope {
    pub value: Option<HealthReport>,
}

#[derive(Deserialize)]
struct Metric(#[serde(deserialize_with = "lenient::number")] Option<f64>);

fn metrics<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let all = lenient::pairs::<D, Metric, METRICS_MAX>(deserializer)?;
    Ok(all
        .into_iter()
        .filter_map(|(name, metric)| Some((name, metric.0?)))
        .collect())
}

#[expect(clippy::ref_option, reason = "serde hands fields over so")]
pub(super) fn rfc3339<S: serde::Serializer>(time: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time.and_then(|time| time.format(&Rfc3339).ok());
    serializer.serialize_some(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> HealthReport {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn odd_parts_are_left_out_and_the_rest_is_kept() {
        let report = read(
            r#"{"timestamp":"yesterday","metadata":{"placement":"roof","floor":3},"alarms":[],
            "metrics":{"cpu_temp":48.3,"eth0_bytes_received_total":"1234","odd":"x","none":null},
            "checks":{"rtc":{"pass":true,"note":""},"clock":7},"connectivity":{"eth0":{"type":"ethernet","present":true}}}"#,
        );
        assert_eq!(report.timestamp, None);
        assert_eq!(report.metadata.len(), 1);
        let received = report.metrics["eth0_bytes_received_total"];
        assert!((received - 1234.0).abs() < f64::EPSILON);
        assert_eq!(report.metrics.len(), 2);
        assert!(report.checks["rtc"].pass && report.connectivity["eth0"].present);
    }

    #[test]
    fn the_worst_metric_decides() {
        for (json, status) in [
            ("{}", HealthStatus::Unknown),
            (r#"{"metrics":{"load_1min":99}}"#, HealthStatus::Unknown),
            (r#"{"metrics":{"cpu_usage_percent":79.9}}"#, HealthStatus::Healthy),
            (
                r#"{"metrics":{"cpu_usage_percent":1,"mem_used_percent":70}}"#,
                HealthStatus::Warning,
            ),
            (
                r#"{"metrics":{"disk_used_percentage":90,"mem_used_percent":70}}"#,
                HealthStatus::Unhealthy,
            ),
        ] {
            assert_eq!(read(json).status(), status, "{json}");
        }
    }

    #[test]
    fn reports_are_bounded() {
        let many: BTreeMap<String, f64> = (0..METRICS_MAX + 9).map(|n| (format!("m{n}"), 1.0)).collect();
        let json = serde_json::json!({ "metrics": many, "alarms": { "x".repeat(300): "long name" } });
        let report = read(&json.to_string());
        assert_eq!((report.metrics.len(), report.alarms.len()), (METRICS_MAX, 0));
    }
}
