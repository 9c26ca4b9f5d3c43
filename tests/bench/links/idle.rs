//! Memory of idle links: over TLS 1.3, and of the other socket that they may have.

use tokio::time::sleep;

use super::super::output::{Figures, note};
use super::super::server::Server;
use super::super::swarm::Swarm;
use super::{Bench, REST, per_link};

/// Links whose memory is measured.
const LINKS: u32 = 4000;

impl Bench<'_> {
    /// Bytes of a link over TLS 1.3; nothing when nobody asked.
    pub(super) async fn idle_tls13(&self, figures: &Figures) -> anyhow::Result<f64> {
        if !figures.want_any(&["link.bytes_per_idle", "link.bytes_per_idle_tls13"]) {
            return Ok(0.0);
        }
        let bytes = self.idle(self.start().await?, "1.3").await?;
        figures.print("link.bytes_per_idle_tls13", bytes, "B", self.few());
        Ok(bytes)
    }

    /// Bytes of a link whose socket is one on actix-http's `.upgrade()`: the worse of TLS 1.2 and 1.3.
    pub(super) async fn idle_upgrade(&self, figures: &Figures) -> anyhow::Result<()> {
        let mut most = 0.0_f64;
        for tls in ["1.2", "1.3"] {
            let server = Server::start_upgrade(&self.folder.join("data")).await?;
            most = most.max(self.idle(self.warmed(server).await?, tls).await?);
        }
        figures.print("link.bytes_per_idle_upgrade", most, "B", self.few());
        Ok(())
    }

    fn few(&self) -> usize {
        self.links.min(LINKS) as usize
    }

    async fn idle(&self, server: Server, tls: &str) -> anyhow::Result<f64> {
        let links = self.links.min(LINKS);
        note(format_args!("{links} links over TLS {tls}"));
        let before = server.process.resident_bytes()?;
        let mut swarm = Swarm::start(&server, &self.devices(1, links, tls, &[]))?;
        swarm.joined().await?;
        sleep(REST).await;
        let bytes = per_link(server.process.resident_bytes()?, before, links);
        note(format_args!("{bytes:.0} bytes a link"));
        Ok(bytes)
    }
}
