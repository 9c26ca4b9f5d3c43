//! Which extensions operators switch, for a product or for one device (device-link §3.5).

use muster_link::{Extension, ExtensionSet};
use serde_json::{Map, Value};

/// The extensions that are switched, in the order in which they are shown. `renewal` is none of them: it goes with the CA
/// that issues the certificates (decision 0010).
pub const SWITCHED: [Extension; 5] = [
    Extension::Health,
    Extension::Geo,
    Extension::Logging,
    Extension::NetworkIdentity,
    Extension::LocalShell,
];

/// Extensions to switch on and off; the others stay as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switches {
    on: ExtensionSet,
    off: ExtensionSet,
}

/// Why a name is no switch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// There is no such extension.
    #[error("has no {0}: there are {all}", all = names(SWITCHED.into_iter().collect()).join(", "))]
    Unknown(String),
    /// Renewal is switched with the CA.
    #[error("has no renewal: it is switched on with the CA certificate that issues the devices' certificates")]
    Renewal,
}

impl Switches {
    /// Also switches the extension of this name.
    ///
    /// # Errors
    /// [`SwitchError`] when it is none that is switched.
    pub fn set(&mut self, name: &str, on: bool) -> Result<(), SwitchError> {
        match Extension::named(name) {
            Some(Extension::Renewal) => return Err(SwitchError::Renewal),
            Some(extension) => {
                let (to, from) = if on {
                    (&mut self.on, &mut self.off)
                } else {
                    (&mut self.off, &mut self.on)
                };
                to.insert(extension);
                from.remove(extension);
            }
            None => return Err(SwitchError::Unknown(name.chars().take(40).collect())),
        }
        Ok(())
    }

    /// Whether nothing is switched.
    pub fn is_empty(&self) -> bool {
        self.on.is_empty() && self.off.is_empty()
    }

    /// The names of those that are switched on.
    pub fn on(&self) -> Vec<String> {
        names(self.on)
    }

    /// The names of those that are switched off.
    pub fn off(&self) -> Vec<String> {
        names(self.off)
    }

    /// As the audit log tells it; null when nothing is switched.
    pub fn record(&self) -> Value {
        if self.is_empty() {
            return Value::Null;
        }
        let pairs = |set: ExtensionSet, on: bool| set.iter().map(move |one| (one.name().to_owned(), on.into()));
        Value::Object(pairs(self.on, true).chain(pairs(self.off, false)).collect())
    }
}

fn names(set: ExtensionSet) -> Vec<String> {
    set.names().into_iter().map(str::to_owned).collect()
}

/// The set of these names; what is not known is left out.
pub fn set_of(names: &[String]) -> ExtensionSet {
    names.iter().filter_map(|name| Extension::named(name)).collect()
}

/// Every switch by its name, as the API shows them.
pub fn shown(on: ExtensionSet) -> Map<String, Value> {
    let pair = |extension: Extension| (extension.name().to_owned(), on.has(extension).into());
    SWITCHED.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn last_word_on_an_extension_counts_and_others_are_left() {
        let mut switches = Switches::default();
        assert_eq!((switches.is_empty(), switches.record()), (true, Value::Null));
        for (name, on) in [("health", true), ("geo", true), ("geo", false)] {
            switches.set(name, on).unwrap();
        }
        assert_eq!(
            (switches.on(), switches.off()),
            (vec!["health".to_owned()], vec!["geo".to_owned()])
        );
        assert_eq!(switches.record(), json!({ "health": true, "geo": false }));
    }

    #[test]
    fn what_is_no_switch_is_said() {
        let mut switches = Switches::default();
        assert_eq!(
            switches.set("telepathy", true).unwrap_err().to_string(),
            "has no telepathy: there are health, geo, local_shell, logging, network_identity"
        );
        assert_eq!(switches.set("renewal", true), Err(SwitchError::Renewal));
        assert!(switches.is_empty());
    }

    #[test]
    fn all_are_shown() {
        let on = set_of(&["health".to_owned(), "nope".to_owned()]);
        let shown = shown(on);
        assert_eq!(
            (shown.len(), &shown["health"], &shown["geo"]),
            (5, &json!(true), &json!(false))
        );
    }
}
