//! Reading what a device sent without refusing the whole for one odd field (device-link §7).

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::limits::{FIELD_MAX, NAME_MAX};

/// A value without parts; arrays and maps are passed over and nothing of them is kept.
enum Scalar {
    Text(String),
    Flag(bool),
    Count(u64),
    Number(f64),
    Other,
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Scalar, E> {
        Ok(Scalar::Flag(flag))
    }

    fn visit_u64<E>(self, count: u64) -> Result<Scalar, E> {
        Ok(Scalar::Count(count))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(u64::try_from(number).map_or(Scalar::Number(number as f64), Scalar::Count))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_none<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
    deserializer.deserialize_any(ScalarVisitor)
}

/// A text; anything else, and a text over [`FIELD_MAX`] or with a NUL, is absent.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    name::<D, FIELD_MAX>(deserializer)
}

/// A text of at most `MAX` bytes; anything else, and one with a NUL, is absent.
pub(crate) fn name<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match scalar(deserializer)? {
        Scalar::Text(text) if text.len() <= MAX && !text.contains('\0') => Some(text),
        _ => None,
    })
}

/// Prose such as a reason: cut at [`FIELD_MAX`] bytes, without the NUL that a database does not store.
pub(crate) fn prose<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    long::<D, FIELD_MAX>(deserializer)
}

/// Prose of at most `MAX` bytes; the rest is cut off.
pub(crate) fn long<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match scalar(deserializer)? {
        Scalar::Text(text) => Some(cut(text, MAX)),
        _ => None,
    })
}

/// Text of a terminal or a file, as it is; longer than `MAX` bytes it is cut off.
pub(crate) fn raw<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match scalar(deserializer)? {
        Scalar::Text(mut text) => {
            text.truncate(text.floor_char_boundary(MAX));
            Some(text)
        }
        _ => None,
    })
}

/// A boolean; anything else is absent.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(match scalar(deserializer)? {
        Scalar::Flag(flag) => Some(flag),
        _ => None,
    })
}

/// A whole number from 0; fractions are cut off, anything else is absent.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match scalar(deserializer)? {
        Scalar::Count(count) => Some(count),
        Scalar::Number(number) if number >= 0.0 => Some(number as u64),
        _ => None,
    })
}

/// A number, or a text that is one as NervesHubLink writes some; anything else is absent.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let number = match scalar(deserializer)? {
        Scalar::Count(count) => Some(count as f64),
        Scalar::Number(number) => Some(number),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Flag(_) | Scalar::Other => None,
    };
    Ok(number.filter(|number: &f64| number.is_finite()))
}

/// A whole number, negative ones too; anything else is absent.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(number(deserializer)?.map(|number| number as i64))
}

/// A time in RFC 3339; anything else is absent.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    Ok(text(deserializer)?.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok()))
}

/// The field as its own type, or its default when it does not fit.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).unwrap_or_default())
}

/// Up to `MAX` entries of an array that fit; the others are left out. What is no array is empty.
pub(crate) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let Value::Array(list) = Value::deserialize(deserializer)? else {
        return Ok(Vec::new());
    };
    Ok(list
        .into_iter()
        .filter_map(|value| T::deserialize(value).ok())
        .take(MAX)
        .collect())
}

/// Up to `MAX` pairs of a map whose values fit and whose keys are at most [`NAME_MAX`] bytes; the others are left out.
pub(crate) fn pairs<'de, D, T, const MAX: usize>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let Value::Object(map) = Value::deserialize(deserializer)? else {
        return Ok(BTreeMap::new());
    };
    let fits = map
        .into_iter()
        .filter(|(key, _)| (1..=NAME_MAX).contains(&key.len()) && !key.contains('\0'));
    Ok(fits
        .filter_map(|(key, value)| Some((key, T::deserialize(value).ok()?)))
        .take(MAX)
        .collect())
}

/// A number as peers write it: whole ones without a fraction.
pub(crate) struct Plain(pub f64);

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Up to here every whole number is exact.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() <= EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// Writes a number that may be absent; see [`Plain`].
#[expect(clippy::ref_option, reason = "serde hands fields over so")]
pub(crate) fn plain<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    number.map(Plain).serialize(serializer)
}

/// Writes numbers by name; see [`Plain`].
pub(crate) fn plain_pairs<S: Serializer>(numbers: &BTreeMap<String, f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(numbers.iter().map(|(name, number)| (name, Plain(*number))))
}

/// The text without NUL, cut at `max` bytes between characters.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    if text.contains('\0') {
        text.replace('\0', " ")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct All {
        #[serde(deserialize_with = "text")]
        text: Option<String>,
        #[serde(deserialize_with = "flag")]
        flag: Option<bool>,
        #[serde(deserialize_with = "count")]
        count: Option<u64>,
        #[serde(deserialize_with = "number")]
        number: Option<f64>,
        #[serde(deserialize_with = "list::<_, _, 2>")]
        list: Vec<String>,
        #[serde(deserialize_with = "pairs::<_, _, 2>")]
        pairs: BTreeMap<String, String>,
    }

    #[test]
    fn prose_is_cut_between_characters() {
        let text = "é".repeat(FIELD_MAX);
        assert_eq!(cut(text, FIELD_MAX).len(), FIELD_MAX);
        assert_eq!(cut("é\0".into(), 1), "");
        assert_eq!(cut("a\0b".into(), 9), "a b");
    }

    #[test]
    fn whatever_does_not_fit_is_absent() {
        for odd in [
            "null",
            "[1,[2],{\"a\":1}]",
            "{\"a\":[1]}",
            "true",
            "-1",
            "\"x\"",
            "1.5e300",
        ] {
            let json = format!(
                r#"{{"text":{odd},"flag":{odd},"count":{odd},"number":{odd},"list":{odd},"pairs":{odd},"other":{odd}}}"#
            );
            let all: All = serde_json::from_str(&json).unwrap();
            assert_eq!(all.text.is_some(), odd == "\"x\"", "{odd}");
            assert_eq!(all.flag.is_some(), odd == "true", "{odd}");
            assert_eq!(all.count.is_some(), odd.starts_with("1.5"), "{odd}");
            assert_eq!(all.number.is_some(), odd == "-1" || odd.starts_with("1.5"), "{odd}");
            assert_eq!(all.list, [""; 0], "{odd}");
            let value: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(All::deserialize(&value).unwrap(), all, "{odd}");
        }
    }

    #[test]
    fn lists_and_maps_are_bounded() {
        let all: All = serde_json::from_str(
            r#"{"list":["a",1,"b","c"],"pairs":{"a":"1","b":2,"c":"3","d":"4"},"number":"123456789012"}"#,
        )
        .unwrap();
        assert_eq!(all.list, ["a", "b"]);
        assert_eq!(all.pairs.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(all.number, Some(123_456_789_012.0));
    }
}
