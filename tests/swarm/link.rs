//! The life of one device: dial, join, heartbeats, and again after a back-off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use muster_link::limits::REJOIN_AFTER;
use muster_link::{Frame, Join, ToDevice, Topic};
use rustls::ClientConfig;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, sleep, timeout};

use super::args::Behaviour;
use super::commands::Mode;
use super::dial::{Server, Wire, dial};
use super::join::Voice;
use super::sessions::Sessions;
use super::stamp::now_ns;
use super::tally::Tally;
use super::ws::{self, Message};

/// Seconds between attempts, each lengthened by up to a half; it starts anew after a join.
const BACK_OFF: [u64; 7] = [1, 2, 4, 8, 16, 32, 60];
/// How long an attempt may take until its join is answered.
const PATIENCE: Duration = Duration::from_mins(1);

/// What all devices of the process share.
#[derive(Debug)]
pub struct Fleet {
    pub server: Server,
    pub join: Join,
    pub tally: Tally,
    pub gate: Semaphore,
    pub heartbeat: Duration,
    /// How often a device reports its health unasked.
    pub health: Option<Duration>,
    /// No device reports its health any more.
    pub quiet: AtomicBool,
    pub behaviour: Behaviour,
    pub sessions: Sessions,
}

/// Lives until told to end.
pub async fn live(fleet: Arc<Fleet>, index: usize, tls: Arc<ClientConfig>, mut mode: watch::Receiver<Mode>) {
    let mut attempt = 0;
    loop {
        let wanted = *mode.borrow_and_update();
        match wanted {
            Mode::Quit => return,
            Mode::Up => {}
            Mode::Down => {
                attempt = 0;
                if mode.changed().await.is_err() {
                    return;
                }
                continue;
            }
        }
        // What a handshake needs is not kept for the life of the link.
        match Box::pin(connect(&fleet, index, Arc::clone(&tls))).await {
            Ok((wire, mut voice)) => {
                attempt = 0;
                let talked = match fleet.behaviour {
                    Behaviour::Good => talk(&fleet, wire, voice, &mut mode).await,
                    Behaviour::Flood => wire.flood(&heartbeats(&mut voice, FLOOD).unwrap_or_default()).await,
                    Behaviour::Deaf => deaf(wire).await,
                };
                let reason = match talked {
                    Ok(()) => "told to".to_owned(),
                    Err(error) => format!("{error}"),
                };
                fleet.tally.left(&reason);
            }
            Err(error) => fleet.tally.failed(&format!("{error:#}")),
        }
        if *mode.borrow() == Mode::Up {
            let seconds = BACK_OFF[attempt.min(BACK_OFF.len() - 1)] as f64 * (1.0 + rand::random::<f64>() / 2.0);
            attempt += 1;
            tokio::select! {
                () = sleep(Duration::from_secs_f64(seconds)) => {}
                _ = mode.changed() => {}
            }
        }
    }
}

async fn connect(fleet: &Fleet, index: usize, tls: Arc<ClientConfig>) -> anyhow::Result<(Wire, Voice)> {
    let _place = fleet.gate.acquire().await;
    let dialed_ns = fleet.tally.dials();
    let attempt = async {
        let mut wire = dial(&fleet.server, tls, index).await?;
        let mut voice = Voice::default();
        join(&mut wire, &mut voice, &fleet.join).await.context("join")?;
        fleet.tally.joined(dialed_ns);
        Ok((wire, voice))
    };
    timeout(PATIENCE, attempt).await.context("timed out")?
}

async fn join(wire: &mut Wire, voice: &mut Voice, join: &Join) -> anyhow::Result<()> {
    loop {
        let (text, reference) = voice.join(join)?;
        wire.say(&text).await?;
        if answer(wire, reference).await? {
            return Ok(());
        }
        sleep(REJOIN_AFTER).await;
    }
}

/// Whether the join was taken.
async fn answer(wire: &mut Wire, reference: u64) -> anyhow::Result<bool> {
    loop {
        match wire.next().await? {
            Message::Text(text) => {
                let frame = Frame::parse(&text)?;
                if is_reply_to(&frame, reference) {
                    let payload: Value = frame.payload.read()?;
                    return Ok(payload["status"] == "ok");
                }
            }
            Message::Ping(payload) => wire.pong(&payload).await?,
            Message::Close(code) => bail!("closed with {code:?}"),
            Message::Other => {}
        }
    }
}

fn is_reply_to(frame: &Frame<'_>, reference: u64) -> bool {
    &*frame.event == "phx_reply" && frame.reference == Some(reference.into())
}

