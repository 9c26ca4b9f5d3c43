//! What became of the update that was under way when the agent last stopped.

use super::state::{Pending, Persisted, Phase, Reverted};

/// What the platform knows after a boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Booted {
    /// The firmware of the active slot.
    pub uuid: String,
    /// Whether it is here to stay; where nothing says so it is.
    pub validated: bool,
    /// Names this boot; another one after every reboot.
    pub boot_id: String,
    /// Why the boot loader left the firmware that was tried, if it said so.
    pub revert: Option<Reverted>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was under way.
    Nothing,
    /// The new firmware runs and stays.
    Updated,
    /// The new firmware runs and must be validated.
    Trying,
    /// The boot loader went back.
    Reverted,
    /// The agent stopped in the middle; the slot that runs was not touched.
    Interrupted,
    /// The new firmware is selected and the reboot has not happened yet.
    RebootDue,
}

/// Decides from what was written before and what runs now. The new state is to be saved before anything else.
pub fn resolve(before: Persisted, booted: &Booted) -> (Persisted, Outcome) {
    let outcome = outcome(&before.phase, booted);
    let after = match outcome {
        Outcome::Nothing => before,
        Outcome::Updated => Persisted::default(),
        Outcome::Trying => Persisted {
            phase: trying(before.phase),
            ..Persisted::default()
        },
        Outcome::Reverted => reverted(&before, booted),
        Outcome::Interrupted => Persisted {
            phase: Phase::Idle,
            ..before
        },
        Outcome::RebootDue => Persisted {
            phase: reboot_due(before.phase),
            ..before
        },
    };
    (after, outcome)
}

fn outcome(phase: &Phase, booted: &Booted) -> Outcome {
    let runs = phase.uuid() == Some(booted.uuid.as_str());
    match phase {
        Phase::Applying { boot_id, .. } | Phase::Rebooting { boot_id, .. } if runs && *boot_id == booted.boot_id => {
            Outcome::RebootDue
        }
        Phase::Applying { .. } | Phase::Rebooting { .. } | Phase::Trying { .. } if runs => {
            if booted.validated {
                Outcome::Updated
            } else {
                Outcome::Trying
            }
        }
        Phase::Rebooting { .. } | Phase::Trying { .. } => Outcome::Reverted,
        // The switch, the reboot and the way back may all have happened before anything could be written.
        Phase::Idle | Phase::Holding { .. } | Phase::Applying { .. } if booted.revert.is_some() => Outcome::Reverted,
        Phase::Applying { .. } => Outcome::Interrupted,
        Phase::Idle | Phase::Holding { .. } => Outcome::Nothing,
    }
}

fn trying(phase: Phase) -> Phase {
    match phase {
        Phase::Applying {
            uuid,
            version,
            from_uuid,
            ..
        }
        | Phase::Rebooting {
            uuid,
            version,
            from_uuid,
            ..
        } => Phase::Trying {
            uuid,
            version,
            from_uuid,
        },
        phase @ (Phase::Idle | Phase::Holding { .. } | Phase::Trying { .. }) => phase,
    }
}

fn reboot_due(phase: Phase) -> Phase {
    match phase {
        Phase::Applying {
            uuid,
            version,
            from_uuid,
            boot_id,
            ..
        } => Phase::Rebooting {
            uuid,
            version,
            from_uuid,
            boot_id,
        },
        phase @ (Phase::Idle | Phase::Holding { .. } | Phase::Rebooting { .. } | Phase::Trying { .. }) => phase,
    }
}

fn reverted(before: &Persisted, booted: &Booted) -> Persisted {
    let revert = booted.revert.clone().unwrap_or_else(|| Reverted {
        uuid: before.phase.uuid().unwrap_or_default().to_owned(),
        reason: "the boot loader went back to the previous firmware".to_owned(),
    });
    Persisted {
        pending: Some(Pending::Failed {
            reason: format!("reverted: {}", revert.reason),
        }),
        reverted: Some(revert),
        ..Persisted::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applying() -> Persisted {
        Persisted {
            phase: Phase::Applying {
                uuid: "new".into(),
                version: "1.1.0".into(),
                from_uuid: "old".into(),
                slot: "a".into(),
                attempt: 1,
                boot_id: "boot-1".into(),
            },
            ..Persisted::default()
        }
    }

    fn in_phase(phase: Phase) -> Persisted {
        Persisted {
            phase,
            ..Persisted::default()
        }
    }

    fn rebooting() -> Persisted {
        in_phase(reboot_due(applying().phase))
    }

    fn tried() -> Persisted {
        in_phase(trying(applying().phase))
    }

    fn booted(uuid: &str, boot_id: &str) -> Booted {
        Booted {
            uuid: uuid.into(),
            validated: false,
            boot_id: boot_id.into(),
            revert: None,
        }
    }

    #[test]
    fn new_firmware_after_a_reboot_is_tried_until_it_is_validated() {
        for before in [applying(), rebooting(), tried()] {
            let unvalidated = booted("new", "boot-2");
            assert_eq!(resolve(before.clone(), &unvalidated), (tried(), Outcome::Trying));
            let validated = Booted {
                validated: true,
                ..unvalidated
            };
            assert_eq!(resolve(before, &validated), (Persisted::default(), Outcome::Updated));
        }
    }

    #[test]
    fn selected_firmware_without_a_reboot_reboots_again() {
        for before in [applying(), rebooting()] {
            let after = resolve(before, &booted("new", "boot-1"));
            assert_eq!(after, (rebooting(), Outcome::RebootDue));
        }
    }

    #[test]
    fn old_firmware_in_the_middle_is_an_interruption_and_owes_no_report() {
        let after = resolve(applying(), &booted("old", "boot-2"));
        assert_eq!(after, (Persisted::default(), Outcome::Interrupted));
    }

    #[test]
    fn old_firmware_after_the_reboot_is_a_revert_that_is_reported() {
        for before in [rebooting(), tried()] {
            let (after, outcome) = resolve(before, &booted("old", "boot-3"));
            assert_eq!(outcome, Outcome::Reverted);
            assert_eq!(after.phase, Phase::Idle);
            assert_eq!(after.reverted.unwrap().uuid, "new");
            let Some(Pending::Failed { reason }) = after.pending else {
                panic!("{:?}", after.pending);
            };
            assert!(reason.starts_with("reverted: "), "{reason}");
        }
    }

    #[test]
    fn boot_loaders_reason_is_reported_even_if_nothing_was_written_before() {
        let revert = Reverted {
            uuid: "new".into(),
            reason: "not validated".into(),
        };
        let booted = Booted {
            revert: Some(revert.clone()),
            ..booted("old", "boot-3")
        };
        for before in [Persisted::default(), applying(), rebooting(), tried()] {
            let (after, outcome) = resolve(before, &booted);
            assert_eq!(outcome, Outcome::Reverted);
            assert_eq!(after.reverted, Some(revert.clone()));
            let reason = "reverted: not validated".into();
            assert_eq!(after.pending, Some(Pending::Failed { reason }));
        }
    }
}
