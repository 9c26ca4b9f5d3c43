//! Reading what a device sent without refusing the whole for one odd field (device-link §7).

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::limits::FIELD_MAX;

/// A text; anything else, and a text over [`FIELD_MAX`], is absent.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) if text.len() <= FIELD_MAX && !text.contains('\0') => Some(text),
        _ => None,
    })
}

/// Prose such as a reason: cut at [`FIELD_MAX`] bytes, without the NUL that a database does not store.
pub(crate) fn prose<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(cut(&text.replace('\0', " "))),
        _ => None,
    })
}

/// A boolean; anything else is absent.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_bool())
}

/// A whole number from 0; fractions are cut off, anything else is absent.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value
        .as_u64()
        .or_else(|| value.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64)))
}

/// The field as its own type, or its default when it does not fit.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned + Default,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).unwrap_or_default())
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(FIELD_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::cut;
    use crate::limits::FIELD_MAX;

    #[test]
    fn prose_is_cut_between_characters() {
        let text = "é".repeat(FIELD_MAX);
        assert_eq!(cut(&text).len(), FIELD_MAX);
        assert_eq!(cut("short"), "short");
    }
}
