//! Terminals of devices: the console and the system shell. What they print goes to whoever watches on this node, and the
//! last of it is kept for who opens the page next (device-link §3.4). Nothing of it is stored or logged.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_link::{FromConsole, FromExtensions, ShellStatus};
use tokio::sync::broadcast;

use super::session::Relay;
use crate::devices::DeviceId;
use crate::devices::model::LinkId;

/// Lines that are kept of a terminal, beside the unfinished one.
const LINES_MAX: usize = 1024;
/// Bytes that are kept of a terminal.
const BYTES_MAX: usize = 256 * 1024;
/// Bytes that are kept of all terminals of the node; over it nothing more is kept of those that nobody watches.
const NODE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages that a slow watcher may lag behind; it learns that it missed some.
const BACKLOG: usize = 64;

/// A device's terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Terminal {
    /// The topic `console`.
    Console,
    /// The extension `local_shell`.
    Shell,
}

/// What a terminal says to who watches.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Text as it was printed.
    Text(String),
    /// A file that the device sends.
    File(FromConsole),
    /// The shell began or ended.
    Shell(FromExtensions),
}

/// A terminal that is watched.
#[derive(Debug)]
pub struct Watch {
    /// What was printed before.
    pub before: String,
    /// What comes from now on; one that lags is told so.
    pub output: broadcast::Receiver<Arc<Output>>,
}

#[derive(Debug)]
struct Screen {
    link: LinkId,
    lines: VecDeque<String>,
    unfinished: String,
    bytes: usize,
    watchers: broadcast::Sender<Arc<Output>>,
}

/// The terminals of this node's links.
#[derive(Debug, Default)]
pub struct Terminals {
    screens: Mutex<HashMap<(DeviceId, Terminal), Screen>>,
    bytes: AtomicUsize,
}

impl Terminals {
    fn screens(&self) -> MutexGuard<'_, HashMap<(DeviceId, Terminal), Screen>> {
        self.screens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a terminal that is open; `None` where the device has none on this node.
    pub fn watch(&self, device: DeviceId, terminal: Terminal) -> Option<Watch> {
        let screens = self.screens();
        let screen = screens.get(&(device, terminal))?;
        Some(Watch {
            before: screen.text(),
            output: screen.watchers.subscribe(),
        })
    }

    /// Takes what a terminal said.
    pub(super) fn hear(&self, device: DeviceId, link: LinkId, said: Relay) {
        let (terminal, output, begins) = match said {
            Relay::Console(FromConsole::Join(_)) => (Terminal::Console, None, true),
            Relay::Console(FromConsole::Up(text)) => (Terminal::Console, Some(Output::Text(text)), false),
            Relay::Console(file) => (Terminal::Console, Some(Output::File(file)), false),
            Relay::Shell(FromExtensions::ShellOutput(text)) => (Terminal::Shell, Some(Output::Text(text)), false),
            Relay::Shell(shell) => {
                let begins = shell == FromExtensions::ShellStatus(ShellStatus::Started);
                (Terminal::Shell, Some(Output::Shell(shell)), begins)
            }
            Relay::Script(_) | Relay::NoScripts(_) => return,
        };
        let mut screens = self.screens();
        let screen = screens.entry((device, terminal)).or_insert_with(|| Screen::new(link));
        let before = screen.bytes;
        if begins || screen.link != link {
            screen.clear(link);
        }
        if let Some(Output::Text(text)) = &output {
            let full = self.bytes.load(Ordering::Relaxed) > NODE_BYTES_MAX;
            if full && screen.watchers.receiver_count() == 0 {
                screen.clear(link);
            } else {
                screen.keep(text);
            }
        }
        // Added first: the sum never goes below nothing.
        self.bytes.fetch_add(screen.bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        if let Some(output) = output {
            // Nobody watches: nothing is lost.
            let _ = screen.watchers.send(Arc::new(output));
        }
    }

    /// A link ended: its terminals are gone, and who watches them learns it.
    pub(super) fn leave(&self, device: DeviceId, link: LinkId) {
        let mut screens = self.screens();
        for terminal in [Terminal::Console, Terminal::Shell] {
            if screens
                .get(&(device, terminal))
                .is_some_and(|screen| screen.link == link)
                && let Some(screen) = screens.remove(&(device, terminal))
            {
                self.bytes.fetch_sub(screen.bytes, Ordering::Relaxed);
            }
        }
    }
}

impl Screen {
    fn new(link: LinkId) -> Self {
        Self {
            link,
            lines: VecDeque::new(),
            unfinished: String::new(),
            bytes: 0,
            watchers: broadcast::Sender::new(BACKLOG),
        }
    }

