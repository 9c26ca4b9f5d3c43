//! The writer's desk: what came is sorted here, into the line or among the last words.

use std::collections::HashMap;

use muster_link::limits::FIELD_MAX;
use muster_link::{Identity, Location, LogLine, Stage, StatusUpdate};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Entry;
use super::kept::{Identities, Lines};
use super::line::{Line, Standing};
use crate::deployments::{Outcome, Scheduler, Status, service as deployments};
use crate::devices::service::{self as devices, DeviceLogLine, DeviceReport, LinkStart, ReportKind, ReportedIdentity};
use crate::devices::{DeviceId, Peer};
use crate::links::session::Report;
use crate::packages::PackageUrls;
use crate::platform::Platform;
use crate::platform::db::is_transient;
use crate::platform::sweep::Sweep;

/// Devices of which a last word is kept until the next flush.
const KEPT_MAX: usize = 100_000;
/// Reports of which that is so: each is at most 64 KiB on the wire, and a usual one about one.
const REPORTS_MAX: usize = 16_384;
/// A link that has not joined after this time is shown as connecting.
const CONNECTING_AFTER: time::Duration = time::Duration::seconds(1);

/// What is to be written.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) platform: Platform,
    pub(super) proof: Sweep,
    pub(super) urls: PackageUrls,
    pub(super) scheduler: Scheduler,
    pub(super) line: Line,
    starts: HashMap<DeviceId, LinkStart>,
    percents: HashMap<DeviceId, (Status, Option<i16>)>,
    heard: HashMap<DeviceId, OffsetDateTime>,
    interfaces: HashMap<DeviceId, String>,
    reports: HashMap<(DeviceId, ReportKind), (OffsetDateTime, Value)>,
    identities: Identities,
    lines: Lines,
    is_urgent: bool,
}

impl Desk {
    /// An empty desk.
    pub(super) fn new(platform: Platform, proof: Sweep, urls: PackageUrls, scheduler: Scheduler) -> Self {
        Self {
            platform,
            proof,
            urls,
            scheduler,
            line: Line::default(),
            starts: HashMap::new(),
            percents: HashMap::new(),
            heard: HashMap::new(),
            interfaces: HashMap::new(),
            reports: HashMap::new(),
            identities: Identities::default(),
            lines: Lines::default(),
            is_urgent: false,
        }
    }

