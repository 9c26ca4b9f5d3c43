//! Whether an update is applied now: a library user's [`Policy`], a script of the configuration, or the built-in rule.

mod script;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use script::Script;

use crate::config::Settings;
use crate::update::Offer;

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Apply it now.
    Apply,
    /// Never mind; the server is told why.
    Ignore {
        /// Why.
        reason: String,
    },
    /// Later; the server is told when and why, and the same firmware is declined until then.
    Reschedule {
        /// How much later.
        delay: Duration,
        /// Why.
        reason: String,
    },
}

/// What a policy may want to know besides the offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The device.
    pub identifier: String,
    /// The firmware that runs.
    pub running_uuid: String,
    /// Its version.
    pub running_version: String,
    /// How often this offer was put off already.
    pub reschedules: u32,
}

/// A decision that is being made.
pub type Deciding<'a> = Pin<Box<dyn Future<Output = Decision> + Send + 'a>>;

/// Decides on offers.
pub trait Policy: Send + Sync {
    /// What to do with this offer.
    fn decide<'a>(&'a self, offer: &'a Offer, context: &'a Context) -> Deciding<'a>;
}

/// Applies whatever does not run already.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApplyNew;

/// The rule that holds before every policy: what runs already is not applied again.
pub fn already_running(offer: &Offer, context: &Context) -> Option<Decision> {
    (offer.uuid == context.running_uuid).then(|| Decision::Ignore {
        reason: "this firmware is running already".to_owned(),
    })
}

impl Policy for ApplyNew {
    fn decide<'a>(&'a self, offer: &'a Offer, context: &'a Context) -> Deciding<'a> {
        Box::pin(async move { already_running(offer, context).unwrap_or(Decision::Apply) })
    }
}

/// The policy that the configuration asks for.
pub fn from_settings(settings: &Settings) -> Box<dyn Policy> {
    match &settings.policy.script {
        Some(path) => Box::new(Script::new(path.clone(), settings)),
        None => Box::new(ApplyNew),
    }
}
