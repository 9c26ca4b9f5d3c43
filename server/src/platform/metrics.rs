//! Figures for Prometheus. No label names a device (its number of values would be the fleet's).

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// Every figure of the server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Links that are open now.
    pub links_open: IntGauge,
    /// Links accepted since the start.
    pub links_accepted: IntCounter,
    /// Upgrades refused, by reason.
    pub links_refused: IntCounterVec,
    /// Links closed, by reason.
    pub links_closed: IntCounterVec,
    /// Codes of connects that were run, by outcome.
    pub connecting_codes: IntCounterVec,
    /// Reports of devices that were not kept: too many waited, or the database refused them.
    pub reports_dropped: IntCounter,
    /// Log lines of devices that were not kept, by reason.
    pub log_lines_dropped: IntCounterVec,
    /// Network identities of devices that were not kept: another device's, or too many.
    pub identities_refused: IntCounter,
    /// Bytes of frames that have not come whole.
    pub unfinished_bytes: IntGauge,
    /// TLS handshakes of devices that are going on now.
    pub handshakes: IntGauge,
    /// TLS handshakes of devices that ended, by outcome.
    pub handshakes_ended: IntCounterVec,
    /// How often the device listener was left alone for a moment: the rate of connections or the handshakes were at their
    /// limit.
    pub connections_held: IntCounter,
    /// Updates ended, by outcome.
    pub updates_ended: IntCounterVec,
    /// Uploads of firmware and archives, by outcome.
    pub uploads: IntCounterVec,
    /// Bytes of firmware and archives sent to devices.
    pub package_bytes_sent: IntCounter,
    /// HTTP requests, by status class.
    pub http_requests: IntCounterVec,
    /// Seconds until a request was answered.
    pub http_seconds: Histogram,
}

impl Metrics {
    /// A registry with every figure at zero.
    ///
    /// # Errors
    /// When two figures have the same name, which a test rules out.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let metrics = Self {
            links_open: IntGauge::new("muster_links_open", "Device links that are open now")?,
            links_accepted: IntCounter::new("muster_links_accepted_total", "Device links accepted")?,
            links_refused: counters("muster_links_refused_total", "Device upgrades refused", "reason")?,
            links_closed: counters("muster_links_closed_total", "Device links closed", "reason")?,
            connecting_codes: counters(
                "muster_connecting_codes_total",
                "Codes of connects run by devices",
                "outcome",
            )?,
            reports_dropped: IntCounter::new(
                "muster_device_reports_dropped_total",
                "Reports of devices that were not kept",
            )?,
            log_lines_dropped: counters(
                "muster_device_log_lines_dropped_total",
                "Log lines of devices that were not kept",
                "reason",
            )?,
            identities_refused: IntCounter::new(
                "muster_network_identities_refused_total",
                "Network identities of devices that were not kept",
            )?,
            unfinished_bytes: IntGauge::new(
                "muster_links_unfinished_bytes",
                "Bytes that are held of device messages that have not come whole",
            )?,
            handshakes: IntGauge::new(
                "muster_device_handshakes",
                "TLS handshakes of devices that are going on now",
            )?,
            handshakes_ended: counters(
                "muster_device_handshakes_ended_total",
                "TLS handshakes of devices that ended",
                "outcome",
            )?,
            connections_held: IntCounter::new(
                "muster_device_connections_held_total",
                "Times that new connections of devices had to wait",
            )?,
            updates_ended: counters("muster_updates_ended_total", "Updates of devices that ended", "outcome")?,
            uploads: counters(
                "muster_firmware_uploads_total",
                "Uploads of firmware and archives",
                "outcome",
            )?,
            package_bytes_sent: IntCounter::new(
                "muster_firmware_sent_bytes_total",
                "Bytes of firmware and archives sent to devices",
            )?,
            http_requests: counters("muster_http_requests_total", "HTTP requests", "class")?,
            http_seconds: Histogram::with_opts(HistogramOpts::new(
                "muster_http_request_seconds",
                "Time to answer a request",
            ))?,
            registry,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> prometheus::Result<()> {
        let registry = &self.registry;
        registry.register(Box::new(self.links_open.clone()))?;
        registry.register(Box::new(self.links_accepted.clone()))?;
        registry.register(Box::new(self.reports_dropped.clone()))?;
        registry.register(Box::new(self.identities_refused.clone()))?;
        registry.register(Box::new(self.unfinished_bytes.clone()))?;
        registry.register(Box::new(self.handshakes.clone()))?;
        registry.register(Box::new(self.connections_held.clone()))?;
        registry.register(Box::new(self.package_bytes_sent.clone()))?;
        registry.register(Box::new(self.http_seconds.clone()))?;
        for counters in [
            &self.links_refused,
            &self.links_closed,
            &self.connecting_codes,
            &self.log_lines_dropped,
            &self.handshakes_ended,
            &self.updates_ended,
            &self.uploads,
            &self.http_requests,
        ] {
            registry.register(Box::new(counters.clone()))?;
        }
        Ok(())
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// When a figure does not encode, which none does.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn counters(name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), &[label])
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn every_figure_has_its_own_name() {
        let metrics = Metrics::new().unwrap();
        metrics.links_refused.with_label_values(&["unknown_certificate"]).inc();
        assert!(
            metrics
                .text()
                .unwrap()
                .contains(r#"muster_links_refused_total{reason="unknown_certificate"} 1"#)
        );
    }
}
