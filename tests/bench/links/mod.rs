//! What links cost: connects, memory of idle ones, commands to all, storms, floods.

mod flood;
mod health;
mod idle;
mod nodes;
mod presence;
mod steady;
mod storm;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::fleet::{self, Ca, Fleet};
use super::output::{Figures, median, note};
use super::server::Server;
use super::stamp::now_ns;
use super::swarm::{self, Devices, Swarm};

/// Every figure of these files.
pub const NAMES: [&str; 30] = [
    // Devices that introduce themselves by their CA, which the server then pins: once in a device's life.
    "link.first_connects_per_s",
    // As link.bytes_per_idle below, of the server whose links are sockets on actix-http's `.upgrade()`.
    "link.bytes_per_idle_upgrade",
    // Full handshakes with a certificate each, 128 at the same time, until the reply to the join was read.
    "link.connects_per_s",
    // The same by the server's CPU seconds: clients and Postgres share the cores, and this leaves them out.
    "link.connects_per_cpu_s",
    // Growth of the server's resident memory by one idle joined link: the worse of TLS 1.2 and 1.3.
    "link.bytes_per_idle",
    "link.bytes_per_idle_tls12",
    "link.bytes_per_idle_tls13",
    // From an operator's request that asks all devices to identify, to the last device having read it.
    "link.fanout_ms",
    // From an operator's request that switches an extension of the product, to the last device having read its `attach` or
    // `detach`.
    "link.switch_ms",
    // From the commit that assigns an update to each device, a row each, to the last device having read its `update`, …
    "link.fanout_update_ms",
    // … and the same to 2,000 of the links.
    "link.fanout_update_2000_ms",
    // From the commit that turns a deployment on, scheduler and slots included, to the last device having read it.
    "link.rollout_ms",
    // Links that stood through a minute of heartbeats each 30 s.
    "link.steady",
    // The device list over REST meanwhile: 99 of 100 answers are faster.
    "link.admin_p99_ms",
    // `kill -9` of the server under all links, down for 3 s, started again: from listening to all joined and shown so.
    "link.storm_s",
    // Top-level statements of that, BEGIN and COMMIT counted (pg_stat_statements), by the links.
    "link.storm_sql_per_connect",
    // Answers of the database that did not come in time, in that.
    "link.storm_sql_timeouts",
    // The storm without session tickets.
    "link.storm_full_s",
    // All links drop at once: CPU seconds of server and Postgres until no device is shown as connected, …
    "link.mass_disconnect_cpu_s",
    // … how long that takes, …
    "link.mass_disconnect_s",
    // … and what of a link's memory the server keeps 20 s later.
    "link.bytes_kept_after_disconnect",
    // All devices report their health each minute: cores that Postgres needs for it, …
    "link.health_pg_cores",
    // … and reports that were sent and not written.
    "link.health_dropped",
    // Two nodes: from the commit of a command to the slowest of 100 devices having read it, while 1,000 others come back.
    "link.nodes_command_p99_ms",
    // 99 of 100 heartbeats of 1,000 links while one device floods and one never reads, by the same before. Three turns.
    "link.flood_p99_ratio",
    "link.flood_p99_more_ms",
    // Whether both were closed in each turn.
    "link.flood_closed",
    // 10,000 connections that no device makes: what the server keeps of each, …
    "link.hostile_bytes_kept",
    // … how many of them it did not end within a minute, …
    "link.hostile_left",
    // … and how many of 1,000 links were lost meanwhile.
    "link.hostile_links_lost",
];

/// How long each part may take.
const PATIENCE: Duration = Duration::from_mins(15);
/// Further devices: those that warm a server up, and those that misbehave.
const FURTHER: u32 = 50;
/// How many dial at the same time.
const PARALLEL: u32 = 128;
/// Commands to all; the middle one counts.
const ROUNDS: usize = 5;
/// After this much rest memory is read, and the next command sent.
const REST: Duration = Duration::from_secs(3);
/// The devices' product.
const PRODUCT: &str = "/orgs/bench/products/swarm";
/// Where all devices are asked something.
const COMMANDS: &str = "/orgs/bench/products/swarm/commands";
/// Links of the smaller fan-out.
const FEW: u32 = 2000;

/// Measures every figure that is wanted. Certificates are kept in `certs` for the next time.
pub async fn measure(figures: &Figures, folder: &Path, certs: &Path, links: u32) -> anyhow::Result<()> {
    let all = links + FURTHER;
    note(format_args!(
        "making {all} certificates, as far as they are not in {}",
        certs.display()
    ));
    let ca = Ca::open(certs)?;
    swarm::make_certificates(certs, all).await?;
    let bench = Bench {
        folder,
        certs: certs.join("devices"),
        links,
        fleet: introduce(figures, folder, certs, &ca, all).await?,
    };
    if !figures.want_any(&NAMES[1..]) {
        return Ok(());
    }
    if figures.want(NAMES[1]) {
        timeout(PATIENCE, bench.idle_upgrade(figures))
            .await
            .context("the other socket")??;
    }
    if figures.want_any(&NAMES[2..21]) {
        timeout(PATIENCE, bench.large(figures))
            .await
            .context("the large part")??;
    }
    if figures.want("link.health_") {
        timeout(PATIENCE, bench.health(figures)).await.context("health")??;
    }
    if figures.want("link.nodes_") {
        timeout(PATIENCE, bench.nodes(figures)).await.context("two nodes")??;
    }
    if figures.want_any(&NAMES[24..]) {
        timeout(PATIENCE, bench.hostile(figures))
            .await
            .context("hostile devices")??;
    }
    Ok(())
}

