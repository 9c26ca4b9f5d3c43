//! The command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Simulated devices: real links over TLS, a certificate each.
#[derive(Debug, Parser)]
#[command(
    name = "muster-swarm",
    version,
    after_help = "Two thousand devices on a server of this machine, registered by their CA before:\n  \
    muster-swarm certs --ca ca.pem --ca-key ca.key --out certs --links 2000\n  \
    muster-swarm run --server 127.0.0.1:4001 --server-ca data/ca.pem --certs certs --links 2000\n\n\
    One process holds about 9,000 links with 20,000 open files; for more, start several with --first.\n\
    What happens is told as JSON lines; times (`…_ns`) are of the machine's monotonic clock, which all its processes share:\n  \
    links    how many are joined and dialing, and why attempts failed\n  \
    joined   all have joined: first dial, last reply read, time from dial to reply (ms)\n  \
    push     a push was read by its devices: how many, first, median, 99th of 100, last\n  \
    beats    replies to heartbeats since the last such line: how many, median, 99th of 100 (us); health reports so far\n  \
    end      the process ends"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make certificates that are not there yet, one PEM file a device (certificate and key)
    Certs(Certs),
    /// Connect devices and keep them connected until told to end (Ctrl-C)
    Run(Box<Run>),
}

/// Which devices.
#[derive(Debug, Clone, Args)]
pub struct Range {
    /// How many devices
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub links: u32,
    /// The number of the first one
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub first: u32,
    /// What identifiers begin with; the number follows, as in swarm-00001
    #[arg(long, value_name = "TEXT", default_value = "swarm-")]
    pub prefix: String,
}

impl Range {
    /// The identifiers, in order.
    pub fn identifiers(&self) -> impl Iterator<Item = String> {
        (self.first..self.first + self.links).map(|number| format!("{}{number:05}", self.prefix))
    }
}

/// Where certificates come from.
#[derive(Debug, Clone, Args)]
pub struct Authority {
    /// The CA's certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    pub ca: Option<PathBuf>,
    /// The CA's private key, a PEM file
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub ca_key: Option<PathBuf>,
}

/// The flags of `certs`.
#[derive(Debug, Args)]
pub struct Certs {
    #[command(flatten)]
    pub range: Range,
    #[command(flatten)]
    pub authority: Authority,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tls {
    /// What NervesHubLink offers.
    #[value(name = "1.2")]
    V12,
    /// The newer one.
    #[value(name = "1.3")]
    V13,
}

/// What devices do once they have joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Behaviour {
    /// As a device should.
    Good,
    /// Heartbeats as fast as the server takes them, its replies read.
    Flood,
    /// A burst of heartbeats and then a hundred a second; nothing is read.
    Deaf,
}

/// The flags of `run`.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub range: Range,
    /// The server's device listener
    #[arg(long, value_name = "ADDR")]
    pub server: SocketAddr,
    /// The name in the server's certificate, sent as SNI
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    pub server_name: String,
    /// The CA that the server's certificate is checked against, a PEM file
    #[arg(long, value_name = "FILE")]
    pub server_ca: PathBuf,
    /// A folder that `muster-swarm certs` filled; otherwise --ca and --ca-key make certificates in memory
    #[arg(long, value_name = "DIR", required_unless_present = "ca")]
    pub certs: Option<PathBuf>,
    #[command(flatten)]
    pub authority: Authority,
    /// The version of TLS
    #[arg(long, value_name = "VERSION", value_enum, default_value_t = Tls::V12)]
    pub tls: Tls,
    /// Resume TLS sessions when a link is dialed again
    #[arg(long)]
    pub resume: bool,
    /// How many dial at the same time, from the first byte to the reply to their join; 0 is all of them
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub rate_parallel: usize,
    /// How many seconds links are kept after all have joined; without it until Ctrl-C
    #[arg(long, value_name = "SECONDS")]
    pub hold: Option<u64>,
    /// Seconds between the heartbeats of a link
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub heartbeat: u64,
    /// Seconds between the health reports of a link; 0 is none but those that the server asks for
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub health: u64,
    /// Seconds between the lines on heartbeats
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub beats_every: u64,
    /// What devices do once they have joined
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Behaviour::Good)]
    pub behave: Behaviour,
    /// Local addresses to dial from, in turn; each has its own ports. To a loopback server 127.0.0.2 to .5 by default
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub source: Vec<Ipv4Addr>,
    /// The firmware UUID that devices say they run
    #[arg(long, value_name = "UUID", default_value = "3a1f0c6e-7d55-5b1e-9b0a-6c1f2f0a9d11")]
    pub firmware_uuid: String,
    /// The product in their firmware
    #[arg(long, value_name = "NAME", default_value = "swarm")]
    pub product: String,
    /// Their platform
    #[arg(long, value_name = "NAME", default_value = "rpi4")]
    pub platform: String,
    /// Their architecture
    #[arg(long, value_name = "NAME", default_value = "arm")]
    pub architecture: String,
    /// Their version
    #[arg(long, value_name = "VERSION", default_value = "1.0.0")]
    pub firmware_version: String,
    /// Read commands from standard input, one a line: `down` drops every connection, `up` dials again, `full` dials without
    /// the sessions that --resume keeps and `resume` with them, `all` lets all dial at the same time, `beats` tells of heartbeats now,
    /// `quiet` holds health reports back and `loud` does not, `quit` ends; so does the end of the input
    #[arg(long)]
    pub commands: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn identifiers_are_numbered_from_the_first() {
        let range = Range {
            links: 2,
            first: 9,
            prefix: "d-".into(),
        };
        assert_eq!(range.identifiers().collect::<Vec<_>>(), ["d-00009", "d-00010"]);
    }
}
