//! Devices that misbehave, and what others feel of it.

use std::time::Duration;

use anyhow::Context as _;
use muster_tests::certificates::Issued;
use muster_tests::hostile;
use sqlx::PgPool;
use tokio::time::sleep;

use super::super::output::{Figures, median, note};
use super::super::server::Server;
use super::super::swarm::Swarm;
use super::{Bench, REST, per_link};

/// Links that behave.
const OTHERS: u32 = 1000;
/// How long each part of a turn lasts.
const LASTS: Duration = Duration::from_secs(30);
/// Turns; the middle one counts.
const TURNS: usize = 3;
/// Connections that no device makes, and how many of them at the same time.
const HOSTILE: usize = 10_000;
const HOSTILE_PARALLEL: usize = 400;

impl Bench<'_> {
    /// Floods, and connections that no device makes.
    pub(super) async fn hostile(&self, figures: &Figures) -> anyhow::Result<()> {
        let others = self.links.min(OTHERS);
        let server = self.start().await?;
        let beats = ["--heartbeat", "1", "--beats-every", "3600"];
        let mut swarm = Swarm::start(&server, &self.devices(1, others, "1.2", &beats))?;
        swarm.joined().await?;
        if figures.want("link.flood_") {
            self.floods(figures, &server, &mut swarm).await?;
        }
        if figures.want("link.hostile_") {
            self.malformed(figures, &server, &mut swarm, others).await?;
        }
        Ok(())
    }

    async fn floods(&self, figures: &Figures, server: &Server, swarm: &mut Swarm) -> anyhow::Result<()> {
        let db = server.database().await?;
        let (mut ratios, mut more, mut closed, mut count) = (Vec::new(), Vec::new(), 0, 0);
        for _ in 0..TURNS {
            sleep(REST).await;
            swarm.beats().await?;
            sleep(LASTS).await;
            let (n, before) = swarm.beats().await?;
            let ended = ends(&db).await?;
            let flood = self.devices(self.links + 1, 1, "1.2", &["--behave", "flood"]);
            let deaf = self.devices(self.links + 2, 1, "1.2", &["--behave", "deaf"]);
            let bad = [Swarm::start(server, &flood)?, Swarm::start(server, &deaf)?];
            sleep(LASTS).await;
            let (_, during) = swarm.beats().await?;
            // What was closed last is written within a moment.
            sleep(REST).await;
            drop(bad);
            let now = ends(&db).await?;
            let both = now.0 > ended.0 && now.1 > ended.1;
            note(format_args!(
                "99 of 100 within {before:.2} ms, then {during:.2} ms; closed as flood {}, as slow reader {}",
                now.0 - ended.0,
                now.1 - ended.1
            ));
            ratios.push(during / before);
            more.push(during - before);
            closed += usize::from(both);
            count = n;
        }
        db.close().await;
        figures.print("link.flood_p99_ratio", median(ratios), "ratio", count as usize);
        figures.print("link.flood_p99_more_ms", median(more), "ms", count as usize);
        figures.print("link.flood_closed", closed as f64, "turns", TURNS);
        Ok(())
    }

    async fn malformed(
        &self,
        figures: &Figures,
        server: &Server,
        swarm: &mut Swarm,
        others: u32,
    ) -> anyhow::Result<()> {
        note(format_args!("{HOSTILE} connections that no device makes"));
        let pem = std::fs::read_to_string(self.certs.join(format!("swarm-{:05}.pem", self.links + 3)))?;
        let at = pem.find("-----BEGIN PRIVATE KEY").context("a key")?;
        let device = Issued {
            cert: pem[..at].to_owned(),
            key: pem[at..].to_owned(),
        };
        let ca = std::fs::read_to_string(server.ca())?;
        // The first ones open what stays open.
        hostile::storm(server.addrs.devices, &ca, &device, HOSTILE_PARALLEL, HOSTILE_PARALLEL).await?;
        sleep(REST).await;
        let before = server.process.resident_bytes()?;
        let left = hostile::storm(server.addrs.devices, &ca, &device, HOSTILE, HOSTILE_PARALLEL).await?;
        sleep(REST).await;
        let kept = per_link(server.process.resident_bytes()?, before, HOSTILE as u32);
        let (joined, failures) = swarm.standing();
        note(format_args!("failures of the others so far: {failures:?}"));
        figures.print("link.hostile_bytes_kept", kept, "B", HOSTILE);
        figures.print("link.hostile_left", left as f64, "connections", HOSTILE);
        let lost = u64::from(others).saturating_sub(joined);
        figures.print("link.hostile_links_lost", lost as f64, "links", others as usize);
        Ok(())
    }
}

/// Links that were ended as floods, and as slow readers, so far.
async fn ends(db: &PgPool) -> anyhow::Result<(i64, i64)> {
    let sql = "SELECT count(*) FILTER (WHERE reason = 'flooding'), count(*) FILTER (WHERE reason = 'slow_reader')
               FROM device_links";
    Ok(sqlx::query_as(sql).fetch_one(db).await?)
}
