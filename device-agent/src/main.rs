//! The `muster-agent` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_agent::cli::main()
}
