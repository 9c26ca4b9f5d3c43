//! Version requirements in Elixir's syntax, as groups of peers have them: `>= 1.0.0 and < 2.0.0 or ~> 3.1`.

use std::cmp::Ordering;
use std::str::FromStr;

use semver::Version;

/// Longest requirement, in bytes.
pub const REQUIREMENT_MAX: usize = 200;

/// Which versions match: any of several lists of comparisons that all hold. Empty matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement(Vec<Vec<Comparison>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Comparison {
    Ordered(Operator, Version),
    /// From the first up to, but without, the second.
    Between(Version, Version),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    AtLeast,
    AtMost,
    Above,
    Below,
}

impl Operator {
    /// By what they begin with; a longer one stands before its beginning.
    const ALL: [(&str, Self); 6] = [
        ("==", Self::Equal),
        ("!=", Self::Unequal),
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        (">", Self::Above),
        ("<", Self::Below),
    ];

    fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::AtLeast => order.is_ge(),
            Self::AtMost => order.is_le(),
            Self::Above => order.is_gt(),
            Self::Below => order.is_lt(),
        }
    }
}

/// Why a text is no requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// Longer than [`REQUIREMENT_MAX`].
    #[error("should be at most 200 characters")]
    TooLong,
    /// A part that is no comparison.
    #[error("does not understand `{0}`; write it like `>= 1.0.0 and < 2.0.0` or `~> 1.2`")]
    Part(String),
}

impl Requirement {
    /// Whether a version matches. What is no SemVer matches only an empty requirement.
    pub fn matches(&self, version: &str) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Ok(version) = Version::parse(version) else {
            return false;
        };
        self.0
            .iter()
            .any(|all| all.iter().all(|comparison| comparison.holds(&version)))
    }
}

impl Comparison {
    fn holds(&self, version: &Version) -> bool {
        match self {
            Self::Ordered(operator, bound) => operator.accepts(version.cmp_precedence(bound)),
            Self::Between(from, to) => {
                version.cmp_precedence(from).is_ge()
                    && (version.major, version.minor, version.patch) < (to.major, to.minor, to.patch)
            }
        }
    }

    fn parse(part: &str) -> Option<Self> {
        let part = part.trim();
        if let Some(version) = part.strip_prefix("~>") {
            return Self::parse_pessimistic(version.trim());
        }
        for (sign, operator) in Operator::ALL {
            if let Some(version) = part.strip_prefix(sign) {
                return Some(Self::Ordered(operator, Version::parse(version.trim()).ok()?));
            }
        }
        Some(Self::Ordered(Operator::Equal, Version::parse(part).ok()?))
    }

    /// `~> 2.1.3` stays below 2.2.0, `~> 2.1` below 3.0.0.
    fn parse_pessimistic(version: &str) -> Option<Self> {
        if let Ok(from) = Version::parse(version) {
            let to = Version::new(from.major, from.minor.checked_add(1)?, 0);
            return Some(Self::Between(from, to));
        }
        let from = Version::parse(&format!("{version}.0")).ok()?;
        let to = Version::new(from.major.checked_add(1)?, 0, 0);
        Some(Self::Between(from, to))
    }
}

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > REQUIREMENT_MAX {
            return Err(RequirementError::TooLong);
        }
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let part = |part: &str| Comparison::parse(part).ok_or_else(|| RequirementError::Part(part.trim().to_owned()));
        let all = |text: &str| text.split(" and ").map(part).collect::<Result<Vec<_>, _>>();
        text.split(" or ").map(all).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(requirement: &str, version: &str) -> bool {
        requirement.parse::<Requirement>().unwrap().matches(version)
    }

    #[test]
    fn comparisons_hold_as_in_elixir() {
        for (requirement, version, expected) in [
            ("", "whatever", true),
            (">= 1.0.0", "1.0.0", true),
            ("> 1.0.0", "1.0.0", false),
            ("< 1.0.0", "1.0.0-rc.1", true),
            ("1.2.3", "1.2.3", true),
            ("!= 1.2.3", "1.2.3", false),
            ("== 1.2.3", "1.2.3+build", true),
            ("~> 2.1.3", "2.1.9", true),
            ("~> 2.1.3", "2.2.0", false),
            ("~> 2.1.3", "2.2.0-rc.1", false),
            ("~> 2.1", "2.9.0", true),
            ("~> 2.1", "3.0.0", false),
            (">= 1.0.0 and < 2.0.0", "1.9.9", true),
            (">= 1.0.0 and < 2.0.0", "2.0.0", false),
            ("< 1.0.0 or > 2.0.0", "3.0.0", true),
            (">= 1.0.0", "not-semver", false),
        ] {
            assert_eq!(matches(requirement, version), expected, "{requirement} {version}");
        }
    }

    #[test]
    fn what_is_no_comparison_is_named() {
        assert_eq!("> 1".parse::<Requirement>(), Err(RequirementError::Part("> 1".into())));
        assert_eq!(
            ">= 1.0.0 and".parse::<Requirement>(),
            Err(RequirementError::Part(">= 1.0.0 and".into()))
        );
        assert_eq!(
            "~> 18446744073709551615.0".parse::<Requirement>(),
            Err(RequirementError::Part("~> 18446744073709551615.0".into()))
        );
        assert_eq!("x".repeat(201).parse::<Requirement>(), Err(RequirementError::TooLong));
    }
}
