//! `muster-swarm`: many devices in one process. Each has a certificate and a link of its own and speaks the protocol as
//! NervesHubLink does (docs: device-link): TLS 1.2, upgrade, join with full parameters, heartbeats each 30 s, back-off
//! from its first entry. What happens is told as JSON lines on standard output.

mod args;
mod certs;
mod commands;
mod dial;
mod join;
mod link;
mod output;
mod run;
mod sessions;
mod stamp;
mod tally;
mod ws;

use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Cli, Command};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Certs(certs) => certs::make(&certs),
        Command::Run(run) => run::run(&run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::problem(&error);
            ExitCode::FAILURE
        }
    }
}
