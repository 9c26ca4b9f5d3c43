//! The server is killed under all links and started again; then all links drop at once.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::super::output::{Figures, note};
use super::super::server::{Addrs, Server};
use super::super::stamp::now_ns;
use super::super::swarm::Swarm;
use super::{Bench, per_link, presence};

/// How long the server is down.
const DOWN: Duration = Duration::from_secs(3);
/// How long memory has to be given back.
const GIVEN_BACK: Duration = Duration::from_secs(20);
/// Statements of a storm that are shown.
const COMMONEST: usize = 12;
/// What an answer of the database that did not come in time leaves in the log.
const TIMEOUTS: [&str; 2] = ["pool timed out", "statement timeout"];

/// What a storm came to.
struct Storm {
    seconds: f64,
    statements: i64,
    timeouts: usize,
}

impl Bench<'_> {
    /// Both storms and the mass disconnect; `memory` is what the server needed without links.
    pub(super) async fn storms(
        &self,
        figures: &Figures,
        server: Server,
        swarm: &mut Swarm,
        memory: u64,
    ) -> anyhow::Result<()> {
        let n = self.links as usize;
        let mut server = server;
        if figures.want("link.storm_") {
            swarm.tell("all").await?;
            note(format_args!("the server is killed under {n} links that resume"));
            let (next, storm) = self.storm(server, swarm).await?;
            server = next;
            figures.print("link.storm_s", storm.seconds, "s", n);
            let each = storm.statements as f64 / f64::from(self.links);
            figures.print("link.storm_sql_per_connect", each, "1/connect", n);
            figures.print("link.storm_sql_timeouts", storm.timeouts as f64, "timeouts", n);
            if figures.want("link.storm_full_s") {
                note(format_args!("… and under {n} links that do not"));
                swarm.tell("full").await?;
                let (next, storm) = self.storm(server, swarm).await?;
                server = next;
                figures.print("link.storm_full_s", storm.seconds, "s", n);
            }
        }
        if figures.want_any(&["link.mass_disconnect", "link.bytes_kept"]) {
            self.mass_disconnect(figures, &server, swarm, memory).await?;
        }
        Ok(())
    }

    async fn storm(&self, server: Server, swarm: &mut Swarm) -> anyhow::Result<(Server, Storm)> {
        let (dir, addrs) = server.kill();
        sleep(DOWN).await;
        let listening = tokio::spawn(listening(addrs.clone()));
        let server = Server::start_at(&dir, &addrs).await?;
        let (log, db) = (server.log(), server.database().await?);
        let listening_ns = listening.await??;
        presence::count_anew(&db).await?;
        let joined = swarm.joined().await?;
        presence::until_connected(&db, self.links).await?;
        let right_ns = now_ns();
        let asked = presence::statements(&db).await?;
        let statements = asked.iter().map(|(calls, _)| calls).sum();
        let mut timeouts = 0;
        for text in TIMEOUTS {
            timeouts += log.count(text)?;
        }
        db.close().await;
        let since = |ns: u64| ns.saturating_sub(listening_ns) as f64 / 1e9;
        note(format_args!(
            "after listening: last join {:.1} s, shown so {:.1} s; {statements} statements",
            since(joined.last_join_ns),
            since(right_ns)
        ));
        for (calls, text) in asked.iter().take(COMMONEST) {
            note(format_args!("{calls:>6} {text}"));
        }
        let storm = Storm {
            seconds: since(joined.last_join_ns.max(right_ns)),
            statements,
            timeouts,
        };
        Ok((server, storm))
    }

    async fn mass_disconnect(
        &self,
        figures: &Figures,
        server: &Server,
        swarm: &mut Swarm,
        memory: u64,
    ) -> anyhow::Result<()> {
        note(format_args!("all links drop"));
        let db = server.database().await?;
        sleep(DOWN).await;
        let cpu = || anyhow::Ok(server.process.cpu_seconds()? + server.postgres_cpu()?);
        let (before, began) = (cpu()?, Instant::now());
        swarm.tell("down").await?;
        presence::until_connected(&db, 0).await?;
        let (n, took) = (self.links as usize, began.elapsed().as_secs_f64());
        figures.print("link.mass_disconnect_cpu_s", cpu()? - before, "s", n);
        figures.print("link.mass_disconnect_s", took, "s", n);
        sleep(GIVEN_BACK).await;
        let kept = per_link(server.process.resident_bytes()?, memory, self.links);
        figures.print("link.bytes_kept_after_disconnect", kept, "B", n);
        db.close().await;
        Ok(())
    }
}

/// When the device listener takes connections.
async fn listening(addrs: Addrs) -> anyhow::Result<u64> {
    let deadline = Instant::now() + Duration::from_mins(1);
    while TcpStream::connect(addrs.devices).await.is_err() {
        anyhow::ensure!(Instant::now() < deadline, "nothing listens at {}", addrs.devices);
        sleep(Duration::from_millis(5)).await;
    }
    Ok(now_ns())
}
