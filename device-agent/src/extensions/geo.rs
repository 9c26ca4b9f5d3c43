//! The extension `geo`: where the device is, from the configuration or from a program of it, whose first line is
//! `LATITUDE LONGITUDE [ACCURACY]` in degrees and metres.

use std::path::PathBuf;
use std::time::Duration;

use muster_link::{Fix, Location};

use crate::program::{self, Program};

/// How the place is found.
#[derive(Debug, Clone, PartialEq)]
pub enum GeoSettings {
    /// It does not change.
    Fixed(Fix),
    /// A program knows it.
    Script {
        /// The program.
        path: PathBuf,
        /// How long it may take.
        time_limit: Duration,
    },
}

/// Finds the place.
pub async fn locate(settings: GeoSettings) -> Location {
    match settings {
        GeoSettings::Fixed(fix) => Location::Found(fix),
        GeoSettings::Script { path, time_limit } => match program::run(Program::new(&path, time_limit)).await {
            Ok(output) => parse(&output).map_or_else(
                || failed("NO_LOCATION", "the program says no place".to_owned()),
                Location::Found,
            ),
            Err(cause) => failed("PROGRAM_ERROR", cause.to_string()),
        },
    }
}

fn failed(code: &str, description: String) -> Location {
    Location::Failed {
        code: code.to_owned(),
        description,
    }
}

fn parse(output: &str) -> Option<Fix> {
    let mut numbers = output.lines().next()?.split_whitespace().map(str::parse::<f64>);
    let latitude = numbers.next()?.ok().filter(|degrees| degrees.abs() <= 90.0)?;
    let longitude = numbers.next()?.ok().filter(|degrees| degrees.abs() <= 180.0)?;
    let accuracy = numbers.next().and_then(Result::ok).filter(|metres| *metres >= 0.0);
    Some(Fix {
        source: Some("program".to_owned()),
        latitude,
        longitude,
        accuracy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_nonsense_is_none() {
        let fix = parse("52.09 5.12 25\nmore").unwrap();
        assert_eq!((fix.latitude, fix.longitude, fix.accuracy), (52.09, 5.12, Some(25.0)));
        assert_eq!(parse("-1 -180").unwrap().accuracy, None);
        for odd in ["", "1", "91 0", "0 181", "NaN 0", "x y", "\n1 2"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[tokio::test]
    async fn program_that_fails_is_told() {
        let script = |path: &str| GeoSettings::Script {
            path: path.into(),
            time_limit: Duration::from_secs(10),
        };
        assert!(matches!(locate(script("/bin/false")).await, Location::Failed { code, .. } if code == "PROGRAM_ERROR"));
        assert!(matches!(locate(script("/bin/true")).await, Location::Failed { code, .. } if code == "NO_LOCATION"));
    }
}
