//! Why a device is or is not updating, in one sentence. Pure: the same facts that the scheduler goes by.

use time::OffsetDateTime;

use super::model::{Group, Status};
use crate::devices::{Connection, Device, Validation};

/// What an operator reads beside a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It runs its group's release.
    UpToDate(String),
    /// It is on its way.
    Updating(String),
    /// It will be told by itself.
    Waits(String),
    /// It waits until then, by itself.
    WaitsUntil(String, OffsetDateTime),
    /// Someone must act.
    Held(String),
}

/// Why this device is or is not updating. `slots` are the group's updates in flight.
pub fn why(device: &Device, group: Option<&Group>, in_flight: Option<Status>, slots: i64, now: OffsetDateTime) -> Why {
    if let Some(status) = in_flight {
        return Why::Updating(on_its_way(status).to_owned());
    }
    let Some(version) = &device.firmware_version else {
        return Why::Waits("It has never reported its firmware; it is looked at when it connects.".to_owned());
    };
    let Some(group) = group else {
        return Why::Held(format!(
            "No running deployment takes it: none matches its tags, its version {version}, its platform and its architecture."
        ));
    };
    if device.firmware_uuid == Some(group.firmware_uuid) {
        return Why::UpToDate(format!("It runs {version}, the release of {}.", group.name));
    }
    let target = &group.firmware_version;
    if !device.updates_enabled {
        return Why::Held(format!(
            "Updates are switched off for this device; {target} waits for it."
        ));
    }
    if !group.is_on {
        return Why::Held(format!("The deployment {} is paused; {target} waits.", group.name));
    }
    if let Some(until) = device.updates_blocked_until.filter(|until| *until > now) {
        return Why::WaitsUntil(
            format!("It is left alone after its last attempt; {target} is offered again"),
            until,
        );
    }
    if device.validation == Validation::NotValidated {
        return Why::Waits(format!(
            "Its running firmware {version} is not validated yet; {target} is offered after that."
        ));
    }
    if device.connection != Connection::Connected {
        return Why::Waits(format!("It is not connected; {target} is offered when it is."));
    }
    if slots >= i64::from(group.concurrent_updates) {
        return Why::Waits(format!(
            "{slots} of {} updates of {} run now; it is told when one has ended.",
            group.concurrent_updates, group.name
        ));
    }
    Why::Waits(format!("It is told of {target} next."))
}

fn on_its_way(status: Status) -> &'static str {
    match status {
        Status::Assigned => "It has its slot and is told next.",
        Status::Told | Status::Received => "It was told and decides what to do.",
        Status::Started | Status::Downloading => "It downloads the firmware.",
        Status::Updating => "It writes the firmware to its other slot.",
        Status::Completed => "The firmware is written; it reboots.",
        _ => "Its update has ended.",
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;
    use crate::accounts::OrgId;
    use crate::deployments::GroupId;
    use crate::deployments::model::TagOperator;
    use crate::devices::DeviceId;
    use crate::products::ProductId;

    const NOW: OffsetDateTime = datetime!(2026-11-21 14:00 UTC);

    fn device() -> Device {
        Device {
            id: DeviceId(Uuid::nil()),
            org_id: OrgId(Uuid::nil()),
            org_name: "acme".to_owned(),
            product_id: ProductId(Uuid::nil()),
            product_name: "kiosk".to_owned(),
            identifier: "kiosk-0001".to_owned(),
            description: String::new(),
            tags: Vec::new(),
            updates_enabled: true,
            updates_blocked_until: None,
            extensions_off: Vec::new(),
            first_seen_at: None,
            created_at: NOW,
            deleted_at: None,
            connection: Connection::Connected,
            connected_at: None,
            disconnected_at: None,
            disconnect_reason: None,
            last_seen_at: None,
            address: None,
            interface: None,
            api_version: None,
            fwup_version: None,
            firmware_uuid: Some(Uuid::nil()),
            firmware_product: None,
            firmware_version: Some("1.0.0".to_owned()),
            firmware_platform: None,
            firmware_architecture: None,
            firmware_author: None,
            firmware_description: None,
            firmware_vcs_identifier: None,
            firmware_misc: None,
            firmware_since: None,
            validation: Validation::Validated,
            auto_reverted: false,
            update_status: None,
            update_percent: None,
        }
    }

    fn group() -> Group {
        Group {
            id: GroupId(Uuid::nil()),
            name: "everyone".to_owned(),
            is_on: true,
            tags: Vec::new(),
            tag_operator: TagOperator::And,
            version_requirement: String::new(),
            concurrent_updates: 3,
            penalty_seconds: 86_400,
            notes: None,
            created_at: NOW,
            release_number: 1,
            released_at: NOW,
            firmware_id: Uuid::max(),
            firmware_uuid: Uuid::max(),
            firmware_version: "1.1.0".to_owned(),
            firmware_platform: "x".to_owned(),
            firmware_architecture: "y".to_owned(),
            archive_uuid: None,
            archive_version: None,
            connecting_code: String::new(),
            device_count: 8,
        }
    }

    fn says(device: &Device, group: Option<&Group>, slots: i64) -> String {
        match why(device, group, None, slots, NOW) {
            Why::UpToDate(text)
            | Why::Updating(text)
            | Why::Waits(text)
            | Why::WaitsUntil(text, _)
            | Why::Held(text) => text,
        }
    }

    #[test]
    fn the_first_thing_in_the_way_is_named() {
        let group = group();
        assert!(says(&device(), None, 0).contains("No running deployment"));
        assert!(says(&device(), Some(&group), 0).contains("told of 1.1.0 next"));
        assert!(says(&device(), Some(&group), 3).contains("3 of 3 updates"));
        let offline = Device {
            connection: Connection::Disconnected,
            ..device()
        };
        assert!(says(&offline, Some(&group), 0).contains("not connected"));
        let off = Device {
            updates_enabled: false,
            ..device()
        };
        assert!(says(&off, Some(&group), 0).contains("switched off"));
        let paused = Group {
            is_on: false,
            ..group.clone()
        };
        assert!(says(&device(), Some(&paused), 0).contains("is paused"));
        let current = Device {
            firmware_uuid: Some(Uuid::max()),
            ..device()
        };
        assert!(says(&current, Some(&paused), 0).contains("the release of everyone"));
    }

    #[test]
    fn a_block_says_when_it_ends() {
        let until = datetime!(2026-11-22 14:00 UTC);
        let blocked = Device {
            updates_blocked_until: Some(until),
            ..device()
        };
        assert!(matches!(why(&blocked, Some(&group()), None, 0, NOW), Why::WaitsUntil(_, at) if at == until));
    }
}
