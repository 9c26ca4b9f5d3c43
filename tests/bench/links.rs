//! What links cost: connects, memory of idle ones, one command to all.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::fleet::{self, Ca, Fleet};
use super::output::{Figures, median, note};
use super::server::Server;
use super::swarm::{self, Devices, Swarm};

/// Every figure of this file.
pub const NAMES: [&str; 8] = [
    // Devices that introduce themselves by their CA, which the server then pins: once in a device's life.
    "link.first_connects_per_s",
    // Full handshakes with a certificate each, 128 at the same time, until the reply to the join was read.
    "link.connects_per_s",
    // The same by the server's CPU seconds: clients and Postgres share the cores, and this leaves them out.
    "link.connects_per_cpu_s",
    // Growth of the server's resident memory by one idle joined link: the worse of TLS 1.2 and 1.3.
    "link.bytes_per_idle",
    "link.bytes_per_idle_tls12",
    "link.bytes_per_idle_tls13",
    // From the commit that assigns an update to each device, to the last device having read its `update`.
    "link.fanout_ms",
    // From the commit that turns a deployment on, scheduler and slots included, to the last device having read it.
    "link.rollout_ms",
];

/// Links that a fresh server has served before it is measured: its pools are open, its code is in memory.
const WARM_UP: u32 = 50;
/// How many dial at the same time.
const PARALLEL: u32 = 128;
/// Commands to all; the middle one counts.
const ROUNDS: usize = 5;
/// After this much rest memory is read, and the next command sent.
const REST: Duration = Duration::from_secs(3);

/// Measures every figure that is wanted.
pub async fn measure(figures: &Figures, folder: &Path, links: u32) -> anyhow::Result<()> {
    let all = links + WARM_UP;
    note(format_args!("making {all} certificates"));
    let ca = Ca::make(folder)?;
    swarm::make_certificates(folder, all).await?;
    let bench = Bench {
        folder,
        links,
        fleet: introduce(figures, folder, &ca, all).await?,
    };
    if !figures.want_any(&NAMES[1..]) {
        return Ok(());
    }
    let tls12 = bench.links(figures, "1.2").await?;
    let n = links as usize;
    figures.print("link.bytes_per_idle_tls12", tls12, "B", n);
    if !figures.want_any(&["link.bytes_per_idle", "link.bytes_per_idle_tls13"]) {
        return Ok(());
    }
    let tls13 = bench.links(figures, "1.3").await?;
    figures.print("link.bytes_per_idle_tls13", tls13, "B", n);
    figures.print("link.bytes_per_idle", tls12.max(tls13), "B", n);
    Ok(())
}

#[derive(Debug)]
struct Bench<'a> {
    folder: &'a Path,
    links: u32,
    fleet: Fleet,
}

/// The first connect of every device, on a new server.
async fn introduce(figures: &Figures, folder: &Path, ca: &Ca, devices: u32) -> anyhow::Result<Fleet> {
    note(format_args!("{devices} devices introduce themselves"));
    let server = Server::start(&folder.join("data")).await?;
    let db = server.database().await?;
    let fleet = fleet::register(&db, ca, devices).await?;
    let mut swarm = Swarm::start(&server, &to_dial(folder, 1, devices, "1.2"))?;
    let joined = swarm.joined().await?;
    let seconds = (joined.last_join_ns - joined.first_dial_ns) as f64 / 1e9;
    figures.print(
        "link.first_connects_per_s",
        f64::from(devices) / seconds,
        "1/s",
        devices as usize,
    );
    db.close().await;
    Ok(fleet)
}

fn to_dial<'a>(folder: &Path, first: u32, links: u32, tls: &'a str) -> Devices<'a> {
    Devices {
        links,
        first,
        folder: folder.to_owned(),
        tls,
        parallel: PARALLEL,
    }
}

impl Bench<'_> {
    /// Connects, idle memory (which is the result), and commands, on a fresh server.
    async fn links(&self, figures: &Figures, tls: &str) -> anyhow::Result<f64> {
        note(format_args!("{} links over TLS {tls}", self.links));
        let server = Server::start(&self.folder.join("data")).await?;
        let mut warm = Swarm::start(&server, &to_dial(self.folder, self.links + 1, WARM_UP, tls))?;
        warm.joined().await?;
        drop(warm);
        sleep(REST).await;
        let (memory, cpu) = (server.process.resident_bytes()?, server.process.cpu_seconds()?);
        let mut swarm = Swarm::start(&server, &to_dial(self.folder, 1, self.links, tls))?;
        let joined = swarm.joined().await?;
        let cpu = server.process.cpu_seconds()? - cpu;
        sleep(REST).await;
        let bytes = server.process.resident_bytes()?.saturating_sub(memory) as f64 / f64::from(self.links);
        if tls == "1.2" {
            let (n, links) = (self.links as usize, f64::from(self.links));
            let seconds = (joined.last_join_ns - joined.first_dial_ns) as f64 / 1e9;
            figures.print("link.connects_per_s", links / seconds, "1/s", n);
            figures.print("link.connects_per_cpu_s", links / cpu, "1/s", n);
            self.commands(figures, &server, &mut swarm).await?;
        }
        Ok(bytes)
    }

    async fn commands(&self, figures: &Figures, server: &Server, swarm: &mut Swarm) -> anyhow::Result<()> {
        let db = server.database().await?;
        if figures.want("link.fanout_ms") {
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                let sent_ns = self.fleet.assign(&db, self.links).await?;
                took.push(swarm.read_by("update", self.links, sent_ns).await?);
                // What devices answered is written within a second; taking the updates back before would cross it.
                sleep(REST).await;
                self.fleet.stop(&db).await?;
            }
            figures.print("link.fanout_ms", median(took), "ms", self.links as usize);
        }
        if figures.want("link.rollout_ms") {
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                let sent_ns = self.fleet.start(&db).await?;
                took.push(swarm.read_by("update", self.links, sent_ns).await?);
                // What devices answered is written within a second; taking the updates back before would cross it.
                sleep(REST).await;
                self.fleet.stop(&db).await?;
            }
            figures.print("link.rollout_ms", median(took), "ms", self.links as usize);
        }
        db.close().await;
        Ok(())
    }
}
