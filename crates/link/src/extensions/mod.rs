//! The typed messages of the topic `extensions` (device-link §3.5): events are named `{extension}:{event}`.

mod from;
mod geo;
mod health;
mod identity;
mod log;
mod offers;
mod shell;
mod to;

pub use from::FromExtensions;
pub use geo::{Fix, Location};
pub use health::{Check, HealthReport, HealthStatus, Interface};
pub use identity::{Identity, IdentityService};
pub use log::LogLine;
pub use offers::{Extension, ExtensionSet, Offers};
pub use shell::ShellStatus;
pub use to::{Names, ToExtensions};
