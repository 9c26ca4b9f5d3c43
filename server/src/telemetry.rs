//! What the process says about itself, on standard error.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logging};

/// Lines of libraries that say nothing to an operator, unless asked for.
const QUIET: &str = "sqlx=warn,actix_server=warn,actix_http=warn,postgresql_embedded=warn,postgresql_commands=warn";

/// Begins to log.
///
/// # Errors
/// When something in this process logs already.
pub fn init(logging: &Logging) -> anyhow::Result<()> {
    let filter: EnvFilter = format!("{QUIET},{}", logging.filter)
        .parse()
        .context("the log filter")?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let installed = match logging.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| anyhow::anyhow!("logging could not begin: {error}"))
}
