//! Comparing `require-fwup-version` (format §2.6).

use crate::{FWUP_VERSION, error::Error};

/// Checks that a required version is one and is not above [`FWUP_VERSION`].
pub(crate) fn check(required: &str) -> Result<(), Error> {
    match (parse(required), parse(FWUP_VERSION)) {
        (Some(required), Some(own)) if required <= own => Ok(()),
        _ => Err(Error::TooNew {
            required: required.chars().take(40).collect(),
        }),
    }
}

/// Up to three numbers; what is missing is 0. A pre-release comes before its release, and is let pass with it.
pub(crate) fn parse(version: &str) -> Option<[u64; 3]> {
    let core = version.split(['-', '+']).next()?;
    let mut numbers = [0; 3];
    let mut parts = core.split('.');
    for (number, part) in numbers.iter_mut().zip(parts.by_ref()) {
        *number = part.parse().ok().filter(|_| part.bytes().all(|c| c.is_ascii_digit()))?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for good in ["1.16.0", "1.9", "1", "0", "1.16.0-rc.1"] {
            check(good).unwrap();
        }
        for bad in ["1.16.1", "2", "99.0.0", "", "x", "1.x", "1.2.3.4", "-1", "+1", "1..2"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