    fn clear(&mut self, link: LinkId) {
        self.link = link;
        self.lines = VecDeque::new();
        self.unfinished = String::new();
        self.bytes = 0;
    }

    fn keep(&mut self, text: &str) {
        for part in text.split_inclusive('\n') {
            self.unfinished.push_str(part);
            self.bytes += part.len();
            if part.ends_with('\n') {
                self.lines.push_back(std::mem::take(&mut self.unfinished));
            }
        }
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            if let Some(line) = self.lines.pop_front() {
                self.bytes -= line.len();
            } else {
                let cut = self.unfinished.ceil_char_boundary(self.bytes - BYTES_MAX);
                self.unfinished.drain(..cut);
                self.bytes -= cut;
            }
        }
    }

    fn text(&self) -> String {
        let lines = self.lines.iter().map(String::as_str);
        lines.chain([self.unfinished.as_str()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));
    const LINK: LinkId = LinkId(Uuid::from_u128(1));

    fn up(text: &str) -> Relay {
        Relay::Console(FromConsole::Up(text.to_owned()))
    }

    fn before(terminals: &Terminals) -> String {
        terminals.watch(DEVICE, Terminal::Console).unwrap().before
    }

    #[test]
    fn who_opens_the_page_sees_what_was_printed_and_what_comes() {
        let terminals = Terminals::default();
        assert!(terminals.watch(DEVICE, Terminal::Console).is_none());
        terminals.hear(DEVICE, LINK, up("a\nb"));
        let mut watch = terminals.watch(DEVICE, Terminal::Console).unwrap();
        assert_eq!(watch.before, "a\nb");
        terminals.hear(DEVICE, LINK, up("c\n"));
        assert_eq!(*watch.output.try_recv().unwrap(), Output::Text("c\n".into()));
        assert_eq!(before(&terminals), "a\nbc\n");
    }

    #[test]
    fn lines_and_bytes_are_bounded() {
        let terminals = Terminals::default();
        for line in 0..LINES_MAX + 10 {
            terminals.hear(DEVICE, LINK, up(&format!("{line}\n")));
        }
        let text = before(&terminals);
        assert!(text.starts_with("10\n") && text.lines().count() == LINES_MAX);
        for _ in 0..5 {
            terminals.hear(DEVICE, LINK, up(&"é".repeat(50_000)));
        }
        assert!((BYTES_MAX - 1..=BYTES_MAX).contains(&before(&terminals).len()));
        assert_eq!(terminals.bytes.load(Ordering::Relaxed), before(&terminals).len());
    }

    #[test]
    fn slow_watcher_learns_that_it_missed_something() {
        let terminals = Terminals::default();
        terminals.hear(DEVICE, LINK, up(""));
        let mut watch = terminals.watch(DEVICE, Terminal::Console).unwrap();
        for _ in 0..=BACKLOG {
            terminals.hear(DEVICE, LINK, up("x"));
        }
        assert_eq!(watch.output.try_recv(), Err(broadcast::error::TryRecvError::Lagged(1)));
    }

    #[test]
    fn each_link_and_each_shell_has_its_own_text() {
        let terminals = Terminals::default();
        terminals.hear(DEVICE, LINK, up("old"));
        let newer = LinkId(Uuid::from_u128(2));
        terminals.hear(DEVICE, newer, up("new"));
        assert_eq!(before(&terminals), "new");
        terminals.leave(DEVICE, LINK);
        assert_eq!(
            before(&terminals),
            "new",
            "a late goodbye of the old link changes nothing"
        );
        let started = || Relay::Shell(FromExtensions::ShellStatus(ShellStatus::Started));
        let output = |text: &str| Relay::Shell(FromExtensions::ShellOutput(text.into()));
        for said in [started(), output("$ 1"), started(), output("$ 2")] {
            terminals.hear(DEVICE, newer, said);
        }
        assert_eq!(terminals.watch(DEVICE, Terminal::Shell).unwrap().before, "$ 2");
        terminals.leave(DEVICE, newer);
        assert!(terminals.watch(DEVICE, Terminal::Shell).is_none());
        assert_eq!(terminals.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn over_the_nodes_bound_nothing_more_is_kept_of_what_nobody_watches() {
        let terminals = Terminals::default();
        terminals.bytes.store(NODE_BYTES_MAX + 1, Ordering::Relaxed);
        terminals.hear(DEVICE, LINK, up("lost"));
        let watch = terminals.watch(DEVICE, Terminal::Console).unwrap();
        assert_eq!(watch.before, "");
        terminals.hear(DEVICE, LINK, up("kept"));
        assert_eq!(before(&terminals), "kept");
    }
}
