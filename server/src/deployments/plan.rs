//! The rules of deployments, pure: which group a device belongs to, and what its join means for its update.

use uuid::Uuid;

use super::model::{GroupId, Outcome, Status, TagOperator};
use super::requirement::Requirement;
use semver::Version;

/// How often a device is told one update before it counts as failed: once more after each link that it lost on the way.
pub const ATTEMPTS_MAX: i16 = 5;

/// What a group asks of a device.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The group.
    pub group: GroupId,
    /// Tags that choose devices.
    pub tags: Vec<String>,
    /// All of them, or one.
    pub tag_operator: TagOperator,
    /// Versions that devices must have.
    pub requirement: Requirement,
    /// Version of its release.
    pub version: String,
    /// Board of its release.
    pub platform: String,
    /// CPU architecture of its release.
    pub architecture: String,
}

/// What is known of a device that no group has.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its tags.
    pub tags: Vec<String>,
    /// The version that it runs.
    pub version: String,
    /// Its board.
    pub platform: String,
    /// Its CPU architecture.
    pub architecture: String,
}

impl Rule {
    /// Whether the group takes the device. A device that runs the release already stays, whatever the requirement says.
    pub fn takes(&self, device: &Facts) -> bool {
        let tagged = |tag: &String| device.tags.contains(tag);
        let tags = self.tags.is_empty()
            || match self.tag_operator {
                TagOperator::And => self.tags.iter().all(tagged),
                TagOperator::Or => self.tags.iter().any(tagged),
            };
        let version = device.version == self.version || self.requirement.matches(&device.version);
        tags && version && self.platform == device.platform && self.architecture == device.architecture
    }

    fn matching_tags(&self, device: &Facts) -> usize {
        self.tags.iter().filter(|tag| device.tags.contains(tag)).count()
    }
}

/// The best group for a device: highest release, then more matching tags, then the oldest group (device-link §4.1).
pub fn best<'a>(rules: &'a [Rule], device: &Facts) -> Option<&'a Rule> {
    let release = |rule: &Rule| Version::parse(&rule.version).ok();
    rules.iter().filter(|rule| rule.takes(device)).max_by(|a, b| {
        release(a)
            .cmp(&release(b))
            .then(a.matching_tags(device).cmp(&b.matching_tags(device)))
            .then(b.group.cmp(&a.group))
    })
}

/// An update in flight when its device joins.
#[derive(Debug, Clone)]
pub struct InFlight {
    /// Where it stands.
    pub status: Status,
    /// The firmware that it leads to.
    pub target: Uuid,
    /// How often the device was told.
    pub attempts: i16,
    /// Whether its group still tells devices.
    pub group_is_on: bool,
}

/// What a device says when it joins.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The firmware that it ran before.
    pub previous: Option<Uuid>,
    /// The firmware that it runs.
    pub running: Option<Uuid>,
    /// The update that it is busy with.
    pub busy: Option<&'a str>,
    /// Whether its bootloader went back, from this update or an older one.
    pub reverted: bool,
    /// The firmware that it just went back from, where the device says so.
    pub reverted_from: Option<&'a str>,
}

/// What a join means for an update in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is over.
    Ended(Outcome),
    /// The device goes on with it, and gets a fresh URL.
    GoesOn,
    /// The device lost it, and is told again in its turn.
    TellAgain,
    /// It was not told yet: nothing changes.
    Waits,
}

