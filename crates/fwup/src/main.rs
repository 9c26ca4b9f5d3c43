//! `muster-fwup`: makes, signs, reads and applies `.fw` archives with fwup's command line.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
