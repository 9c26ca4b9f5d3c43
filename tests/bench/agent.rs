//! What the agent costs a device in memory: idle, and while it updates by each strategy.
//!
//! The figures are the largest of many looks at `VmRSS` in `/proc`, pages of the program's file included; `own` is without them
//! (`RssAnon`). A look every few milliseconds sees every buffer that lives longer.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use muster_tests::{Board, Kiosk, Power, World};
use tokio::time::{Instant, sleep};

use super::output::{self, Figures};

/// Every figure of this part.
pub const NAMES: [&str; 5] = [
    "agent.idle_bytes",
    "agent.idle_own_bytes",
    "agent.streaming_bytes",
    "agent.caching_bytes",
    "agent.parts_bytes",
];
/// Bytes of the firmware that is downloaded: many times what the agent may hold.
const ROOT_BYTES: usize = 64_000_000;
/// An agent is idle when it has been joined for so long.
const IDLE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// No step takes longer.
const PATIENCE: Duration = Duration::from_mins(3);

/// Measures on a server of its own.
pub async fn measure(figures: &Figures) -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let kiosk = |version| Kiosk {
        root_bytes: ROOT_BYTES,
        ..Kiosk::new("kiosk", version)
    };
    let (old, _) = world.firmware(&kiosk("1.0.0")).await?;
    let (new, uuid) = world.firmware(&kiosk("1.1.0")).await?;
    output::note(format_args!("the firmware has {} bytes", new.len()));
    let mut boards = Vec::new();
    for strategy in ["streaming", "caching", "parts"] {
        let board = world.board(&format!("kiosk-{strategy}"), &old, "").await?;
        set_strategy(&board, strategy)?;
        let power = board.power_on()?;
        board.until_runs(&world.api, &world.product, "1.0.0", PATIENCE).await?;
        boards.push((strategy, board, power));
    }
    sleep(IDLE).await;
    for (figure, field) in [("agent.idle_bytes", "VmRSS:"), ("agent.idle_own_bytes", "RssAnon:")] {
        let mut idle = 0;
        for (_, _, power) in &mut boards {
            idle = idle.max(memory(power, field)?);
        }
        figures.print(figure, idle as f64, "bytes", boards.len());
    }

    world.deploy("all", &uuid, 1).await?;
    let mut peaks = vec![(0, 0); boards.len()];
    let deadline = Instant::now() + PATIENCE;
    while boards.iter().any(|(_, board, _)| !is_done(board)) {
        ensure!(Instant::now() < deadline, "the boards do not update in time");
        for ((peak, looks), (_, board, power)) in peaks.iter_mut().zip(&mut boards) {
            // After the update another firmware runs.
            if !is_done(board) {
                *peak = memory(power, "VmRSS:")?.max(*peak);
                *looks += 1;
            }
        }
        sleep(LOOK_EVERY).await;
    }
    for ((peak, looks), (strategy, _, _)) in peaks.into_iter().zip(&boards) {
        figures.print(&format!("agent.{strategy}_bytes"), peak as f64, "bytes", looks);
    }
    Ok(())
}

fn set_strategy(board: &Board, strategy: &str) -> anyhow::Result<()> {
    let path = board.folder.join("agent.toml");
    let text = std::fs::read_to_string(&path)?;
    let table = format!("[download]\nstrategy = \"{strategy}\"\nparallel = 4\n");
    Ok(std::fs::write(path, text.replace("[download]\n", &table))?)
}

/// Whether the new firmware is written, which its reboot follows.
fn is_done(board: &Board) -> bool {
    let log = std::fs::read_to_string(board.folder.join("agent.log")).unwrap_or_default();
    log.contains("\"update applied\"")
}

/// A field of what the kernel says of the agent's memory, in bytes.
fn memory(power: &mut Power, field: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", power.process().id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| field.to_owned())?;
    Ok(kib.parse::<u64>()? * 1024)
}