#[derive(Debug)]
struct Bench<'a> {
    folder: &'a Path,
    certs: PathBuf,
    links: u32,
    fleet: Fleet,
}

/// The first connect of every device, on a new server.
async fn introduce(figures: &Figures, folder: &Path, certs: &Path, ca: &Ca, devices: u32) -> anyhow::Result<Fleet> {
    note(format_args!("{devices} devices introduce themselves"));
    let server = Server::start(&folder.join("data")).await?;
    let db = server.database().await?;
    presence::count_statements(&db).await?;
    let fleet = fleet::register(&db, ca, devices).await?;
    let to_dial = Devices {
        links: devices,
        first: 1,
        certs: certs.join("devices"),
        tls: "1.2",
        parallel: PARALLEL,
        more: &[],
    };
    let joined = Swarm::start(&server, &to_dial)?.joined().await?;
    let seconds = (joined.last_join_ns - joined.first_dial_ns) as f64 / 1e9;
    let n = devices as usize;
    figures.print("link.first_connects_per_s", f64::from(devices) / seconds, "1/s", n);
    db.close().await;
    Ok(fleet)
}

impl Bench<'_> {
    async fn start(&self) -> anyhow::Result<Server> {
        self.warmed(Server::start(&self.folder.join("data")).await?).await
    }

    /// A server whose pools are open and whose code is in memory.
    async fn warmed(&self, server: Server) -> anyhow::Result<Server> {
        let mut warm = Swarm::start(&server, &self.devices(self.links + 1, FURTHER, "1.2", &[]))?;
        warm.joined().await?;
        drop(warm);
        sleep(REST).await;
        Ok(server)
    }

    fn devices<'a>(&self, first: u32, links: u32, tls: &'a str, more: &'a [&'a str]) -> Devices<'a> {
        Devices {
            links,
            first,
            certs: self.certs.clone(),
            tls,
            parallel: PARALLEL,
            more,
        }
    }

    /// Everything that is measured on all links.
    async fn large(&self, figures: &Figures) -> anyhow::Result<()> {
        let tls13 = self.idle_tls13(figures).await?;
        note(format_args!("{} links over TLS 1.2", self.links));
        let server = self.start().await?;
        let (memory, cpu) = (server.process.resident_bytes()?, server.process.cpu_seconds()?);
        let mut swarm = Swarm::start(&server, &self.devices(1, self.links, "1.2", &["--resume"]))?;
        let joined = swarm.joined().await?;
        let cpu = server.process.cpu_seconds()? - cpu;
        sleep(REST).await;
        let tls12 = per_link(server.process.resident_bytes()?, memory, self.links);
        let (n, links) = (self.links as usize, f64::from(self.links));
        let seconds = (joined.last_join_ns - joined.first_dial_ns) as f64 / 1e9;
        figures.print("link.connects_per_s", links / seconds, "1/s", n);
        figures.print("link.connects_per_cpu_s", links / cpu, "1/s", n);
        figures.print("link.bytes_per_idle_tls12", tls12, "B", n);
        if tls13 > 0.0 {
            figures.print("link.bytes_per_idle", tls12.max(tls13), "B", n);
        }
        self.commands(figures, &server, &mut swarm).await?;
        self.steady(figures, &server, &mut swarm).await?;
        self.storms(figures, server, &mut swarm, memory).await
    }

    async fn commands(&self, figures: &Figures, server: &Server, swarm: &mut Swarm) -> anyhow::Result<()> {
        if figures.want("link.fanout_ms") {
            let api = server.admin().await?;
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                let sent_ns = now_ns();
                api.post(COMMANDS, json!({ "command": "identify" })).await?;
                took.push(swarm.read_by("identify", self.links, sent_ns).await?);
                sleep(REST).await;
            }
            figures.print("link.fanout_ms", median(took), "ms", self.links as usize);
        }
        if figures.want("link.switch_ms") {
            let api = server.admin().await?;
            let mut took = Vec::new();
            for round in 0..2 * ROUNDS {
                let (on, told) = if round % 2 == 0 {
                    (true, "attach")
                } else {
                    (false, "detach")
                };
                let sent_ns = now_ns();
                api.put(PRODUCT, json!({ "extensions": { "health": on } })).await?;
                took.push(swarm.read_by(told, self.links, sent_ns).await?);
                sleep(REST).await;
            }
            figures.print("link.switch_ms", median(took), "ms", self.links as usize);
        }
        let db = server.database().await?;
        for (name, links) in [
            ("link.fanout_update_ms", self.links),
            ("link.fanout_update_2000_ms", self.links.min(FEW)),
        ] {
            let mut took = Vec::new();
            for _ in 0..if figures.want(name) { ROUNDS } else { 0 } {
                let sent_ns = self.fleet.assign(&db, links).await?;
                took.push(swarm.read_by("update", links, sent_ns).await?);
                // What devices answered is written within a second; taking the updates back before would cross it.
                sleep(REST).await;
                self.fleet.stop(&db).await?;
            }
            if !took.is_empty() {
                figures.print(name, median(took), "ms", links as usize);
            }
        }
        if figures.want("link.rollout_ms") {
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                let sent_ns = self.fleet.start(&db).await?;
                took.push(swarm.read_by("update", self.links, sent_ns).await?);
                sleep(REST).await;
                self.fleet.stop(&db).await?;
            }
            figures.print("link.rollout_ms", median(took), "ms", self.links as usize);
        }
        db.close().await;
        Ok(())
    }
}

fn per_link(after: u64, before: u64, links: u32) -> f64 {
    after.saturating_sub(before) as f64 / f64::from(links)
}
