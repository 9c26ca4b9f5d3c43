//! What the process is told while it runs: by lines on standard input, and by signals.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::watch;

use super::link::Fleet;
use super::output;

/// More devices than any process has.
const ALL: usize = 1_000_000;

/// What every link should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Be connected.
    Up,
    /// Be gone: connections are dropped without a goodbye.
    Down,
    /// End.
    Quit,
}

/// Reads commands until the input ends, which is a command to end.
pub async fn read(mode: watch::Sender<Mode>, fleet: &Fleet) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let next = match line.trim() {
            "up" => {
                fleet.tally.begin_anew();
                Mode::Up
            }
            "down" => Mode::Down,
            "full" | "resume" => {
                fleet.sessions.allow(line.trim() == "resume");
                continue;
            }
            "all" => {
                fleet.gate.add_permits(ALL);
                continue;
            }
            "beats" => {
                output::line(&fleet.tally.beats());
                continue;
            }
            "quiet" | "loud" => {
                fleet.quiet.store(line.trim() == "quiet", Ordering::Relaxed);
                continue;
            }
            "quit" => break,
            _ => continue,
        };
        mode.send_replace(next);
    }
    mode.send_replace(Mode::Quit);
}

/// Ends the links at Ctrl-C or SIGTERM.
pub async fn heed_signals(mode: watch::Sender<Mode>) -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended?,
        _ = terminate.recv() => {}
    }
    mode.send_replace(Mode::Quit);
    Ok(())
}
