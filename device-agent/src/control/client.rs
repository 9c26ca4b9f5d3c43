//! Asking a running agent by its socket, as `muster-agent status` does.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Request;

/// The agent answers sooner, or is stuck.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No agent listens there.
    #[error("no agent runs with the socket {0}")]
    NotRunning(String),
    /// The connection broke, or this user may not ask.
    #[error("the agent does not answer: {0}")]
    Io(#[from] io::Error),
    /// It answers something else.
    #[error("the agent's answer is no JSON: {0}")]
    Nonsense(#[from] serde_json::Error),
    /// It refuses.
    #[error("the agent says: {0}")]
    Refused(String),
}

/// Asks the agent whose socket this is.
///
/// # Errors
/// When no agent runs, or it refuses.
pub fn ask(socket: &Path, request: &Request) -> Result<Value, AskError> {
    let stream = UnixStream::connect(socket).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning(socket.display().to_string())
        }
        _ => AskError::Io(cause),
    })?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    writeln!(&stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
    }
    let answer: Value = serde_json::from_str(&line)?;
    match answer.get("ok") {
        Some(Value::Bool(true)) => Ok(answer),
        _ => Err(AskError::Refused(
            answer
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or("nothing")
                .to_owned(),
        )),
    }
}
