//! `make demo`: a server, eight real agents on virtual boards, a signed update rolled out three at a time while one board
//! asks for later and one download is cut in the middle.

mod output;
mod rollout;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Shows Muster on this machine: a server with a Postgres of its own, and eight devices that it updates.
#[derive(Debug, Parser)]
#[command(
    name = "muster-demo",
    after_help = "Ctrl-C ends the server and the devices. The data stays in the folder."
)]
struct Arguments {
    /// Ends by itself: free ports, a temporary folder, a table of how it went, and exit status 1 when it went wrong.
    #[arg(long)]
    once: bool,
    /// Where the server and the devices keep their data; made anew at each start. Without it: demo-data here, or
    /// /var/tmp/muster-demo where we are root and the user postgres cannot pass through to here.
    #[arg(long, conflicts_with = "once")]
    data_dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        output::problem(&anyhow::anyhow!("a cryptographic provider was installed before"));
        return ExitCode::FAILURE;
    }
    let shown = async {
        if arguments.once {
            rollout::once().await
        } else {
            rollout::stay(arguments.data_dir).await
        }
    };
    tokio::select! {
        shown = shown => match shown {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::problem(&error);
                ExitCode::FAILURE
            }
        },
        _ = tokio::signal::ctrl_c() => {
            output::line("Ended by Ctrl-C.");
            ExitCode::from(130)
        }
    }
}
