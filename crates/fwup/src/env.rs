//! The variables that `${NAME}` may name.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::nickname::nickname;

/// The variables that `${NAME}` in a `meta.conf` or a config may name (format §2.1).
///
/// The process environment is never consulted. `FWUP_META_UUID` and `FWUP_META_NICKNAME` are set by the crate while an
/// archive is read, whatever this map says about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    vars: BTreeMap<String, Vec<u8>>,
}

impl Env {
    /// No variables at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable, replacing an older value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.vars.insert(name.into(), value.into().into_bytes());
        self
    }

    /// The bytes of a variable's value.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.vars.get(name).map(Vec::as_slice)
    }

    /// Sets what is known of the firmware that is being read (format §2.1).
    pub(crate) fn set_firmware(&mut self, uuid: Uuid) {
        self.set("FWUP_META_UUID", uuid.to_string())
            .set("FWUP_META_NICKNAME", nickname(uuid));
    }

    pub(crate) fn set_bytes(&mut self, name: &str, value: Vec<u8>) {
        self.vars.insert(name.to_owned(), value);
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let mut env = Self::new();
        for (name, value) in iter {
            env.set(name, value);
        }
        env
    }
}
