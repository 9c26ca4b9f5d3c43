//! An archive that is being read.

use std::io::Read;

use crate::{
    apply::{Applied, ApplyOptions, Event},
    env::Env,
    error::Error,
    keys::PublicKey,
    metadata::Metadata,
    target::BlockTarget,
};

/// What is known about an archive's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// There is none, and no key was given.
    Unsigned,
    /// There is one, but no key was given to check it.
    Unverified,
    /// This key made it.
    Good(PublicKey),
}

/// A resource of a verified archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceInfo {
    /// Name, as `file-resource` states it.
    pub name: String,
    /// Bytes in the archive, holes not counted.
    pub size: u64,
}

/// What a verified archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The metadata.
    pub metadata: Metadata,
    /// The signature.
    pub signature: Signature,
    /// The resources in the order of the archive.
    pub resources: Vec<ResourceInfo>,
    /// The tasks in the order of `meta.conf`.
    pub tasks: Vec<String>,
}

/// An archive whose signature and `meta.conf` have been read; the resources follow.
#[derive(Debug)]
pub struct Archive<R> {
    reader: R,
    metadata: Metadata,
    signature: Signature,
}

impl<R: Read> Archive<R> {
    /// Reads the signature and `meta.conf`. With at least one key an unsigned or wrongly signed archive is an error.
    ///
    /// # Errors
    /// Any kind that concerns the archive's beginning; nothing of the target is touched.
    pub fn open(reader: R, keys: &[PublicKey], env: &Env) -> Result<Self, Error> {
        let _ = (keys, env);
        let _ = Self { reader, metadata: Metadata::default(), signature: Signature::Unsigned };
        Err(Error::NotAnArchive)
    }

    /// What the archive says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What is known about the signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The names of the tasks in the order of `meta.conf`.
    pub fn tasks(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Reads everything: each resource's length and hash, entry names, duplicates, undeclared entries.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(self) -> Result<Verified, Error> {
        let _ = self.reader;
        Err(Error::NotAnArchive)
    }

    /// Applies the first task whose name starts with `task` and whose requirements hold.
    ///
    /// # Errors
    /// The first thing that is wrong; [`Error::target_was_written`] tells whether the target may have changed.
    pub fn apply<T: BlockTarget>(
        self,
        target: &mut T,
        task: &str,
        options: &ApplyOptions,
        observer: &mut dyn FnMut(Event),
    ) -> Result<Applied, Error> {
        let _ = (self.reader, target, task, options);
        observer(Event::Progress(0));
        Err(Error::NotAnArchive)
    }
}