    /// How many stand in the line.
    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Whether a last word should not wait for the next flush.
    pub(super) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// Sorts an entry in. A join and the end of an update drop what is kept of their device.
    pub(super) fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Open(start) => {
                if self.starts.len() < KEPT_MAX {
                    self.starts.insert(start.device, start);
                }
            }
            Entry::Join(record, answer, place) => {
                let device = record.peer.device();
                self.starts.remove(&device);
                self.percents.remove(&device);
                self.line.push(Standing::Join(record, answer, place));
            }
            Entry::End(end) => {
                if self.starts.get(&end.device).is_some_and(|start| start.link == end.link) {
                    self.starts.remove(&end.device);
                }
                self.line.push(Standing::End(end));
            }
            Entry::Told(devices) => {
                let told = devices.into_iter().map(|device| (device, (Status::Told, None)));
                self.percents.extend(told);
            }
            Entry::Report(peer, report, place) => {
                if self.heard.len() < KEPT_MAX {
                    self.heard.insert(peer.device(), self.platform.clock.now());
                }
                if let Some(standing) = self.report(peer, report) {
                    self.line.push(Standing::Report(standing, place));
                }
            }
        }
    }

    fn report(&mut self, peer: Peer, report: Report) -> Option<Said> {
        let device = peer.device();
        let outcome = match report {
            Report::Progress(None, 100) => return self.keep(device, Status::Completed, Some(100)),
            Report::Progress(Some(Stage::Downloading), percent) => {
                return self.keep(device, Status::Downloading, Some(percent.into()));
            }
            Report::Progress(_, percent) => return self.keep(device, Status::Updating, Some(percent.into())),
            Report::Status(StatusUpdate::Received) => return self.keep(device, Status::Received, None),
            Report::Status(StatusUpdate::Started) => return self.keep_started(device),
            Report::Status(StatusUpdate::Completed) => {
                self.is_urgent = true;
                return self.keep(device, Status::Completed, Some(100));
            }
            Report::Status(StatusUpdate::Failed { reason }) => Outcome::Failed(or_unsaid(reason)),
            Report::Status(StatusUpdate::Ignored { reason }) => Outcome::Ignored(or_unsaid(reason)),
            Report::Status(StatusUpdate::Rescheduled { delay, reason }) => {
                Outcome::Rescheduled(delay, or_unsaid(reason))
            }
            Report::Validated => return Some(Said::Validated(peer)),
            Report::Interface(interface) => {
                if self.interfaces.len() < KEPT_MAX {
                    let interface = interface.chars().take(FIELD_MAX / 16).collect();
                    self.interfaces.insert(device, interface);
                }
                return None;
            }
            Report::Health(report) => return self.keep_report(device, ReportKind::Health, &report),
            Report::Location(location) => return self.keep_report(device, ReportKind::Location, &place(&location)),
            Report::ConnectionTypes(types) => return self.keep_report(device, ReportKind::ConnectionTypes, &types),
            Report::Identities(identities) => return self.keep_identities(device, identities),
            Report::Log(line) => return self.keep_line(device, *line),
            Report::Status(StatusUpdate::Unknown(_)) => return None,
        };
        self.percents.remove(&device);
        Some(Said::Ended(peer, outcome))
    }

    fn keep(&mut self, device: DeviceId, status: Status, percent: Option<i16>) -> Option<Said> {
        self.percents.insert(device, (status, percent));
        None
    }

    fn keep_report(&mut self, device: DeviceId, kind: ReportKind, report: &impl serde::Serialize) -> Option<Said> {
        let key = (device, kind);
        if self.reports.len() >= REPORTS_MAX && !self.reports.contains_key(&key) {
            self.platform.metrics.reports_dropped.inc();
            return None;
        }
        let report = serde_json::to_value(report).unwrap_or_default();
        self.reports.insert(key, (self.platform.clock.now(), report));
        None
    }

    fn keep_identities(&mut self, device: DeviceId, identities: Vec<Identity>) -> Option<Said> {
        let at = self.platform.clock.now();
        for identity in identities {
            if !self.identities.keep(ReportedIdentity { device, at, identity }) {
                self.platform.metrics.reports_dropped.inc();
            }
        }
        None
    }

    fn keep_line(&mut self, device: DeviceId, line: LogLine) -> Option<Said> {
        let id = self.platform.new_id();
        if !self.lines.keep(DeviceLogLine { id, device, line }) {
            self.drop_lines("full", 1);
        }
        None
    }

    fn drop_lines(&self, reason: &str, lines: usize) {
        let dropped = self.platform.metrics.log_lines_dropped.with_label_values(&[reason]);
        dropped.inc_by(lines as u64);
    }

    /// A device says so again at each retry, in the middle of its progress.
    fn keep_started(&mut self, device: DeviceId) -> Option<Said> {
        let is_new = self
            .percents
            .get(&device)
            .is_none_or(|(status, _)| *status <= Status::Started);
        if is_new {
            self.keep(device, Status::Started, None)
        } else {
            None
        }
    }

    /// Writes the last words. What could not be written is kept, unless something newer has come.
    pub(super) async fn flush(&mut self) {
        self.is_urgent = false;
        self.flush_percents().await;
        self.flush_reports().await;
        self.flush_identities().await;
        self.flush_lines().await;
        let seen: Vec<(DeviceId, OffsetDateTime)> = self.heard.drain().collect();
        let interfaces: Vec<(DeviceId, String)> = self.interfaces.drain().collect();
        let since = self.platform.clock.now() - CONNECTING_AFTER;
        let starts: Vec<LinkStart> = self
            .starts
            .extract_if(|_, start| start.at <= since)
            .map(|(_, start)| start)
            .collect();
        if seen.is_empty() && interfaces.is_empty() && starts.is_empty() {
            return;
        }
        let written = async {
            let mut conn = self.platform.db.acquire().await?;
            if !starts.is_empty() {
                devices::connect(&mut conn, &self.platform, self.proof, &starts).await?;
                self.platform.events.ring();
            }
            devices::heard(&mut conn, self.proof, &seen).await?;
            devices::set_interfaces(&mut conn, self.proof, &interfaces).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, devices = seen.len(), "when devices were heard could not be written");
            if is_transient(&error) {
                self.heard.extend(seen);
                self.interfaces.extend(interfaces);
                self.starts
                    .extend(starts.into_iter().map(|start| (start.device, start)));
            }
        }
    }

    async fn flush_reports(&mut self) {
        if self.reports.is_empty() {
            return;
        }
        let of = |((device, kind), (at, report))| DeviceReport {
            device,
            kind,
            at,
            report,
        };
        let reports: Vec<DeviceReport> = self.reports.drain().map(of).collect();
        let written = async {
            let mut conn = self.platform.db.acquire().await?;
            devices::report(&mut conn, self.proof, &reports).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, reports = reports.len(), "reports of devices could not be written");
            if is_transient(&error) {
                let kept = reports
                    .into_iter()
                    .map(|one| ((one.device, one.kind), (one.at, one.report)));
                self.reports.extend(kept);
            } else {
                self.platform.metrics.reports_dropped.inc_by(reports.len() as u64);
            }
        }
    }

    async fn flush_identities(&mut self) {
        let reported = self.identities.take();
        if reported.is_empty() {
            return;
        }
        let written = devices::report_identities(&self.platform, self.proof, reported.clone()).await;
        if let Err(error) = written {
            tracing::warn!(%error, identities = reported.len(), "network identities of devices could not be written");
            if is_transient(&error) {
                for one in reported {
                    self.identities.keep(one);
                }
            } else {
                self.platform.metrics.reports_dropped.inc_by(reported.len() as u64);
            }
        }
    }

    async fn flush_lines(&mut self) {
        let mut lines = self.lines.take();
        if lines.is_empty() {
            return;
        }
        let written = async {
            let mut conn = self.platform.db.acquire().await?;
            devices::log(&mut conn, self.proof, &mut lines).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, lines = lines.len(), "log lines of devices could not be written");
            if is_transient(&error) {
                for line in lines {
                    self.lines.keep(line);
                }
            } else {
                self.drop_lines("refused", lines.len());
            }
        }
    }

    async fn flush_percents(&mut self) {
        if self.percents.is_empty() {
            return;
        }
        let rows: Vec<(DeviceId, Status, Option<i16>)> = self
            .percents
            .drain()
            .map(|(device, (status, percent))| (device, status, percent))
            .collect();
        let written = async {
            let mut tx = self.platform.db.begin().await?;
            deployments::report_progress(&mut tx, &self.platform, self.proof, &rows).await?;
            tx.commit().await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, devices = rows.len(), "progress could not be written");
            if is_transient(&error) {
                let kept = rows
                    .into_iter()
                    .map(|(device, status, percent)| (device, (status, percent)));
                self.percents.extend(kept);
            }
        }
        self.platform.events.ring();
    }
}

/// What a device said that must be written in its place.
#[derive(Debug)]
pub(super) enum Said {
    /// Its update is over.
    Ended(Peer, Outcome),
    /// Its firmware was found good.
    Validated(Peer),
}

fn place(location: &Location) -> Value {
    match location {
        Location::Found(fix) => json!(fix),
        Location::Failed { code, description } => json!({ "error_code": code, "error_description": description }),
    }
}

fn or_unsaid(reason: String) -> String {
    if reason.trim().is_empty() {
        "The device gave no reason.".to_owned()
    } else {
        reason
    }
}
