//! Geo: where a device is, or why it does not know.

use serde::{Deserialize, Serialize};

use crate::lenient;

/// A place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fix {
    /// Where it comes from, such as `geoip`.
    pub source: Option<String>,
    /// Degrees, north positive, -90 to 90.
    pub latitude: f64,
    /// Degrees, east positive, -180 to 180.
    pub longitude: f64,
    /// Radius in metres, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// What a device says of where it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Location {
    /// There.
    Found(Fix),
    /// It could not find out.
    Failed {
        /// Such as `HTTP_ERROR`.
        code: String,
        /// In the device's words.
        description: String,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Wire {
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(
        deserialize_with = "lenient::number",
        serialize_with = "lenient::plain",
        skip_serializing_if = "Option::is_none"
    )]
    latitude: Option<f64>,
    #[serde(
        deserialize_with = "lenient::number",
        serialize_with = "lenient::plain",
        skip_serializing_if = "Option::is_none"
    )]
    longitude: Option<f64>,
    #[serde(
        deserialize_with = "lenient::number",
        serialize_with = "lenient::plain",
        skip_serializing_if = "Option::is_none"
    )]
    accuracy: Option<f64>,
    #[serde(deserialize_with = "lenient::text", skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    #[serde(deserialize_with = "lenient::prose", skip_serializing_if = "Option::is_none")]
    error_description: Option<String>,
}

impl Wire {
    /// A place that is on this planet, or a failure; else nothing.
    pub(super) fn read(self) -> Option<Location> {
        if let (Some(latitude), Some(longitude)) = (self.latitude, self.longitude) {
            let is_place = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
            return is_place.then_some(Location::Found(Fix {
                source: self.source,
                latitude,
                longitude,
                accuracy: self.accuracy.filter(|metres| *metres >= 0.0),
            }));
        }
        Some(Location::Failed {
            code: self.error_code?,
            description: self.error_description.unwrap_or_default(),
        })
    }

    pub(super) fn of(location: &Location) -> Self {
        match location.clone() {
            Location::Found(fix) => Self {
                source: fix.source,
                latitude: Some(fix.latitude),
                longitude: Some(fix.longitude),
                accuracy: fix.accuracy,
                ..Self::default()
            },
            Location::Failed { code, description } => Self {
                error_code: Some(code),
                error_description: Some(description),
                ..Self::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Location> {
        serde_json::from_str::<Wire>(json).unwrap().read()
    }

    #[test]
    fn only_places_on_this_planet_are_places() {
        assert!(
            matches!(read(r#"{"latitude":52,"longitude":-4.5,"accuracy":-1}"#), Some(Location::Found(fix)) if fix.accuracy.is_none())
        );
        for odd in [
            "{}",
            r#"{"latitude":91,"longitude":0}"#,
            r#"{"latitude":0,"longitude":"x"}"#,
            r#"{"latitude":0,"longitude":-181}"#,
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
        assert!(matches!(
            read(r#"{"error_code":"HTTP_ERROR"}"#),
            Some(Location::Failed { .. })
        ));
    }
}
