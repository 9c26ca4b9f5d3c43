//! What a device says of its own protocol level (device-link §3.6).

use semver::Version;

/// `device_api_version` of the join. One that is missing or does not parse counts as 1.0.0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceApiVersion(Version);

impl DeviceApiVersion {
    /// The level that Muster's agent speaks.
    pub const OURS: &'static str = "2.3.0";

    /// Reads what the device reported.
    pub fn parse(reported: Option<&str>) -> Self {
        Self(
            reported
                .and_then(|text| Version::parse(text).ok())
                .unwrap_or(Version::new(1, 0, 0)),
        )
    }

    /// Whether the device takes `archive` pushes.
    pub fn takes_archives(&self) -> bool {
        self.0 >= Version::new(2, 0, 0)
    }

    /// Whether the device runs scripts that are pushed on the device topic.
    pub fn runs_scripts(&self) -> bool {
        self.0 >= Version::new(2, 1, 0)
    }

    /// Whether the device answers `extensions:get`.
    pub fn has_extensions(&self) -> bool {
        self.0 >= Version::new(2, 2, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::DeviceApiVersion;

    #[test]
    fn missing_or_odd_version_counts_as_the_oldest() {
        for reported in [None, Some(""), Some("two"), Some("2.2")] {
            assert!(!DeviceApiVersion::parse(reported).takes_archives());
        }
    }

    #[test]
    fn prerelease_is_below_its_release() {
        assert!(!DeviceApiVersion::parse(Some("2.2.0-dev")).has_extensions());
        assert!(DeviceApiVersion::parse(Some("2.2.0-dev")).runs_scripts());
        assert!(DeviceApiVersion::parse(Some("2.3.0")).has_extensions());
    }
}
