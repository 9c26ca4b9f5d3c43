//! What the pages of deployments show.

use std::fmt::Write as _;

use askama::Template;

use super::model::{DeviceUpdate, Group, Progress, ReleaseEntry, Status, TagOperator};
use crate::archives::Archive;
use crate::firmware::Firmware;
use crate::web::forms::Wrong;
use crate::web::page::{Frame, path};
use crate::web::words;

/// A part of the funnel: how many devices stand there.
pub(super) struct Part {
    pub class: &'static str,
    pub icon: &'static str,
    pub word: &'static str,
    pub count: i64,
    /// Where it begins and how wide it is, in thousandths of the bar.
    pub x: i64,
    pub width: i64,
}

/// The funnel of a group: every device stands in one part.
pub(super) fn funnel(progress: &Progress) -> Vec<Part> {
    let of = |status: Status| {
        let found = progress.by_status.iter().find(|(one, _)| *one == status);
        found.map_or(0, |(_, count)| *count)
    };
    let sum = |all: &[Status]| all.iter().map(|status| of(*status)).sum::<i64>();
    let told = sum(&[Status::Assigned, Status::Told, Status::Received]);
    let downloading = sum(&[Status::Started, Status::Downloading]);
    let (applying, rebooting) = (of(Status::Updating), of(Status::Completed));
    let (failed, declined, later) = (of(Status::Failed), of(Status::Ignored), of(Status::Rescheduled));
    let elsewhere = progress.on_release + told + downloading + applying + rebooting + failed + declined + later;
    let waiting = (progress.devices - elsewhere).max(0);
    let parts = [
        ("f-ok", "done", "updated", progress.on_release),
        ("f-busy", "busy", "rebooting", rebooting),
        ("f-busy", "busy", "applying", applying),
        ("f-busy-2", "busy", "downloading", downloading),
        ("f-busy-2", "busy", "told", told),
        ("f-idle", "offline", "waiting", waiting),
        ("f-warn", "waiting", "asked for later", later),
        ("f-warn", "skipped", "declined", declined),
        ("f-bad", "failed", "failed", failed),
    ];
    let total = parts.iter().map(|part| part.3).sum::<i64>().max(1);
    let mut before = 0;
    parts
        .map(|(class, icon, word, count)| {
            let x = before * 1000 / total;
            before += count;
            Part {
                class,
                icon,
                word,
                count,
                x,
                width: before * 1000 / total - x,
            }
        })
        .into()
}

/// A group in the list.
pub(super) struct Row {
    pub group: Group,
    pub url: String,
    pub parts: Vec<Part>,
    pub on_release: i64,
}

impl Row {
    pub(super) fn new(frame: &Frame, group: Group, progress: &Progress) -> Self {
        Self {
            url: format!("{}{}", frame.product_url("/deployments"), path(&[&group.name])),
            parts: funnel(progress),
            on_release: progress.on_release,
            group,
        }
    }

    fn failed(&self) -> i64 {
        self.parts
            .iter()
            .find(|part| part.word == "failed")
            .map_or(0, |part| part.count)
    }

    fn going(&self) -> i64 {
        let going = |part: &&Part| matches!(part.word, "rebooting" | "applying" | "downloading" | "told");
        self.parts.iter().filter(going).map(|part| part.count).sum()
    }
}

/// The product's deployments.
#[derive(Template)]
#[template(path = "deployments/index.html")]
pub(super) struct IndexPage {
    pub frame: Frame,
    pub rows: Vec<Row>,
    pub may_change: bool,
}

/// One deployment.
#[derive(Template)]
#[template(path = "deployments/show.html")]
pub(super) struct ShowPage<'a> {
    pub frame: Frame,
    pub group: &'a Group,
    pub url: String,
    pub progress: &'a Progress,
    pub parts: Vec<Part>,
    pub under_way: &'a [DeviceUpdate],
    pub releases: &'a [ReleaseEntry],
    pub may_change: bool,
}

