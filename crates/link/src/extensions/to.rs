//! What a server says on the topic `extensions`.

use serde::{Deserialize, Serialize};

use super::from::pem;
use super::{ExtensionSet, shell};
use crate::console::{Data, side, text};
use crate::device::Empty;
use crate::frame::Head;
use crate::limits::EXTENSIONS_MAX;
use crate::{Encoding, Frame, FrameError, Message, Ref, Topic, lenient};

/// Extensions by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// Every one that the device has.
    All,
    /// These.
    These(Vec<String>),
}

impl Names {
    /// Those of a set.
    pub fn of(extensions: ExtensionSet) -> Self {
        Self::These(extensions.names().into_iter().map(str::to_owned).collect())
    }
}

/// What a server tells a device's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToExtensions {
    /// Start these and say so.
    Attach(Names),
    /// Stop these and say so.
    Detach(Names),
    /// Send a health report now.
    CheckHealth,
    /// Say where you are.
    RequestLocation,
    /// Start a shell, unless one runs.
    RequestShell,
    /// Keystrokes of the shell.
    ShellInput(String),
    /// The size of the shell's window.
    ShellWindow {
        /// Rows.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// End the shell, by this signal where one is named.
    KillShell(Option<u64>),
    /// Report the keys of overlay networks.
    RequestIdentities,
    /// The certificate that was asked for, in PEM.
    RenewalIssued(String),
    /// No certificate, and why.
    RenewalRefused(String),
    /// Something that this version does not know; it is ignored.
    Unknown(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum WireNames {
    One(String),
    #[serde(deserialize_with = "lenient::list::<_, _, EXTENSIONS_MAX>")]
    Some(Vec<String>),
}

#[derive(Debug, Serialize, Deserialize)]
struct WireExtensions {
    extensions: WireNames,
}

impl WireExtensions {
    fn read(self) -> Names {
        match self.extensions {
            WireNames::One(name) if name == "all" => Names::All,
            WireNames::One(name) => Names::These(vec![name]),
            WireNames::Some(names) => Names::These(names),
        }
    }

    fn of(names: &Names) -> Self {
        let extensions = match names {
            Names::All => WireNames::One("all".to_owned()),
            Names::These(names) => WireNames::Some(names.clone()),
        };
        Self { extensions }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Issued {
    #[serde(deserialize_with = "pem")]
    certificate: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Refused {
    #[serde(deserialize_with = "lenient::prose")]
    reason: Option<String>,
}

impl ToExtensions {
    /// Reads a push of the topic `extensions`. One whose payload does not fit is [`ToExtensions::Unknown`].
    pub fn read(frame: &Frame<'_>) -> Self {
        let payload = &frame.payload;
        let names = || payload.read().ok().map(WireExtensions::read);
        let read = match &*frame.event {
            "attach" => names().map(Self::Attach),
            "detach" => names().map(Self::Detach),
            "health:check" => Some(Self::CheckHealth),
            "geo:location:request" => Some(Self::RequestLocation),
            "local_shell:request_shell" => Some(Self::RequestShell),
            "local_shell:shell_input" => {
                let data: Option<Data> = payload.read_large().ok();
                data.and_then(|data| data.data).map(Self::ShellInput)
            }
            "local_shell:window_size" => match payload.read() {
                Ok(shell::Window {
                    rows: Some(rows),
                    cols: Some(cols),
                }) => Some(Self::ShellWindow {
                    rows: side(rows),
                    cols: side(cols),
                }),
                _ => None,
            },
            "local_shell:kill_shell" => {
                let kill: shell::Kill = payload.read().unwrap_or_default();
                Some(Self::KillShell(kill.signal))
            }
            "network_identity:request" => Some(Self::RequestIdentities),
            "renewal:issued" => {
                let issued: Option<Issued> = payload.read().ok();
                issued.and_then(|issued| issued.certificate).map(Self::RenewalIssued)
            }
            "renewal:refused" => {
                let refused: Refused = payload.read().unwrap_or_default();
                Some(Self::RenewalRefused(refused.reason.unwrap_or_default()))
            }
            _ => None,
        };
        read.unwrap_or_else(|| Self::Unknown(frame.event.to_string()))
    }

    /// The message that a server sends: never with a `ref`.
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn encode(&self, encoding: Encoding, join_ref: Option<&Ref>) -> Result<Message, FrameError> {
        let head = Head {
            encoding,
            join_ref,
            reference: None,
            topic: Topic::Extensions,
        };
        match self {
            Self::Attach(names) => head.put("attach", &WireExtensions::of(names)),
            Self::Detach(names) => head.put("detach", &WireExtensions::of(names)),
            Self::CheckHealth => head.put("health:check", &Empty {}),
            Self::RequestLocation => head.put("geo:location:request", &Empty {}),
            Self::RequestShell => head.put("local_shell:request_shell", &Empty {}),
            Self::ShellInput(data) => head.put("local_shell:shell_input", &text(data)),
            Self::ShellWindow { rows, cols } => {
                let window = shell::Window {
                    rows: Some((*rows).into()),
                    cols: Some((*cols).into()),
                };
                head.put("local_shell:window_size", &window)
            }
            Self::KillShell(signal) => head.put("local_shell:kill_shell", &shell::Kill { signal: *signal }),
            Self::RequestIdentities => head.put("network_identity:request", &Empty {}),
            Self::RenewalIssued(pem) => {
                let certificate = Some(pem.clone());
                head.put("renewal:issued", &Issued { certificate })
            }
            Self::RenewalRefused(reason) => {
                let reason = Some(reason.clone());
                head.put("renewal:refused", &Refused { reason })
            }
            Self::Unknown(event) => head.put(event, &Empty {}),
        }
    }
}
