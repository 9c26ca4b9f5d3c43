//! The bytes of resources: files on the host, or text in the config.

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

use super::sparse::{Map, data_ranges};

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
    Files(Vec<Source>),
    Contents(Bytes),
}

/// A file, and where its data is when its holes are left out.
#[derive(Clone, Debug)]
pub(super) struct Source {
    path: PathBuf,
    data: Option<Vec<Range<u64>>>,
}

/// A resource to be put into the archive.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) resource: String,
    pub(super) entry: String,
    origin: Origin,
    /// Bytes in the archive.
    pub(super) len: u64,
    /// Bytes with the holes.
    pub(super) full_len: u64,
    hash: blake2b_simd::Hash,
}

impl Input {
    /// Reads a `file-resource` section: measures the bytes and puts their length and hash into it.
    pub(super) fn new(section: &mut Section, base: &Path) -> Result<Self, String> {
        let resource = text(&section.title);
        let entry = entry_name(&resource).map_err(|reason| format!("file-resource '{resource}': {reason}"))?;
        let failed = |reason: String| format!("file-resource '{resource}': {reason}");
        let mut map = Map::default();
        let origin = match (section.text("host-path"), section.text("contents")) {
            (Some(paths), None) => {
                let paths = std::str::from_utf8(paths).map_err(|_| failed("host-path is not UTF-8".into()))?;
                let skip_holes = section.flag("skip-holes");
                let sources = paths
                    .split(';')
                    .map(|path| Source::new(base.join(path), skip_holes, &mut map));
                let sources: io::Result<Vec<Source>> = sources.collect();
                Origin::Files(sources.map_err(|error| failed(error.to_string()))?)
            }
            (None, Some(contents)) => Origin::Contents(contents.to_vec()),
            _ => return Err(failed("needs either host-path or contents".into())),
        };
        let mut reader = Reader::new(&origin);
        let (len, hash) = measure(&mut reader).map_err(|error| failed(error.to_string()))?;
        if !section.flag("skip-holes") || !matches!(origin, Origin::Files(_)) {
            map = Map::default();
            map.data(len);
        } else if map.data_len() != len {
            return Err(failed("changed while it was read".into()));
        }
        check_size(section, map.full_len()).map_err(failed)?;
        let numbers = map.numbers().map_err(failed)?;
        if !numbers.is_empty() {
            section.set("length", Value::Numbers(numbers));
        }
        section.set("blake2b-256", Value::Text(hash.to_hex().as_bytes().to_vec()));
        Ok(Self {
            resource,
            entry,
            origin,
            len,
            full_len: map.full_len(),
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

impl Source {
    /// Finds the holes, if they are to be left out, and puts what is there into the map.
    fn new(path: PathBuf, skip_holes: bool, map: &mut Map) -> io::Result<Self> {
        if !skip_holes {
            return Ok(Self { path, data: None });
        }
        let mut file = open(&path)?;
        let ranges = data_ranges(&mut file)?;
        let mut at = 0;
        for range in &ranges {
            map.hole(range.start - at);
            map.data(range.end - range.start);
            at = range.end;
        }
        map.hole(file.metadata()?.len().saturating_sub(at));
        Ok(Self {
            path,
            data: Some(ranges),
        })
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Reads the data of a resource's files, one after the other.
struct Reader<'a> {
    sources: std::slice::Iter<'a, Source>,
    current: Option<File>,
    /// What follows in the current file; its holes lie between.
    ranges: std::slice::Iter<'a, Range<u64>>,
    /// Bytes up to the next hole.
    left: u64,
    contents: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(origin: &'a Origin) -> Self {
        let (sources, contents) = match origin {
            Origin::Files(sources) => (sources.iter(), &[][..]),
            Origin::Contents(contents) => ([].iter(), contents.as_slice()),
        };
        Self {
            sources,
            current: None,
            ranges: [].iter(),
            left: 0,
            contents,
        }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.current {
                let most = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                let count = file.read(&mut buf[..most])?;
                self.left -= count as u64;
                if count > 0 || buf.is_empty() {
                    return Ok(count);
                }
                if let Some(range) = self.ranges.next() {
                    file.seek(SeekFrom::Start(range.start))?;
                    self.left = range.end - range.start;
                    continue;
                }
            }
            let Some(source) = self.sources.next() else {
                return self.contents.read(buf);
            };
            self.current = Some(open(&source.path)?);
            self.ranges = source.data.as_deref().unwrap_or_default().iter();
            self.left = if source.data.is_some() { 0 } else { u64::MAX };
        }
    }
}