impl ShowPage<'_> {
    fn device_url(&self, identifier: &str) -> String {
        format!("{}{}", self.frame.product_url("/devices"), path(&[identifier]))
    }

    fn firmware_url(&self, uuid: &uuid::Uuid) -> String {
        self.frame.product_url(&format!("/firmware/{uuid}"))
    }

    fn archive_url(&self, uuid: &uuid::Uuid) -> String {
        self.frame.product_url(&format!("/archives/{uuid}"))
    }

    fn count(&self, word: &str) -> i64 {
        self.parts
            .iter()
            .filter(|part| part.word == word)
            .map(|part| part.count)
            .sum()
    }

    fn going(&self) -> i64 {
        ["rebooting", "applying", "downloading", "told"]
            .iter()
            .map(|word| self.count(word))
            .sum()
    }

    /// One sentence of where it stands.
    fn sentence(&self) -> String {
        let (done, all) = (self.progress.on_release, self.progress.devices);
        let version = &self.group.firmware_version;
        if all == 0 && !self.group.is_on {
            return "Which devices belong to it is decided when it starts.".to_owned();
        }
        if all == 0 {
            return "No device belongs to it: none matches its tags, version, platform and architecture.".to_owned();
        }
        let mut text = format!(
            "{} of {} run {version}",
            words::number(done),
            words::count(all, "device", "devices")
        );
        for (count, what) in [
            (self.going(), "updating"),
            (self.count("failed"), "failed"),
            (self.count("declined"), "declined"),
            (self.count("asked for later"), "asked for later"),
        ] {
            if count > 0 {
                let _ = write!(text, ", {} {what}", words::number(count));
            }
        }
        if self.progress.connected < all {
            let _ = write!(text, ", {} not connected", words::number(all - self.progress.connected));
        }
        text + "."
    }

    fn tag_word(&self) -> &'static str {
        tag_word(self.group.tag_operator)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn tone(status: &Status) -> (&'static str, &'static str, &'static str) {
        sign(*status)
    }

    fn reasons(&self) -> impl Iterator<Item = &(Status, String, i64)> {
        self.progress
            .reasons
            .iter()
            .filter(|(status, ..)| matches!(status, Status::Failed | Status::Ignored | Status::Rescheduled))
    }
}

fn tag_word(operator: TagOperator) -> &'static str {
    match operator {
        TagOperator::And => "all of",
        TagOperator::Or => "any of",
    }
}

/// Tone, icon and word of an update.
fn sign(status: Status) -> (&'static str, &'static str, &'static str) {
    match status {
        Status::Assigned => ("busy", "busy", "Told next"),
        Status::Told | Status::Received => ("busy", "busy", "Told"),
        Status::Started | Status::Downloading => ("busy", "busy", "Downloading"),
        Status::Updating => ("busy", "busy", "Applying"),
        Status::Completed => ("busy", "busy", "Rebooting"),
        Status::Succeeded => ("ok", "done", "Updated"),
        Status::Failed => ("bad", "failed", "Failed"),
        Status::Ignored => ("warn", "skipped", "Declined"),
        Status::Rescheduled => ("warn", "waiting", "Asked for later"),
        Status::Withdrawn => ("idle", "skipped", "Taken back"),
    }
}

/// The form of a deployment, new or old.
#[derive(Template)]
#[template(path = "deployments/edit.html")]
pub(super) struct EditPage {
    pub frame: Frame,
    pub url: String,
    pub back: String,
    pub is_new: bool,
    pub wrong: Wrong,
    pub fields: super::pages::edit::Fields,
    pub firmwares: Vec<Firmware>,
    pub archives: Vec<Archive>,
}

/// Asks which firmware and which archive a release has.
#[derive(Template)]
#[template(path = "deployments/release.html")]
pub(super) struct ReleasePage<'a> {
    pub frame: Frame,
    pub group: &'a Group,
    pub url: String,
    pub wrong: Wrong,
    pub firmwares: Vec<Firmware>,
    pub archives: Vec<Archive>,
    pub chosen: String,
    pub chosen_archive: String,
}

/// Asks before a deployment is deleted.
#[derive(Template)]
#[template(path = "deployments/delete.html")]
pub(super) struct DeletePage<'a> {
    pub frame: Frame,
    pub group: &'a Group,
    pub url: String,
    pub wrong: Wrong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_stands_in_one_part_of_the_funnel() {
        let progress = Progress {
            devices: 8,
            on_release: 3,
            connected: 8,
            by_status: vec![(Status::Succeeded, 3), (Status::Downloading, 2), (Status::Failed, 1)],
            reasons: Vec::new(),
        };
        let parts = funnel(&progress);
        assert_eq!(parts.iter().map(|part| part.count).sum::<i64>(), 8);
        assert_eq!(parts.iter().map(|part| part.width).sum::<i64>(), 1000);
        let waiting = parts.iter().find(|part| part.word == "waiting").unwrap();
        assert_eq!(waiting.count, 2);
    }
}
