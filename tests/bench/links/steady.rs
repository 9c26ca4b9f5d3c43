//! All links at rest, and an operator at work.

use std::time::Duration;

use tokio::time::{Instant, interval};

use super::super::output::{Figures, note};
use super::super::server::Server;
use super::super::swarm::Swarm;
use super::Bench;

/// How long: two heartbeats of each device.
const LASTS: Duration = Duration::from_mins(1);
/// How often the operator looks.
const LOOK: Duration = Duration::from_millis(100);
const LIST: &str = "/orgs/bench/products/swarm/devices";

impl Bench<'_> {
    /// Links that stand, and the device list meanwhile.
    pub(super) async fn steady(&self, figures: &Figures, server: &Server, swarm: &mut Swarm) -> anyhow::Result<()> {
        if !figures.want_any(&["link.steady", "link.admin_p99_ms"]) {
            return Ok(());
        }
        note(format_args!("a minute of heartbeats"));
        let api = server.admin().await?;
        let (mut took, end) = (Vec::new(), Instant::now() + LASTS);
        let mut turns = interval(LOOK);
        while Instant::now() < end {
            turns.tick().await;
            let began = Instant::now();
            api.get(LIST).await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        took.sort_by(f64::total_cmp);
        let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
        let (joined, failures) = swarm.standing();
        note(format_args!("{joined} links stand; failures so far: {failures:?}"));
        figures.print("link.steady", joined as f64, "links", self.links as usize);
        figures.print("link.admin_p99_ms", p99, "ms", took.len());
        Ok(())
    }
}
