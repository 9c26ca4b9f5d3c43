//! Scripts that a server has a device run (device-link §3.2, §3.3).

use serde::{Deserialize, Serialize};

use crate::lenient;
use crate::limits::{SCRIPT_OUTPUT_MAX, SCRIPT_REF_MAX, SCRIPT_TEXT_MAX};

/// A script to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Script {
    /// The code.
    #[serde(deserialize_with = "text")]
    pub text: String,
    /// Comes back with the result.
    #[serde(rename = "ref", deserialize_with = "reference")]
    pub reference: String,
    /// Milliseconds that it may run; without it [`crate::limits::SCRIPT_TIMEOUT`].
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

impl Script {
    /// The reference of the code that runs at each connect.
    pub const CONNECTING_CODE: &'static str = "connecting_code";
}

/// Whether a script ran to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Completion {
    /// It did; an exception in it is told in its output.
    #[default]
    Completed,
    /// It did not.
    Error,
}

/// What became of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScriptResult {
    /// The script's reference.
    #[serde(rename = "ref", deserialize_with = "reference")]
    pub reference: String,
    /// Clients before 2.10 do not say.
    #[serde(deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub result: Option<Completion>,
    /// What it printed.
    #[serde(deserialize_with = "output")]
    pub output: String,
    /// Its value, as text.
    #[serde(rename = "return", deserialize_with = "output")]
    pub value: String,
    /// Why it did not end, such as `timeout`.
    #[serde(deserialize_with = "lenient::prose", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ScriptResult {
    /// Output and value as people read them.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.output, self.value).trim().to_owned()
    }

    /// Whether the code that runs at each connect did what it should: it ended, and with a value.
    pub fn is_good(&self) -> bool {
        self.result != Some(Completion::Error) && self.value != "nil"
    }
}

fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    lenient::raw::<D, SCRIPT_TEXT_MAX>(deserializer).map(Option::unwrap_or_default)
}

fn reference<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    lenient::name::<D, SCRIPT_REF_MAX>(deserializer).map(Option::unwrap_or_default)
}

fn output<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    lenient::long::<D, SCRIPT_OUTPUT_MAX>(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_old_and_new_clients_are_read() {
        let old: ScriptResult = serde_json::from_str(r#"{"ref":"f3Kx1Q","output":"","return":"42"}"#).unwrap();
        assert_eq!((old.text().as_str(), old.result, old.is_good()), ("42", None, true));
        let new: ScriptResult = serde_json::from_str(
            r#"{"ref":"x","result":"error","reason":"timeout","output":"Error running script: timeout exceeded","return":""}"#,
        )
        .unwrap();
        assert_eq!(new.text(), "Error running script: timeout exceeded");
        assert!(!new.is_good());
        let odd: ScriptResult = serde_json::from_str(r#"{"ref":[],"result":7,"output":null}"#).unwrap();
        assert_eq!(odd, ScriptResult::default());
    }

    #[test]
    fn code_of_connects_without_a_value_failed() {
        let nil = ScriptResult {
            value: "nil".into(),
            ..ScriptResult::default()
        };
        assert!(!nil.is_good());
    }

    #[test]
    fn long_output_is_cut() {
        let json = serde_json::json!({ "ref": "x", "output": "y".repeat(SCRIPT_OUTPUT_MAX + 1) });
        let result: ScriptResult = serde_json::from_value(json).unwrap();
        assert_eq!(result.output.len(), SCRIPT_OUTPUT_MAX);
    }
}
