//! What can go wrong, in sentences a person can act upon.

use std::io;

/// Why an archive was not read, applied, made or signed.
///
/// [`Error::kind`] sorts the variants for callers that decide; [`Error::target_was_written`] tells whether the target
/// may have changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source does not begin like an archive.
    #[error("this is not a firmware archive: it does not begin with a ZIP entry")]
    NotAnArchive,
    /// The source ended too early.
    #[error("the archive ends in the middle of {place}; fetch it again (byte {offset})")]
    Truncated {
        /// The entry or the part of the archive.
        place: String,
        /// Byte offset in the archive where more was expected.
        offset: u64,
    },
    /// The archive contradicts itself: a header, a compressed stream or a checksum.
    #[error("the archive is corrupt in {place}: {reason} (byte {offset})")]
    Corrupt {
        /// The entry or the part of the archive.
        place: String,
        /// Byte offset in the archive.
        offset: u64,
        /// What does not fit.
        reason: String,
    },
    /// The archive uses something that this crate does not read.
    #[error("{place}: {what} is not supported")]
    Unsupported {
        /// The entry, resource or section.
        place: String,
        /// What it asks for.
        what: String,
    },
    /// `meta.conf` is not where it must be.
    #[error("meta.conf must be at the beginning of the archive, found '{found}'")]
    NoMetadata {
        /// The entry in its place, or what else was found.
        found: String,
    },
    /// A key was given, but the archive has no signature.
    #[error("the archive is not signed, but only signed firmware is accepted")]
    Unsigned,
    /// No given key made the signature.
    #[error("the signature of meta.conf was made by none of the accepted keys, or meta.conf was changed")]
    BadSignature,
    /// The signature entry does not hold a signature.
    #[error("meta.conf.ed25519 must have 64 bytes")]
    MalformedSignature,
    /// More keys than allowed.
    #[error("{given} keys were given, at most {} are accepted", crate::caps::KEYS_MAX)]
    TooManyKeys {
        /// How many.
        given: usize,
    },
    /// `meta.conf` cannot be understood.
    #[error("meta.conf, line {line}: {reason}")]
    BadMetadata {
        /// Line, from 1; 0 when the whole file is meant.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// `require-fwup-version` is above [`crate::FWUP_VERSION`] or no version.
    #[error("the firmware requires fwup version '{required}', this is {}", crate::FWUP_VERSION)]
    TooNew {
        /// The version asked for.
        required: String,
    },
    /// A resource's bytes are not those that `meta.conf` promises.
    #[error("resource '{resource}' does not have the BLAKE2b-256 hash that meta.conf states")]
    HashMismatch {
        /// Name of the resource.
        resource: String,
    },
    /// A resource has no usable hash in `meta.conf`.
    #[error("resource '{resource}' has no valid blake2b-256 in meta.conf")]
    NoHash {
        /// Name of the resource.
        resource: String,
    },
    /// A resource is longer or shorter than `meta.conf` promises.
    #[error("resource '{resource}' has {found} bytes where meta.conf states {expected}")]
    LengthMismatch {
        /// Name of the resource.
        resource: String,
        /// Bytes stated.
        expected: u64,
        /// Bytes found; when longer, where reading stopped.
        found: u64,
    },
    /// An entry is a delta that cannot be applied here, or uses something that this crate does not read.
    #[error("resource '{resource}' is a delta: {reason}")]
    DeltaUnsupported {
        /// Name of the resource.
        resource: String,
        /// Why not.
        reason: String,
    },
    /// A delta was made for other bytes than the target holds, or it is damaged. The full firmware will do.
    #[error("the delta of resource '{resource}' cannot be applied: {reason} (byte {offset} of the resource)")]
    DeltaMismatch {
        /// Name of the resource.
        resource: String,
        /// Bytes of the resource that were made before.
        offset: u64,
        /// What does not fit.
        reason: String,
    },
    /// A delta contradicts itself or asks for too much.
    #[error("the delta of resource '{resource}' cannot be applied: {reason} (byte {offset} of the resource)")]
    DeltaCorrupt {
        /// Name of the resource.
        resource: String,
        /// Bytes of the resource that were made before.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A delta of two archives is not possible, or would not be smaller than the new one.
    #[error("no delta can be made: {reason}")]
    NoDelta {
        /// Why.
        reason: String,
    },
    /// An entry's name is not acceptable.
    #[error("the archive has an entry named '{name}': {reason}")]
    BadEntryName {
        /// The name, made printable.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry occurs twice.
    #[error("the archive has two entries named '{name}'")]
    DuplicateEntry {
        /// The name.
        name: String,
    },
    /// An entry that no `file-resource` declares, found while verifying.
    #[error("entry '{name}' is not declared in meta.conf")]
    UndeclaredEntry {
        /// The name.
        name: String,
    },
    /// A resource is declared or used but not there.
    #[error("resource '{resource}' {reason}")]
    MissingResource {
        /// Name of the resource.
        resource: String,
        /// Whether the entry or its declaration is missing.
        reason: &'static str,
    },
    /// No task fits.
    #[error("no task whose name begins with '{task}' is applicable: {reason}")]
    NoApplicableTask {
        /// The name asked for.
        task: String,
        /// The unmet requirements of the tasks that were considered.
        reason: String,
    },
    /// A function of the chosen task is unknown, has bad arguments or stands in the wrong place. Nothing was written.
    #[error("{event}: {function}: {reason}")]
    BadFunction {
        /// The event in which it stands, for example `on-resource rootfs.img`.
        event: String,
        /// Name of the function.
        function: String,
        /// What is wrong.
        reason: String,
    },
    /// The caller does not allow a function of the chosen task, or the target has no room for what it writes. Nothing
    /// was written.
    #[error("{event}: {function}: {reason}")]
    NotAllowed {
        /// The event in which it stands.
        event: String,
        /// Name of the function.
        function: &'static str,
        /// Why not.
        reason: String,
    },
    /// The firmware's own `error()` function spoke.
    #[error("{0}")]
    Refused(String),
    /// A function failed while it ran.
    #[error("{function} failed at byte {offset} of the target: {reason}")]
    FunctionFailed {
        /// Name of the function with its main argument.
        function: String,
        /// Byte offset on the target that the function is about.
        offset: u64,
        /// Why.
        reason: String,
    },
    /// A function that reaches outside of the target failed.
    #[error("{function} failed: {reason}")]
    HostFunctionFailed {
        /// Name of the function with its argument.
        function: String,
        /// Why.
        reason: String,
    },
    /// The target's end lies before the place to be written.
    #[error("the target is too small: cannot write at byte {offset}, it ends at {size}")]
    TargetTooSmall {
        /// Byte offset of the write.
        offset: u64,
        /// Size of the target in bytes.
        size: u64,
    },
    /// Reading the archive failed.
    #[error("reading the archive failed at byte {offset}: {source}")]
    Source {
        /// Byte offset in the archive.
        offset: u64,
        /// The cause.
        source: io::Error,
    },
    /// Reading or writing the target failed.
    #[error("the target failed at byte {offset}: {source}")]
    Target {
        /// Byte offset on the target.
        offset: u64,
        /// The cause.
        source: io::Error,
    },
    /// Bytes that were written read back differently.
    #[error("the target does not hold what was written at byte {offset}; check the medium")]
    VerifyWrite {
        /// Byte offset of the segment.
        offset: u64,
    },
    /// A config cannot be made into an archive.
    #[error("{file}, line {line}: {reason}")]
    Config {
        /// Name of the config file.
        file: String,
        /// Line, from 1; 0 when the whole file is meant.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A file that a config names cannot be used.
    #[error("file-resource '{resource}': {reason}")]
    ConfigResource {
        /// Name of the resource or section.
        resource: String,
        /// What is wrong.
        reason: String,
    },
    /// Writing the archive failed.
    #[error("writing the archive failed: {0}")]
    Output(io::Error),
    /// An error and where it happened: in which event and function of the task or in which entry, and at which byte.
    #[error("{}", at(place, *offset, cause))]
    At {
        /// For example `on-resource rootfs.img, raw_write`, or `data/rootfs.img`; empty when the cause says it.
        place: String,
        /// Byte offset in the archive: where the entry's data begins, or how far it had been read.
        offset: u64,
        /// The error itself.
        cause: Box<Error>,
    },
    /// The error happened after bytes had reached the target.
    #[error("{0} (the target had already been written to)")]
    AfterWrite(Box<Error>),
}

/// A sentence for [`Error::At`]; what the cause says on its own is not said twice.
fn at(place: &str, offset: u64, cause: &Error) -> String {
    let colon = if place.is_empty() { "" } else { ": " };
    if cause.has_offset() {
        format!("{place}{colon}{cause}")
    } else {
        format!("{place}{colon}{cause} (byte {offset} of the archive)")
    }
}

/// The kinds of [`Error`], for deciding what to do about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Not an archive at all.
    NotAnArchive,
    /// The source ended too early: fetching it again may help.
    Truncated,
    /// The archive contradicts itself: fetching it again may help.
    Corrupt,
    /// Something in the archive is not supported, or is a delta that the task has no source for.
    Unsupported,
    /// A delta does not fit what the target holds: the full firmware is needed.
    DeltaMismatch,
    /// No signature where one is needed.
    Unsigned,
    /// A signature that no accepted key made, or that is none.
    BadSignature,
    /// `meta.conf` is missing, misplaced or wrong.
    BadMetadata,
    /// `require-fwup-version` is too new.
    TooNew,
    /// A resource has the wrong hash, or none.
    HashMismatch,
    /// A resource has the wrong length.
    LengthMismatch,
    /// An entry has a name that is refused, occurs twice or is not declared.
    BadEntry,
    /// A resource is missing.
    MissingResource,
    /// No task's requirements hold.
    NoApplicableTask,
    /// A function is unknown or has bad arguments.
    BadFunction,
    /// A function is not allowed by the caller, or cannot do its work on this target.
    NotAllowed,
    /// The firmware's own `error()`.
    Refused,
    /// A function failed on the target's contents, or outside of it.
    FunctionFailed,
    /// The target is too small.
    TargetTooSmall,
    /// I/O of the source.
    Source,
    /// I/O of the target.
    Target,
    /// The config is wrong.
    Config,
    /// Two archives have no delta: the full firmware must do.
    NoDelta,
    /// I/O of the output.
    Output,
}

impl Error {
    /// The kind of the error, seen through [`Error::At`] and [`Error::AfterWrite`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAnArchive => ErrorKind::NotAnArchive,
            Self::Truncated { .. } => ErrorKind::Truncated,
            Self::Corrupt { .. } | Self::DeltaCorrupt { .. } => ErrorKind::Corrupt,
            Self::DeltaMismatch { .. } => ErrorKind::DeltaMismatch,
            Self::Unsupported { .. } | Self::DeltaUnsupported { .. } => ErrorKind::Unsupported,
            Self::NoMetadata { .. } | Self::BadMetadata { .. } => ErrorKind::BadMetadata,
            Self::Unsigned => ErrorKind::Unsigned,
            Self::BadSignature | Self::MalformedSignature => ErrorKind::BadSignature,
            Self::TooNew { .. } => ErrorKind::TooNew,
            Self::HashMismatch { .. } | Self::NoHash { .. } => ErrorKind::HashMismatch,
            Self::LengthMismatch { .. } => ErrorKind::LengthMismatch,
            Self::BadEntryName { .. } | Self::DuplicateEntry { .. } | Self::UndeclaredEntry { .. } => {
                ErrorKind::BadEntry
            }
            Self::MissingResource { .. } => ErrorKind::MissingResource,
            Self::NoApplicableTask { .. } => ErrorKind::NoApplicableTask,
            Self::BadFunction { .. } => ErrorKind::BadFunction,
            Self::NotAllowed { .. } => ErrorKind::NotAllowed,
            Self::Refused(_) => ErrorKind::Refused,
            Self::FunctionFailed { .. } | Self::HostFunctionFailed { .. } => ErrorKind::FunctionFailed,
            Self::TargetTooSmall { .. } => ErrorKind::TargetTooSmall,
            Self::Source { .. } => ErrorKind::Source,
            Self::Target { .. } | Self::VerifyWrite { .. } => ErrorKind::Target,
            Self::Config { .. } | Self::ConfigResource { .. } | Self::TooManyKeys { .. } => ErrorKind::Config,
            Self::NoDelta { .. } => ErrorKind::NoDelta,
            Self::Output(_) => ErrorKind::Output,
            Self::At { cause, .. } | Self::AfterWrite(cause) => cause.kind(),
        }
    }

    /// True when bytes may have reached the target before the error.
    pub fn target_was_written(&self) -> bool {
        matches!(self, Self::AfterWrite(_))
    }

    /// The error itself, seen through [`Error::At`] and [`Error::AfterWrite`].
    pub fn cause(&self) -> &Error {
        match self {
            Self::At { cause, .. } | Self::AfterWrite(cause) => cause.cause(),
            other => other,
        }
    }

    /// Whether the error names a byte of the archive.
    fn has_offset(&self) -> bool {
        matches!(
            self,
            Self::Truncated { .. } | Self::Corrupt { .. } | Self::Source { .. } | Self::At { .. }
        )
    }

    /// Says where the error happened. What the firmware itself says stays as it is.
    pub(crate) fn at(self, place: impl Into<String>, offset: u64) -> Self {
        let place = place.into();
        if matches!(self, Self::Refused(_)) || (place.is_empty() && self.has_offset()) {
            return self;
        }
        Self::At {
            place,
            offset,
            cause: Box::new(self),
        }
    }

    /// Says in which function of which event the error happened.
    pub(crate) fn at_function(self, event: &str, function: &str, offset: u64) -> Self {
        match self {
            Self::FunctionFailed { .. } | Self::HostFunctionFailed { .. } => self.at(event, offset),
            _ => self.at(format!("{event}, {function}"), offset),
        }
    }

    pub(crate) fn after_write(self, written: bool) -> Self {
        match self {
            Self::AfterWrite(_) => self,
            other if written => Self::AfterWrite(Box::new(other)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_place_once() {
        let hash = Error::HashMismatch { resource: "r".into() };
        let text = hash.at("on-resource r, raw_write", 77).after_write(true).to_string();
        assert!(text.starts_with("on-resource r, raw_write: resource 'r'"), "{text}");
        assert!(text.contains("(byte 77 of the archive)"), "{text}");
        let cut = || Error::Truncated {
            place: "data/r".into(),
            offset: 5,
        };
        assert_eq!(cut().at("", 6).to_string(), cut().to_string());
        assert!(!cut().at("on-init, trim", 6).to_string().contains('6'));
        let spoken = Error::Refused("no".into()).at("on-init, error", 1);
        assert_eq!((spoken.to_string().as_str(), spoken.kind()), ("no", ErrorKind::Refused));
        let nested = Error::Unsigned.at("a", 1).after_write(true);
        assert!(matches!(nested.cause(), Error::Unsigned));
        assert_eq!(nested.kind(), ErrorKind::Unsigned);
    }

    #[test]
    fn an_error_after_a_write_keeps_its_kind_and_says_so() {
        let error = Error::BadSignature.after_write(true);
        assert_eq!(error.kind(), ErrorKind::BadSignature);
        assert!(error.target_was_written());
        assert!(matches!(error.cause(), Error::BadSignature));
        assert!(!Error::Unsigned.after_write(false).target_was_written());
    }
}
