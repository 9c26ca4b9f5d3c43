//! The second step: what was given, from wherever, under one name each. Problems are collected, so that a person sees all
//! of them at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::flags::Group;

/// Every key there is.
const KEYS: [&str; 18] = [
    "database_url",
    "store",
    "store_allow_http",
    "master_key",
    "device_cert",
    "device_key",
    "web_addr",
    "device_addr",
    "device_connect_rate",
    "device_handshakes",
    "public_url",
    "firmware_url",
    "firmware_url_lifetime",
    "metrics_addr",
    "metrics_token",
    "nats_url",
    "log",
    "log_format",
];

/// The flag of a key.
fn flag(key: &str) -> String {
    match key {
        "web_addr" => "--web".to_owned(),
        "device_addr" => "--devices".to_owned(),
        other => format!("--{}", other.replace('_', "-")),
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag(String),
    /// A variable of the environment.
    Env(String),
    /// The configuration file.
    File(PathBuf),
    /// The data folder of `up`.
    DataDir(PathBuf),
    /// Nowhere: the server's own default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Env(name) => formatter.write_str(name),
            Self::File(path) | Self::DataDir(path) => path.display().fmt(formatter),
            Self::Default => formatter.write_str("the default"),
        }
    }
}

/// What is wrong with the configuration: one sentence a problem.
#[derive(Debug, Default, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => formatter.write_str(one),
            many => {
                write!(formatter, "the configuration has {} problems:", many.len())?;
                many.iter().try_for_each(|problem| write!(formatter, "\n  {problem}"))
            }
        }
    }
}

/// What was given.
#[derive(Clone, Default)]
pub struct Inputs {
    values: BTreeMap<&'static str, (String, Source)>,
    problems: Vec<String>,
}

impl fmt::Debug for Inputs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.values.keys()).finish()
    }
}

impl Inputs {
    /// Merges flags, environment and file, the first that has a key winning.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, or has a key that does not exist.
    pub fn gather(
        groups: &[&dyn Group],
        env: impl Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let mut inputs = Self::default();
        for (key, value) in groups.iter().flat_map(|group| group.given()) {
            inputs.offer(key, value, || Source::Flag(flag(key)));
        }
        for key in KEYS {
            let name = format!("MUSTER_{}", key.to_ascii_uppercase());
            inputs.offer(key, env(&name), || Source::Env(name));
        }
        inputs.offer("database_url", env("DATABASE_URL"), || {
            Source::Env("DATABASE_URL".to_owned())
        });
        if let Some(path) = file {
            inputs.read_file(path).map_err(|problem| ConfigError(vec![problem]))?;
        }
        Ok(inputs)
    }

    /// Adds a value of lower rank than those that are there.
    pub fn offer(&mut self, key: &'static str, value: Option<String>, source: impl FnOnce() -> Source) {
        if let Some(value) = value
            && !value.is_empty()
        {
            self.values.entry(key).or_insert_with(|| (value, source()));
        }
    }

    fn read_file(&mut self, path: &Path) -> Result<(), String> {
        let shown = path.display();
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("--config {shown} cannot be read: {error}."))?;
        let table: toml::Table = text
            .parse()
            .map_err(|error| format!("--config {shown} is no TOML: {error}"))?;
        for (name, value) in table {
            let Some(key) = KEYS.into_iter().find(|key| *key == name) else {
                return Err(format!(
                    "{shown} has the key {name}, which does not exist. Keys are: {}.",
                    KEYS.join(", ")
                ));
            };
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Boolean(flag) => flag.to_string(),
                toml::Value::Integer(number) => number.to_string(),
                other => return Err(format!("{key} in {shown} is a {}. Give a string.", other.type_str())),
            };
            self.offer(key, Some(text), || Source::File(path.to_path_buf()));
        }
        Ok(())
    }

    /// The value of a key that may be left out.
    pub fn optional<T, P: fmt::Display>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, P>) -> Option<T> {
        let (value, source) = self.values.get(key)?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push(format!("{key} (from {source}) {problem}"));
                None
            }
        }
    }

    /// The value of a key that must be given; `why` says what for.
    pub fn required<T, P: fmt::Display>(
        &mut self,
        key: &str,
        why: &str,
        parse: impl Fn(&str) -> Result<T, P>,
    ) -> Option<T> {
        if !self.values.contains_key(key) {
            self.problems.push(format!(
                "{key} is missing: {why}. Give {}, MUSTER_{}, or {key} in the file of --config.",
                flag(key),
                key.to_ascii_uppercase()
            ));
        }
        self.optional(key, parse)
    }

    /// The value of a key that has a default.
    pub fn with_default<T, P: fmt::Display>(
        &mut self,
        key: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, P>,
    ) -> Option<T> {
        self.offer(key, Some(default.to_owned()), || Source::Default);
        self.optional(key, parse)
    }

    /// Where each value came from.
    pub fn sources(&self) -> impl Iterator<Item = (&'static str, &Source)> {
        self.values.iter().map(|(key, (_, source))| (*key, source))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn finish(&self) -> Result<(), ConfigError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError(self.problems.clone()))
    }
}
