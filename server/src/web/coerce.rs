//! Parameters as clients really send them: a form and the oldest client write every value as a string.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// A boolean: `true`, or `"true"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag(pub bool);

/// A whole number: `20`, or `"20"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(pub i64);

/// Words: `["a", "b"]`, or `"a,b"`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words(pub Vec<String>);

/// A boolean of either form.
pub fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => match text.trim() {
            "true" | "1" | "on" => Some(true),
            "false" | "0" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let flag = boolean(&value).map(Self);
        flag.ok_or_else(|| D::Error::custom(format!("{value} is neither true nor false")))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = match &value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.map(Self);
        number.ok_or_else(|| D::Error::custom(format!("{value} is not a whole number")))
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let not_words = || D::Error::custom("a list of words, or words with commas between them, is needed");
        let words = match &value {
            Value::Null => Vec::new(),
            Value::String(text) => text.split(',').map(|word| word.trim().to_owned()).collect(),
            Value::Array(words) => words
                .iter()
                .map(|word| word.as_str().map(str::to_owned).ok_or_else(not_words))
                .collect::<Result<_, _>>()?,
            _ => return Err(not_words()),
        };
        Ok(Self(words))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_themselves_and_as_strings() {
        let flag = |value| serde_json::from_value::<Flag>(value).ok().map(|flag| flag.0);
        assert_eq!(flag(json!(true)), Some(true));
        assert_eq!(flag(json!("false")), Some(false));
        assert_eq!(flag(json!("maybe")), None);
        let number = |value| serde_json::from_value::<Number>(value).ok().map(|number| number.0);
        assert_eq!(number(json!(20)), Some(20));
        assert_eq!(number(json!(" 20")), Some(20));
        assert_eq!(number(json!(2.5)), None);
        let words = |value| serde_json::from_value::<Words>(value).ok().map(|words| words.0);
        assert_eq!(words(json!(["a", "b"])), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(words(json!("a, b")), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(words(json!([1])), None);
    }
}