/// What a join means for an update in flight (device-link §4.6): only the new firmware is success.
pub fn judge(update: &InFlight, arrival: Arrival<'_>) -> Verdict {
    let failed = |reason: &str| Verdict::Ended(Outcome::Failed(reason.to_owned()));
    if arrival.running == Some(update.target) {
        return Verdict::Ended(Outcome::Succeeded);
    }
    if arrival.previous.is_some() && arrival.running != arrival.previous {
        return Verdict::Ended(Outcome::Withdrawn(
            "The device came back on other firmware than it was told.".into(),
        ));
    }
    let target = update.target.to_string();
    if arrival.busy.is_some_and(|busy| busy.eq_ignore_ascii_case(&target)) {
        return Verdict::GoesOn;
    }
    let went_back = "The device booted the new firmware and went back to the old one.";
    // What it said of its progress may have been lost with the link.
    if arrival
        .reverted_from
        .is_some_and(|from| from.eq_ignore_ascii_case(&target))
    {
        return failed(went_back);
    }
    match update.status {
        Status::Assigned => Verdict::Waits,
        Status::Completed if arrival.reverted => failed(went_back),
        Status::Completed => failed("The device came back on its old firmware."),
        _ if !update.group_is_on => Verdict::Ended(Outcome::Withdrawn("The deployment was stopped.".into())),
        _ if update.attempts >= ATTEMPTS_MAX => failed("The device was told five times and did not finish."),
        _ => Verdict::TellAgain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: u128, version: &str, tags: &[&str], requirement: &str) -> Rule {
        Rule {
            group: GroupId(Uuid::from_u128(id)),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            tag_operator: TagOperator::And,
            requirement: requirement.parse().unwrap(),
            version: version.into(),
            platform: "rpi4".into(),
            architecture: "arm".into(),
        }
    }

    fn device(version: &str, tags: &[&str]) -> Facts {
        Facts {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            version: version.into(),
            platform: "rpi4".into(),
            architecture: "arm".into(),
        }
    }

    fn chosen(rules: &[Rule], device: &Facts) -> Option<u128> {
        best(rules, device).map(|rule| rule.group.0.as_u128())
    }

    #[test]
    fn highest_release_then_most_tags_then_oldest_group_wins() {
        let device = device("1.0.0", &["beta", "lobby"]);
        assert_eq!(
            chosen(&[rule(1, "1.9.0", &[], ""), rule(2, "1.10.0", &[], "")], &device),
            Some(2)
        );
        assert_eq!(
            chosen(&[rule(1, "1.1.0", &[], ""), rule(2, "1.1.0", &["beta"], "")], &device),
            Some(2)
        );
        assert_eq!(
            chosen(&[rule(2, "1.1.0", &[], ""), rule(1, "1.1.0", &[], "")], &device),
            Some(1)
        );
    }

    #[test]
    fn tags_version_platform_and_architecture_must_match() {
        let device = device("1.0.0", &["beta"]);
        assert!(!rule(1, "1.1.0", &["beta", "lobby"], "").takes(&device));
        assert!(
            Rule {
                tag_operator: TagOperator::Or,
                ..rule(1, "1.1.0", &["beta", "lobby"], "")
            }
            .takes(&device)
        );
        assert!(!rule(1, "1.1.0", &[], "> 1.0.0").takes(&device));
        assert!(
            !Rule {
                platform: "x86".into(),
                ..rule(1, "1.1.0", &[], "")
            }
            .takes(&device)
        );
        assert!(
            !Rule {
                architecture: "x86".into(),
                ..rule(1, "1.1.0", &[], "")
            }
            .takes(&device)
        );
    }

    #[test]
    fn device_that_runs_the_release_stays_in_its_group() {
        assert!(rule(1, "1.1.0", &[], "< 1.1.0").takes(&device("1.1.0", &[])));
    }

    const OLD: Uuid = Uuid::from_u128(1);
    const NEW: Uuid = Uuid::from_u128(2);

    fn in_flight(status: Status) -> InFlight {
        InFlight {
            status,
            target: NEW,
            attempts: 1,
            group_is_on: true,
        }
    }

    fn arrival(running: Uuid) -> Arrival<'static> {
        Arrival {
            previous: Some(OLD),
            running: Some(running),
            busy: None,
            reverted: false,
            reverted_from: None,
        }
    }

    #[test]
    fn only_the_new_firmware_is_success() {
        for status in [Status::Assigned, Status::Told, Status::Updating, Status::Completed] {
            assert_eq!(
                judge(&in_flight(status), arrival(NEW)),
                Verdict::Ended(Outcome::Succeeded)
            );
        }
        let other = judge(&in_flight(Status::Completed), arrival(Uuid::from_u128(3)));
        assert!(matches!(other, Verdict::Ended(Outcome::Withdrawn(_))));
    }

    #[test]
    fn device_that_came_back_on_the_old_firmware_after_completion_failed() {
        let Verdict::Ended(Outcome::Failed(reason)) = judge(&in_flight(Status::Completed), arrival(OLD)) else {
            panic!()
        };
        assert!(reason.contains("old firmware"));
        let reverted = judge(
            &in_flight(Status::Completed),
            Arrival {
                reverted: true,
                ..arrival(OLD)
            },
        );
        assert!(matches!(reverted, Verdict::Ended(Outcome::Failed(reason)) if reason.contains("went back")));
    }

    #[test]
    fn device_that_went_back_failed_whatever_was_heard_of_its_progress() {
        let target = NEW.to_string();
        let back = Arrival {
            reverted: true,
            reverted_from: Some(&target),
            ..arrival(OLD)
        };
        let verdict = judge(&in_flight(Status::Updating), back);
        assert!(matches!(verdict, Verdict::Ended(Outcome::Failed(reason)) if reason.contains("went back")));
        let older = Arrival {
            reverted: true,
            ..arrival(OLD)
        };
        assert_eq!(judge(&in_flight(Status::Updating), older), Verdict::TellAgain);
    }

    #[test]
    fn device_that_lost_its_link_goes_on_or_is_told_again() {
        let target = NEW.to_string().to_uppercase();
        let busy = Arrival {
            busy: Some(&target),
            ..arrival(OLD)
        };
        assert_eq!(judge(&in_flight(Status::Updating), busy), Verdict::GoesOn);
        assert_eq!(judge(&in_flight(Status::Updating), arrival(OLD)), Verdict::TellAgain);
        assert_eq!(judge(&in_flight(Status::Assigned), arrival(OLD)), Verdict::Waits);
    }

    #[test]
    fn a_device_is_not_told_for_ever_nor_after_a_stop() {
        let tired = InFlight {
            attempts: ATTEMPTS_MAX,
            ..in_flight(Status::Told)
        };
        assert!(matches!(
            judge(&tired, arrival(OLD)),
            Verdict::Ended(Outcome::Failed(_))
        ));
        let stopped = InFlight {
            group_is_on: false,
            ..in_flight(Status::Told)
        };
        assert!(matches!(
            judge(&stopped, arrival(OLD)),
            Verdict::Ended(Outcome::Withdrawn(_))
        ));
    }
}