/// Heartbeats of one write of a flood.
const FLOOD: usize = 64;
/// Heartbeats that a deaf device sends at first: less than what makes a flood. The replies carry the reference, which is
/// this long, and are more than the kernel holds.
const DEAF_BURST: usize = 20_000;
const DEAF_REFERENCE: usize = 600;
/// … and each tenth of a second after that.
const DEAF_RATE: usize = 10;

fn heartbeats(voice: &mut Voice, count: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        bytes.extend(ws::text(&voice.heartbeat()?.0, rand::random()));
    }
    Ok(bytes)
}

/// Sends within the limits, reads nothing.
async fn deaf(mut wire: Wire) -> anyhow::Result<()> {
    let text = format!(r#"[null,"{}","phoenix","heartbeat",{{}}]"#, "9".repeat(DEAF_REFERENCE));
    let beat = ws::text(&text, rand::random());
    wire.send_deaf(&beat.repeat(DEAF_BURST)).await?;
    loop {
        sleep(Duration::from_millis(100)).await;
        wire.send_deaf(&beat.repeat(DEAF_RATE)).await?;
    }
}

/// Holds the link until it is lost (an error) or the process is told otherwise.
async fn talk(fleet: &Fleet, mut wire: Wire, mut voice: Voice, mode: &mut watch::Receiver<Mode>) -> anyhow::Result<()> {
    wire.say(&voice.interface()?).await?;
    // The runtime has one timer wheel for all links.
    let mut beat = tokio::time::interval_at(Instant::now() + fleet.heartbeat, fleet.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let every = fleet.health.unwrap_or(Duration::from_hours(24));
    let mut health = tokio::time::interval_at(Instant::now() + every, every);
    health.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered: Option<(u64, u64)> = None;
    loop {
        tokio::select! {
            message = wire.next() => match message? {
                Message::Text(text) => {
                    if let Some((reference, sent_ns)) = unanswered
                        && Frame::parse(&text).is_ok_and(|frame| is_reply_to(&frame, reference))
                    {
                        fleet.tally.beat(now_ns() - sent_ns);
                        unanswered = None;
                    } else {
                        hear(fleet, &mut wire, &mut voice, &mut health, &text).await?;
                    }
                }
                Message::Ping(payload) => wire.pong(&payload).await?,
                Message::Close(code) => bail!("closed with {code:?}"),
                Message::Other => {}
            },
            _ = beat.tick() => {
                if unanswered.is_some() {
                    bail!("heartbeat not answered");
                }
                let (text, reference) = voice.heartbeat()?;
                unanswered = Some((reference, now_ns()));
                wire.say(&text).await?;
            }
            _ = health.tick(), if fleet.health.is_some() => report_health(fleet, &mut wire, &mut voice).await?,
            _ = mode.changed() => return Ok(()),
        }
    }
}

/// Tells of its health, where the server attached that.
async fn report_health(fleet: &Fleet, wire: &mut Wire, voice: &mut Voice) -> anyhow::Result<()> {
    if !fleet.quiet.load(Ordering::Relaxed)
        && let Some(text) = voice.health()?
    {
        wire.say(&text).await?;
        fleet.tally.reported();
    }
    Ok(())
}

/// After a report that was asked for, the next comes no sooner than this.
const BETWEEN_HEALTH: Duration = Duration::from_secs(3);

/// Counts a push and does what a device at once does.
async fn hear(
    fleet: &Fleet,
    wire: &mut Wire,
    voice: &mut Voice,
    health: &mut Interval,
    text: &str,
) -> anyhow::Result<()> {
    let frame = Frame::parse(text)?;
    if &*frame.event == "phx_reply" {
        if frame.topic() == Topic::Extensions {
            let payload: Value = frame.payload.read()?;
            for text in voice.attached(&payload["response"])? {
                wire.say(&text).await?;
            }
        }
        return Ok(());
    }
    fleet.tally.pushed(&frame.event);
    if frame.topic() == Topic::Extensions && &*frame.event == "health:check" {
        // All are asked when they have joined; after that they do not report all at once.
        health.reset_after(health.period().mul_f64(rand::random()).max(BETWEEN_HEALTH));
        return report_health(fleet, wire, voice).await;
    }
    if frame.topic() != Topic::Device {
        return Ok(());
    }
    match ToDevice::read(&frame) {
        ToDevice::Update(update) if update.update_available => wire.say(&voice.received()?).await,
        ToDevice::Reboot => {
            wire.say(&voice.rebooting()?).await?;
            bail!("rebooted")
        }
        ToDevice::GetExtensions => wire.say(&voice.extensions()?).await,
        _ => Ok(()),
    }
}
