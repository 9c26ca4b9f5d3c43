//! What a device says on the topic `extensions`.

use serde::{Deserialize, Serialize};

use super::health::Envelope;
use super::{Extension, HealthReport, Identity, Location, LogLine, Offers, ShellStatus, geo, identity, log, shell};
use crate::console::{Data, text};
use crate::device::Empty;
use crate::frame::Head;
use crate::limits::PEM_MAX;
use crate::{Encoding, Frame, FrameError, Message, Ref, Topic, lenient};

/// What a device says of its extensions, and what they say.
#[derive(Debug, Clone, PartialEq)]
pub enum FromExtensions {
    /// The join: what the device has.
    Join(Offers),
    /// The extension runs.
    Attached(Extension),
    /// The extension was stopped.
    Detached(Extension),
    /// The extension could not be started.
    Error(Extension, String),
    /// A health report.
    Health(Box<HealthReport>),
    /// Where the device is.
    Location(Location),
    /// Whether a shell runs.
    ShellStatus(ShellStatus),
    /// Output of the shell.
    ShellOutput(String),
    /// The shell ended.
    ShellExited(i64),
    /// A log line.
    Log(Box<LogLine>),
    /// Keys of overlay networks: additive.
    Identities(Vec<Identity>),
    /// A request for a new certificate, in PEM, signed by the new key.
    RenewalRequest(String),
    /// A message of this extension that this version does not know.
    Other(Extension),
    /// A message of no extension that this version knows.
    Unknown,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Failure {
    #[serde(deserialize_with = "lenient::prose")]
    reason: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Request {
    #[serde(deserialize_with = "pem")]
    csr: Option<String>,
}

pub(super) fn pem<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    lenient::name::<D, PEM_MAX>(deserializer)
}

impl FromExtensions {
    /// The extension that a frame is of, by its event; it may be refused without being read.
    pub fn extension(frame: &Frame<'_>) -> Option<Extension> {
        Extension::named(frame.event.split_once(':')?.0)
    }

    /// Reads a frame of the topic `extensions`. A payload that does not fit its event is [`FromExtensions::Other`].
    pub fn read(frame: &Frame<'_>) -> Self {
        let payload = &frame.payload;
        if &*frame.event == "phx_join" {
            return Self::Join(payload.read().unwrap_or_default());
        }
        let Some((extension, (_, event))) = Self::extension(frame).zip(frame.event.split_once(':')) else {
            return Self::Unknown;
        };
        let read = match (extension, event) {
            (_, "attached") => Some(Self::Attached(extension)),
            (_, "detached") => Some(Self::Detached(extension)),
            (_, "error") => {
                let failure: Failure = payload.read().unwrap_or_default();
                Some(Self::Error(extension, failure.reason.unwrap_or_default()))
            }
            (Extension::Health, "report") => health(frame),
            (Extension::Geo, "location:update") => payload.read().ok().and_then(geo::Wire::read).map(Self::Location),
            (Extension::LocalShell, "request_status") => {
                payload.read().ok().and_then(shell::Status::read).map(Self::ShellStatus)
            }
            (Extension::LocalShell, "shell_output") => {
                let data: Option<Data> = payload.read_large().ok();
                data.and_then(|data| data.data).map(Self::ShellOutput)
            }
            (Extension::LocalShell, "shell_exited") => {
                let exited: Option<shell::Exited> = payload.read().ok();
                exited.map(|exited| Self::ShellExited(exited.exit_code.unwrap_or(-1)))
            }
            (Extension::Logging, "send") => {
                let line = payload.read().ok().and_then(log::Wire::read);
                line.map(|line| Self::Log(Box::new(line)))
            }
            (Extension::NetworkIdentity, "report") => payload
                .read()
                .ok()
                .map(|report: identity::Report| Self::Identities(report.read())),
            (Extension::Renewal, "request") => {
                let request: Option<Request> = payload.read().ok();
                request.and_then(|request| request.csr).map(Self::RenewalRequest)
            }
            _ => None,
        };
        read.unwrap_or(Self::Other(extension))
    }

    /// The message that a device sends.
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn encode(&self, encoding: Encoding, join_ref: &Ref, reference: &Ref) -> Result<Message, FrameError> {
        let head = Head {
            encoding,
            join_ref: Some(join_ref),
            reference: Some(reference),
            topic: Topic::Extensions,
        };
        let of = |extension: &Extension, event: &str| format!("{}:{event}", extension.name());
        match self {
            Self::Join(offers) => head.put("phx_join", offers),
            Self::Attached(extension) => head.put(&of(extension, "attached"), &Empty {}),
            Self::Detached(extension) => head.put(&of(extension, "detached"), &Empty {}),
            Self::Error(extension, reason) => {
                let reason = Some(reason.clone());
                head.put(&of(extension, "error"), &Failure { reason })
            }
            Self::Health(report) => {
                let value = Some(report.as_ref().clone());
                head.put("health:report", &Envelope { value })
            }
            Self::Location(location) => head.put("geo:location:update", &geo::Wire::of(location)),
            Self::ShellStatus(status) => head.put("local_shell:request_status", &shell::Status::of(status)),
            Self::ShellOutput(data) => head.put("local_shell:shell_output", &text(data)),
            Self::ShellExited(code) => {
                let exit_code = Some(*code);
                head.put("local_shell:shell_exited", &shell::Exited { exit_code })
            }
            Self::Log(line) => head.put("logging:send", &log::Wire::of(line)),
            Self::Identities(identities) => head.put("network_identity:report", &identity::Report::of(identities)),
            Self::RenewalRequest(csr) => head.put("renewal:request", &Request { csr: Some(csr.clone()) }),
            Self::Other(extension) => head.put(&of(extension, "unknown"), &Empty {}),
            Self::Unknown => head.put("unknown", &Empty {}),
        }
    }
}

fn health(frame: &Frame<'_>) -> Option<FromExtensions> {
    let envelope: Envelope = frame.payload.read().ok()?;
    Some(FromExtensions::Health(Box::new(envelope.value?)))
}
