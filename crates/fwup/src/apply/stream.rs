//! A resource's bytes on their way from the archive to whoever takes them.

use super::resource::Resource;
use crate::error::Error;

/// Counts and hashes a resource's bytes as they pass.
pub(crate) struct Check<'a> {
    resource: &'a Resource,
    hash: blake2b_simd::State,
    done: u64,
}

impl<'a> Check<'a> {
    pub(crate) fn new(resource: &'a Resource) -> Self {
        Self {
            resource,
            hash: blake2b_simd::Params::new().hash_length(32).to_state(),
            done: 0,
        }
    }

    /// Takes the next bytes; returns the offset of the first.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let at = self.done;
        self.done += bytes.len() as u64;
        if self.done > self.resource.data_len() {
            return Err(self.wrong_length());
        }
        self.hash.update(bytes);
        Ok(at)
    }

    /// Whether these were all bytes, and the right ones.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.done != self.resource.data_len() {
            return Err(self.wrong_length());
        }
        if self.hash.finalize().as_bytes() != self.resource.hash()? {
            return Err(Error::HashMismatch {
                resource: self.resource.name.clone(),
            });
        }
        Ok(())
    }

    fn wrong_length(&self) -> Error {
        Error::LengthMismatch {
            resource: self.resource.name.clone(),
            expected: self.resource.data_len(),
            found: self.done,
        }
    }
}
