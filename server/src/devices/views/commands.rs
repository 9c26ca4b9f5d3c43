//! What is shown before connected devices are asked something.

use askama::Template;

use crate::devices::command::Command;
use crate::devices::model::Device;
use crate::web::forms::Wrong;
use crate::web::page::Frame;
use crate::web::words;

/// Asks before a device is rebooted.
#[derive(Template)]
#[template(path = "devices/reboot.html")]
pub(in crate::devices) struct RebootPage<'a> {
    pub frame: Frame,
    pub device: &'a Device,
    pub url: String,
}

/// Asks all connected devices of a product something.
#[derive(Template)]
#[template(path = "devices/commands.html")]
pub(in crate::devices) struct CommandsPage {
    pub frame: Frame,
    pub url: String,
    pub devices: i64,
    pub connected: i64,
    /// What is chosen.
    pub chosen: Command,
    /// What was just asked, and of how many.
    pub asked: Option<(Command, i64)>,
    pub wrong: Wrong,
}

impl CommandsPage {
    fn choices() -> [(&'static str, &'static str, &'static str); 3] {
        Command::ALL.map(|command| match command {
            Command::Identify => (
                command.name(),
                "Identify",
                "Each makes itself seen, as its firmware does that.",
            ),
            Command::Reconnect => (
                command.name(),
                "Reconnect",
                "Each link is closed and dialled again: new signing keys are sent at the join.",
            ),
            Command::Reboot => (
                command.name(),
                "Reboot",
                "Each reboots now, updates in progress included.",
            ),
        })
    }

    fn is_chosen(&self, name: &str) -> bool {
        self.chosen.name() == name
    }

    fn said(&self) -> Option<String> {
        let (command, count) = self.asked?;
        let devices = words::count(count, "connected device", "connected devices");
        Some(format!("{devices} asked to {}.", command.name()))
    }
}
