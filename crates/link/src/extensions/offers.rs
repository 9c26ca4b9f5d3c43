//! Which extensions there are, and which a device offers.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::limits::EXTENSIONS_MAX;

/// An extension that Muster knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extension {
    /// Metrics, alarms and checks.
    Health,
    /// Where the device is.
    Geo,
    /// A system shell.
    LocalShell,
    /// Log lines.
    Logging,
    /// Keys of overlay networks.
    NetworkIdentity,
    /// Certificates are renewed over the link. Muster's own; others do not offer it.
    Renewal,
}

impl Extension {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Health,
        Self::Geo,
        Self::LocalShell,
        Self::Logging,
        Self::NetworkIdentity,
        Self::Renewal,
    ];

    /// The version of all of them.
    pub const VERSION: &'static str = "0.0.1";

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Geo => "geo",
            Self::LocalShell => "local_shell",
            Self::Logging => "logging",
            Self::NetworkIdentity => "network_identity",
            Self::Renewal => "renewal",
        }
    }

    /// The extension of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.name() == name)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Some of the extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtensionSet(u8);

impl ExtensionSet {
    /// Whether it is one of them.
    pub fn has(self, extension: Extension) -> bool {
        self.0 & extension.bit() != 0
    }

    /// Adds it.
    pub fn insert(&mut self, extension: Extension) {
        self.0 |= extension.bit();
    }

    /// Takes it out; whether it was in.
    pub fn remove(&mut self, extension: Extension) -> bool {
        let had = self.has(extension);
        self.0 &= !extension.bit();
        had
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that the other has not.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Extension> {
        Extension::ALL.into_iter().filter(move |extension| self.has(*extension))
    }

    /// Their names on the wire.
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Extension::name).collect()
    }
}

impl FromIterator<Extension> for ExtensionSet {
    fn from_iter<I: IntoIterator<Item = Extension>>(extensions: I) -> Self {
        let mut set = Self::default();
        extensions.into_iter().for_each(|extension| set.insert(extension));
        set
    }
}

/// The join of the topic: each extension that the device has, with its version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offers(
    #[serde(deserialize_with = "crate::lenient::pairs::<_, _, EXTENSIONS_MAX>")] pub BTreeMap<String, String>,
);

impl Offers {
    /// The offers of a device that has these.
    pub fn of(extensions: ExtensionSet) -> Self {
        let pair = |extension: Extension| (extension.name().to_owned(), Extension::VERSION.to_owned());
        Self(extensions.iter().map(pair).collect())
    }

    /// Those that are known and whose version is `~> 0.0.1`: from 0.0.1 on, below 0.1.0.
    pub fn usable(&self) -> ExtensionSet {
        let fits = |version: &Version| *version >= Version::new(0, 0, 1) && *version < Version::new(0, 1, 0);
        self.0
            .iter()
            .filter(|(_, version)| Version::parse(version).is_ok_and(|version| fits(&version)))
            .filter_map(|(name, _)| Extension::named(name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_extensions_of_the_right_version_are_usable() {
        let offers: Offers = serde_json::from_str(
            r#"{"health":"0.0.1","geo":"0.0.9","local_shell":"0.1.0","logging":"0.0.0","network_identity":7,"nope":"0.0.1","renewal":"x"}"#,
        )
        .unwrap();
        assert_eq!(offers.usable().names(), ["health", "geo"]);
        assert!(!offers.usable().has(Extension::Logging));
    }

    #[test]
    fn sets_are_sets() {
        let all: ExtensionSet = Extension::ALL.into_iter().collect();
        assert_eq!(Offers::of(all).usable(), all);
        let mut some = ExtensionSet::default();
        some.insert(Extension::Geo);
        assert_eq!(all.without(some).names().len(), 5);
        assert_eq!(all.and(some), some);
        assert!(some.remove(Extension::Geo) && !some.remove(Extension::Geo) && some.is_empty());
    }
}
