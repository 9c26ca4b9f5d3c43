//! What the U-Boot environment says of the slots, by the names that Nerves gave its variables.

use std::collections::BTreeMap;

use muster_fwup::uboot_env::{UbootEnv, UbootEnvError};
use muster_link::FirmwareReport;

use super::{FwEnv, FwEnvError};

/// Names the active slot.
pub const ACTIVE: &str = "nerves_fw_active";
/// Whether the active slot is here to stay: `0` or `1`. Some boards keep one per slot.
pub const VALIDATED: &str = "nerves_fw_validated";

/// The active slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name, `a` or `b`.
    pub slot: String,
    /// Its variables, without the slot's prefix.
    pub variables: BTreeMap<String, String>,
    /// Whether it is here to stay; absent where nothing says so.
    pub validated: Option<bool>,
    /// Whether the other slot holds firmware that was tried and not validated (device-link §5.2).
    pub other_unvalidated: bool,
}

impl Facts {
    /// Reads them; none where the environment names no active slot.
    pub fn read(env: &UbootEnv) -> Option<Self> {
        let slot = env.get(ACTIVE).filter(|slot| !slot.is_empty())?.to_owned();
        let prefix = format!("{slot}.");
        let variables = env
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?.to_owned(), value)))
            .collect();
        Some(Self {
            variables,
            validated: env.get(&validated_name(env, &slot)).map(|value| value == "1"),
            other_unvalidated: unvalidated(env, other(&slot)),
            slot,
        })
    }

    /// One of the active slot's variables; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The running firmware's UUID, empty if the slot does not say.
    pub fn uuid(&self) -> &str {
        self.get("nerves_fw_uuid").unwrap_or_default()
    }

    /// The running firmware's version, empty if the slot does not say.
    pub fn version(&self) -> &str {
        self.get("nerves_fw_version").unwrap_or_default()
    }

    /// Whether the boot loader may still go back.
    pub fn unvalidated(&self) -> bool {
        self.validated == Some(false)
    }

    /// The slot's variables in the shape of a join: the known ones by name, the others as they are.
    pub fn report(&self) -> (FirmwareReport, BTreeMap<String, String>) {
        let mut rest = self.variables.clone();
        let mut take = |name: &str| rest.remove(&format!("nerves_fw_{name}"));
        let firmware = FirmwareReport {
            uuid: take("uuid"),
            product: take("product"),
            architecture: take("architecture"),
            version: take("version"),
            platform: take("platform"),
            author: take("author"),
            description: take("description"),
            vcs_identifier: take("vcs_identifier"),
            misc: take("misc"),
        };
        // The join's own fields must not appear twice.
        for own in [
            "fwup_version",
            "device_api_version",
            "currently_downloading_uuid",
            "meta",
        ] {
            rest.remove(own);
        }
        (firmware, rest)
    }
}

/// The slot that is not this one.
pub fn other(slot: &str) -> &'static str {
    if slot == "a" { "b" } else { "a" }
}

/// Marks the active slot as here to stay.
///
/// # Errors
/// When the environment has no room.
pub fn mark_validated(env: &mut UbootEnv) -> Result<(), UbootEnvError> {
    let own = env.get(ACTIVE).map(|slot| format!("{slot}.{VALIDATED}"));
    if let Some(own) = own.filter(|own| env.get(own).is_some()) {
        env.set(own, "1")?;
        if env.get(VALIDATED).is_none() {
            return Ok(());
        }
    }
    env.set(VALIDATED, "1")
}

/// Marks the active slot as here to stay, on disk.
pub(super) fn validate(fw_env: &FwEnv) -> Result<(), FwEnvError> {
    let mut env = fw_env.load()?;
    mark_validated(&mut env).map_err(FwEnvError::NoRoom)?;
    fw_env.save(&env)
}

fn validated_name(env: &UbootEnv, slot: &str) -> String {
    let own = format!("{slot}.{VALIDATED}");
    if env.get(&own).is_some() {
        own
    } else {
        VALIDATED.to_owned()
    }
}

fn unvalidated(env: &UbootEnv, slot: &str) -> bool {
    let get = |name: &str| env.get(&format!("{slot}.{name}")).unwrap_or_default();
    get(VALIDATED) == "0" && !get("nerves_fw_platform").is_empty() && !get("nerves_fw_architecture").is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> UbootEnv {
        let mut env = UbootEnv::new();
        for (name, value) in variables {
            env.set(name, value).unwrap();
        }
        env
    }

    #[test]
    fn active_slot_is_reported_whole_and_without_its_prefix() {
        let env = env(&[
            ("nerves_fw_active", "b"),
            ("nerves_fw_validated", "1"),
            ("a.nerves_fw_version", "1.0.0"),
            ("b.nerves_fw_version", "1.1.0"),
            ("b.nerves_fw_uuid", "u"),
            ("b.nerves_fw_application_part0_fstype", "f2fs"),
            ("b.meta", "odd"),
        ]);
        let facts = Facts::read(&env).unwrap();
        assert_eq!(
            (facts.slot.as_str(), facts.uuid(), facts.version()),
            ("b", "u", "1.1.0")
        );
        assert_eq!(facts.validated, Some(true));
        let (firmware, rest) = facts.report();
        assert_eq!(firmware.version.as_deref(), Some("1.1.0"));
        assert_eq!(rest.len(), 1);
        assert_eq!(rest["nerves_fw_application_part0_fstype"], "f2fs");
    }

    #[test]
    fn no_active_slot_is_no_facts() {
        assert_eq!(Facts::read(&env(&[])), None);
        assert_eq!(Facts::read(&env(&[("nerves_fw_active", "")])), None);
    }

    #[test]
    fn validation_is_per_slot_where_the_board_keeps_it_so() {
        let mut env = env(&[("nerves_fw_active", "a"), ("a.nerves_fw_validated", "0")]);
        assert!(Facts::read(&env).unwrap().unvalidated());
        mark_validated(&mut env).unwrap();
        assert_eq!(Facts::read(&env).unwrap().validated, Some(true));
        assert_eq!(env.get("nerves_fw_validated"), None);
    }

    #[test]
    fn unvalidated_firmware_in_the_other_slot_is_a_revert() {
        let mut env = env(&[
            ("nerves_fw_active", "a"),
            ("b.nerves_fw_validated", "0"),
            ("b.nerves_fw_platform", "generic"),
        ]);
        assert!(!Facts::read(&env).unwrap().other_unvalidated);
        env.set("b.nerves_fw_architecture", "x86_64").unwrap();
        assert!(Facts::read(&env).unwrap().other_unvalidated);
    }
}
