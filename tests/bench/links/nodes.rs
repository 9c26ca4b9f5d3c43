//! Two nodes on one database: how soon a command reaches a device of the other node while many devices come back.

use std::time::Duration;

use tokio::time::sleep;

use super::super::output::{Figures, note};
use super::super::swarm::Swarm;
use super::{Bench, REST};

/// Devices that are told something; 99 of 100 are all but the slowest.
const TOLD: u32 = 100;
/// Devices that come back meanwhile, to the same node.
const HERD: u32 = 1000;
/// How often; the worst counts.
const ROUNDS: usize = 10;
/// The herd dials for this long when the command is given.
const INTO_IT: Duration = Duration::from_millis(150);

impl Bench<'_> {
    /// Commands that are written on one node for devices of the other.
    pub(super) async fn nodes(&self, figures: &Figures) -> anyhow::Result<()> {
        let (told, herd) = (TOLD.min(self.links / 2), HERD.min(self.links / 2));
        note(format_args!(
            "two nodes; {herd} devices come back while {told} are told"
        ));
        let first = self.start().await?;
        let second = first.second_node().await?;
        let mut commanded = Swarm::start(&second, &self.devices(1, told, "1.2", &[]))?;
        commanded.joined().await?;
        let mut coming = Swarm::start(&second, &self.devices(told + 1, herd, "1.2", &["--resume"]))?;
        coming.joined().await?;
        let db = first.database().await?;
        let mut worst = 0.0_f64;
        for _ in 0..ROUNDS {
            sleep(REST).await;
            coming.tell("down").await?;
            sleep(REST).await;
            coming.tell("up").await?;
            sleep(INTO_IT).await;
            let sent_ns = self.fleet.assign(&db, told).await?;
            worst = worst.max(commanded.read_by("update", told, sent_ns).await?);
            coming.joined().await?;
            sleep(REST).await;
            self.fleet.stop(&db).await?;
        }
        db.close().await;
        figures.print("link.nodes_command_p99_ms", worst, "ms", told as usize * ROUNDS);
        Ok(())
    }
}
