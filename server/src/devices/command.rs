//! What an operator asks of devices that are connected. It is told once and kept for nobody: a device that is away then
//! never hears of it.

use std::str::FromStr;

use crate::platform::events::kind;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Make yourself seen, such as by blinking.
    Identify,
    /// Reboot now.
    Reboot,
    /// Connect anew: the link is closed, and the device dials again.
    Reconnect,
}

/// Whom a command reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// The device that is the news' subject.
    Device,
    /// Every connected device of the product that is the news' subject.
    Product,
}

/// A command of another name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("is none of identify, reboot and reconnect")]
pub struct UnknownCommand;

impl Command {
    /// Every command, the mildest first.
    pub const ALL: [Self; 3] = [Self::Identify, Self::Reconnect, Self::Reboot];

    /// Its name in paths and bodies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Reboot => "reboot",
            Self::Reconnect => "reconnect",
        }
    }

    /// The kind of the news that carries it.
    pub fn news(self, reach: Reach) -> &'static str {
        match (self, reach) {
            (Self::Identify, Reach::Device) => kind::IDENTIFY,
            (Self::Identify, Reach::Product) => kind::IDENTIFY_ALL,
            (Self::Reboot, Reach::Device) => kind::REBOOT,
            (Self::Reboot, Reach::Product) => kind::REBOOT_ALL,
            (Self::Reconnect, Reach::Device) => kind::RECONNECT,
            (Self::Reconnect, Reach::Product) => kind::RECONNECT_ALL,
        }
    }

    /// The command that news of this kind carries, if any.
    pub fn of_news(kind: &str) -> Option<(Self, Reach)> {
        let all = Self::ALL
            .into_iter()
            .flat_map(|command| [(command, Reach::Device), (command, Reach::Product)]);
        all.into_iter().find(|(command, reach)| command.news(*reach) == kind)
    }

    /// The act in the audit log.
    pub(super) fn act(self) -> &'static str {
        match self {
            Self::Identify => "device.asked_to_identify",
            Self::Reboot => "device.asked_to_reboot",
            Self::Reconnect => "device.asked_to_reconnect",
        }
    }
}

impl FromStr for Command {
    type Err = UnknownCommand;

    fn from_str(name: &str) -> Result<Self, UnknownCommand> {
        let mut all = Self::ALL.into_iter();
        all.find(|command| command.name() == name).ok_or(UnknownCommand)
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Reach, UnknownCommand};

    #[test]
    fn a_command_is_found_by_its_name_and_by_its_news() {
        for command in Command::ALL {
            assert_eq!(command.name().parse(), Ok(command));
            for reach in [Reach::Device, Reach::Product] {
                assert_eq!(Command::of_news(command.news(reach)), Some((command, reach)));
            }
        }
        assert_eq!("explode".parse::<Command>(), Err(UnknownCommand));
        assert_eq!(Command::of_news("device.changed"), None);
    }
}
