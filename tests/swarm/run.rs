//! Starts the devices and tells what happens to them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, interval_at};

use super::args::Run;
use super::commands::{self, Mode};
use super::dial::{self, Server, Trust};
use super::link::{Fleet, live};
use super::sessions::Sessions;
use super::{certs, join, output};

/// How often the process looks whether there is something to tell.
const TELL: Duration = Duration::from_millis(50);

/// Runs until told to end. One thread: what a swarm costs is then one core at most, and further processes take others.
pub fn run(run: &Run) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime")?;
    let done = runtime.block_on(swarm(run));
    // The thread that reads standard input would be waited for otherwise.
    runtime.shutdown_background();
    done
}

async fn swarm(run: &Run) -> anyhow::Result<()> {
    let trust = Trust::new(run)?;
    let credentials = certs::load(&run.range, run.certs.as_deref(), &run.authority)?;
    let fleet = Arc::new(Fleet {
        server: Server::new(run)?,
        join: join::parameters(run),
        tally: super::tally::Tally::new(credentials.len()),
        gate: Semaphore::new(if run.rate_parallel == 0 {
            Semaphore::MAX_PERMITS
        } else {
            run.rate_parallel
        }),
        heartbeat: Duration::from_secs(run.heartbeat.max(1)),
        health: (run.health > 0).then(|| Duration::from_secs(run.health)),
        quiet: AtomicBool::new(false),
        behaviour: run.behave,
        sessions: Sessions::default(),
    });
    let (mode, told) = watch::channel(Mode::Up);
    let mut devices = JoinSet::new();
    for (index, credential) in credentials.into_iter().enumerate() {
        let name = credential.identifier.clone();
        let tls = dial::tls(run, &trust, &fleet.sessions, credential).context(name)?;
        devices.spawn(live(Arc::clone(&fleet), index, tls, told.clone()));
    }
    drop(told);
    tokio::spawn(commands::heed_signals(mode.clone()));
    if run.commands {
        let (fleet, mode) = (Arc::clone(&fleet), mode.clone());
        tokio::spawn(async move { commands::read(mode, &fleet).await });
    }
    tell(&fleet, run, &mode).await;
    while devices.join_next().await.is_some() {}
    output::line(&json!({"event": "end"}));
    Ok(())
}

/// Tells what happens until the end.
async fn tell(fleet: &Fleet, run: &Run, mode: &watch::Sender<Mode>) {
    let mut looks = interval(TELL);
    let every = Duration::from_secs(run.beats_every.max(1));
    let mut beats = interval_at(Instant::now() + every, every);
    let mut until: Option<Instant> = None;
    let mut told = mode.subscribe();
    loop {
        tokio::select! {
            _ = looks.tick() => {
                let (lines, all_joined) = fleet.tally.lines();
                lines.iter().for_each(output::line);
                if all_joined && let Some(hold) = run.hold {
                    until.get_or_insert_with(|| Instant::now() + Duration::from_secs(hold));
                }
                if until.is_some_and(|until| Instant::now() >= until) {
                    mode.send_replace(Mode::Quit);
                }
            }
            _ = beats.tick() => output::line(&fleet.tally.beats()),
            Ok(()) = told.changed() => if *told.borrow() == Mode::Quit { return },
        }
    }
}
