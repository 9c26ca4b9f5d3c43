//! The bytes of resources: files on the host, or text in the config.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    caps,
    error::Error,
    metaconf::{Bytes, Section, Value, text},
    target::BLOCK,
    zip::entry_name,
};

/// Where a resource's bytes come from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Files(Vec<PathBuf>),
    Contents(Bytes),
}

/// A resource to be put into the archive.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) resource: String,
    pub(super) entry: String,
    origin: Origin,
    pub(super) len: u64,
    hash: blake2b_simd::Hash,
}

impl Input {
    /// Reads a `file-resource` section: measures the bytes and puts their length and hash into it.
    pub(super) fn new(section: &mut Section, base: &Path) -> Result<Self, String> {
        let resource = text(&section.title);
        let entry = entry_name(&resource).map_err(|reason| format!("file-resource '{resource}': {reason}"))?;
        let failed = |reason: String| format!("file-resource '{resource}': {reason}");
        let origin = match (section.text("host-path"), section.text("contents")) {
            (Some(paths), None) => {
                let paths = std::str::from_utf8(paths).map_err(|_| failed("host-path is not UTF-8".into()))?;
                Origin::Files(paths.split(';').map(|path| base.join(path)).collect())
            }
            (None, Some(contents)) => Origin::Contents(contents.to_vec()),
            _ => return Err(failed("needs either host-path or contents".into())),
        };
        let mut reader = Reader::new(&origin);
        let (len, hash) = measure(&mut reader).map_err(|error| failed(error.to_string()))?;
        check_size(section, len).map_err(failed)?;
        let number = i64::try_from(len).map_err(|_| failed("is too large".into()))?;
        if number > 0 {
            section.set("length", Value::Numbers(vec![number]));
        }
        section.set("blake2b-256", Value::Text(hash.to_hex().as_bytes().to_vec()));
        Ok(Self {
            resource,
            entry,
            origin,
            len,
            hash,
        })
    }

    /// Whether the bytes come from files, so that their size gets a variable.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.origin, Origin::Files(_))
    }

    /// Hands the bytes out once more, and checks at the end that they are still those that were measured.
    pub(super) fn copy(&self) -> impl FnMut(&mut [u8]) -> Result<usize, Error> + '_ {
        let mut reader = Reader::new(&self.origin);
        let mut hash = params().to_state();
        move |buf| {
            let failed = |reason: String| Error::ConfigResource {
                resource: self.resource.clone(),
                reason,
            };
            let count = reader.read(buf).map_err(|error| failed(error.to_string()))?;
            hash.update(&buf[..count]);
            if count == 0 && hash.finalize() != self.hash {
                return Err(failed("changed while the archive was made".into()));
            }
            Ok(count)
        }
    }
}

fn params() -> blake2b_simd::Params {
    let mut params = blake2b_simd::Params::new();
    params.hash_length(32);
    params
}

fn measure(reader: &mut dyn Read) -> io::Result<(u64, blake2b_simd::Hash)> {
    let mut state = params().to_state();
    let (mut buf, mut len) = (vec![0; caps::CHUNK], 0);
    loop {
        match reader.read(&mut buf)? {
            0 => return Ok((len, state.finalize())),
            count => {
                state.update(&buf[..count]);
                len += count as u64;
            }
        }
    }
}

fn check_size(section: &Section, len: u64) -> Result<(), String> {
    let bound = |name: &str| section.number(name).and_then(|blocks| u64::try_from(blocks).ok());
    let bytes = |blocks: u64| blocks.saturating_mul(BLOCK as u64);
    if let Some(most) = bound("assert-size-lte").filter(|blocks| len > bytes(*blocks)) {
        return Err(format!("has {len} bytes, more than {most} blocks"));
    }
    if let Some(least) = bound("assert-size-gte").filter(|blocks| len < bytes(*blocks)) {
        return Err(format!("has {len} bytes, fewer than {least} blocks"));
    }
    Ok(())
}

/// Reads the files of a resource one after the other.
struct Reader<'a> {
    files: std::slice::Iter<'a, PathBuf>,
    current: Option<File>,
    contents: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(origin: &'a Origin) -> Self {
        let (files, contents) = match origin {
            Origin::Files(paths) => (paths.iter(), &[][..]),
            Origin::Contents(contents) => ([].iter(), contents.as_slice()),
        };
        Self {
            files,
            current: None,
            contents,
        }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.current {
                let count = file.read(buf)?;
                if count > 0 || buf.is_empty() {
                    return Ok(count);
                }
            }
            let Some(path) = self.files.next() else {
                return self.contents.read(buf);
            };
            let file = File::open(path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            self.current = Some(file);
        }
    }
}
