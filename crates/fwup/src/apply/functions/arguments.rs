//! Reading the arguments of a call.

use crate::{
    caps,
    metaconf::{Bytes, Section, parse_u64, text},
};

/// The words behind a function's name, and the config whose sections they may name.
pub(super) struct Arguments<'a> {
    pub(super) words: &'a [Bytes],
    pub(super) config: &'a Section,
}

impl<'a> Arguments<'a> {
    pub(super) fn word(&self, at: usize) -> Result<&'a Bytes, String> {
        self.words.get(at).ok_or_else(|| "an argument is missing".into())
    }

    /// A word that names something outside of the target; the system knows no name with a zero byte.
    pub(super) fn name(&self, at: usize) -> Result<Bytes, String> {
        let word = self.word(at)?;
        if word.is_empty() || word.contains(&0) {
            return Err("an argument is empty or has a zero byte".into());
        }
        Ok(word.clone())
    }

    pub(super) fn number(&self, at: usize, max: u64) -> Result<u64, String> {
        let word = self.word(at)?;
        let value = parse_u64(word).filter(|value| *value <= max);
        value.ok_or_else(|| format!("'{}' is not a number up to {max}", text(word)))
    }

    /// A block of the target.
    pub(super) fn block(&self, at: usize) -> Result<u64, String> {
        self.number(at, caps::BLOCK_MAX)
    }

    /// How many blocks, at least one.
    pub(super) fn count(&self, at: usize) -> Result<u64, String> {
        match self.number(at, caps::BLOCK_COUNT_MAX)? {
            0 => Err("the count must be at least 1".into()),
            count => Ok(count),
        }
    }

    /// The section of a kind that the first argument names.
    pub(super) fn section(&self, kind: &str) -> Result<&'a Section, String> {
        let title = self.word(0)?;
        self.config
            .find(kind, title)
            .ok_or_else(|| format!("there is no {kind} '{}'", text(title)))
    }
}
