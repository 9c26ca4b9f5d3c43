//! `muster-bench`: what `make bench` runs. Starts a real server of its own in a temporary folder, measures it from outside
//! with real clients, and prints one line of JSON a figure: `{"name","value","unit","n"}`. Figures that begin with `fwup.`
//! are of the `muster-fwup` command and need no server.
//!
//! Server, Postgres and clients share the machine, so figures are of the whole, as a small installation would see it.

mod firmware;
mod fleet;
mod fwup;
mod image;
mod links;
mod nginx;
mod output;
mod process;
mod reader;
mod server;
#[path = "../swarm/stamp.rs"]
mod stamp;
mod swarm;
mod tool;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use self::output::Figures;

/// Measures a server of its own and prints a line of JSON a figure.
#[derive(Debug, Parser)]
#[command(
    name = "muster-bench",
    version,
    after_help = "The server is target/release/muster-server, or what MUSTER_SERVER names. `make bench` builds it first:\n  \
    make bench ONLY=link\n\nBars and what each figure means are in docs/decisions."
)]
struct Cli {
    /// Only figures whose names begin so, such as firmware or link.fanout
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Links of the link figures
    #[arg(long, value_name = "N", default_value_t = 15_000)]
    links: u32,
    /// Where the certificates of the devices lie from one run to the next
    #[arg(long, value_name = "DIR", default_value = "target/bench-certs")]
    certs: PathBuf,
    /// Leave the temporary folder there: the server's log, its database
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::problem(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime")?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another cryptography provider is installed"))?;
    let figures = Figures::only(&cli.only);
    let folder = process::folder(cli.keep)?;
    let done = runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            done = measure(cli, &figures, folder.path()) => done,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("told to end")),
        }
    });
    // Dropping what `measure` held has ended every process that it started.
    runtime.shutdown_background();
    done?;
    figures.check()
}

async fn measure(cli: &Cli, figures: &Figures, folder: &std::path::Path) -> anyhow::Result<()> {
    // Figures of a machine that does other things are worth less: say how busy it was before.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    output::note(format_args!("the machine's load before is {}", load.trim()));
    if figures.want_any(&links::NAMES) {
        links::measure(figures, &folder.join("links"), &cli.certs, cli.links).await?;
    }
    if figures.want_any(&firmware::NAMES) {
        firmware::measure(figures, &folder.join("firmware")).await?;
    }
    if fwup::wanted(figures) {
        fwup::measure(figures, &folder.join("fwup")).await?;
    }
    Ok(())
}
