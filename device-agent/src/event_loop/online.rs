//! The link, and what speaks over it beside the update: console and extensions.

use muster_link::{ConsoleJoin, DeviceApiVersion, FromConsole, Topic};
use tokio::sync::mpsc;

use crate::config::Settings;
use crate::console::{self, Console};
use crate::extensions::Extensions;
use crate::link::{Command, Event, Link, LinkSettings, Say, Voice};

/// The link and those who use it by themselves; dropped, they end.
#[derive(Debug)]
pub(super) struct Online {
    link: Link,
    pub console: Option<Console>,
    pub extensions: Extensions,
}

impl Online {
    /// Begins to dial.
    pub(super) fn start(settings: &Settings, link: LinkSettings, events: mpsc::Sender<Event>) -> Self {
        let link = Link::start(link, events);
        let console = settings.console.clone();
        Self {
            console: console.enabled.then(|| Console::start(console, link.voice())),
            extensions: Extensions::new(settings.extensions.clone(), link.voice()),
            link,
        }
    }

    /// Tells the link something.
    pub(super) fn tell(&self, command: Command) {
        self.link.tell(command);
    }

    /// A way to say something that waits until the link takes it.
    pub(super) fn voice(&self) -> Voice {
        self.link.voice()
    }

    /// Whether the link's task runs.
    pub(super) fn is_alive(&self) -> bool {
        self.link.is_alive()
    }

    /// Says goodbye.
    pub(super) async fn close(self) {
        self.link.close().await;
    }

    /// What joins a topic beside `device`; nothing where the device does without it.
    pub(super) fn join(&self, topic: Topic) -> Option<Say> {
        match topic {
            Topic::Console => self.console.as_ref().map(|_| console_join().into()),
            Topic::Extensions => self.extensions.join().map(Say::from),
            Topic::Device | Topic::Phoenix | Topic::Unknown => None,
        }
    }
}

fn console_join() -> FromConsole {
    FromConsole::Join(ConsoleJoin {
        console_version: Some(console::VERSION.to_owned()),
        device_api_version: Some(DeviceApiVersion::OURS.to_owned()),
    })
}
