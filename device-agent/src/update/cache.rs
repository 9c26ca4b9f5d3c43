//! A file on its way, kept on disk, so that a reboot does not cost the bytes that are there.
//!
//! Without the checksums of its parts the file grows at its end, and its length says what is there. With them each part of
//! 1 MiB counts when its SHA-256 is right: checked on arrival, and again from the disk when the file is opened, since a
//! power cut may have taken what was only said to be written.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::apply::{Chunk, hex};

/// Bytes of a part; the last one of a file may be shorter (device-link §4.3).
pub const PART_BYTES: u64 = 1024 * 1024;
/// A part that arrives wrong more often than this fails the download (device-link §5.3).
pub const BAD_PART_MAX: u32 = 3;
/// What the cache's files are called; nothing else in the directory is touched.
const ENDING: &str = ".fw.part";
const READ_BYTES: usize = 64 * 1024;
/// Written data is pushed to the disk this often, so that a power cut costs no more.
const SYNC_BYTES: u64 = 8 * PART_BYTES;

/// The checksums of a file's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    sums: Vec<String>,
    size: u64,
}

impl Parts {
    /// Takes checksums that fit a file of this size; none where they do not.
    pub fn read(size: Option<u64>, sums: &[String]) -> Option<Self> {
        let size = size.filter(|size| *size > 0)?;
        let is_sum = |sum: &String| sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fit = size.div_ceil(PART_BYTES) == sums.len() as u64 && sums.iter().all(is_sum);
        fit.then(|| Self {
            sums: sums.iter().map(|sum| sum.to_ascii_lowercase()).collect(),
            size,
        })
    }

    fn range(&self, index: usize) -> Range<u64> {
        let start = index as u64 * PART_BYTES;
        start..(start + PART_BYTES).min(self.size)
    }

    fn is(&self, index: usize, hash: Sha256) -> bool {
        self.sums.get(index).is_some_and(|sum| *sum == hex(&hash.finalize()))
    }
}

/// Bytes that are not there yet: from the first to before the second, or to the file's end.
pub type Missing = (u64, Option<u64>);

/// The file.
#[derive(Debug)]
pub struct Cached {
    path: PathBuf,
    file: File,
    size: Option<u64>,
    parts: Option<Parts>,
    /// Of each part: whether it is there and right.
    good: Vec<bool>,
    bad: BTreeMap<usize, u32>,
}

impl Cached {
    /// Opens the file of this name, with what is there of it, and removes every other one of the cache.
    ///
    /// # Errors
    /// When the directory cannot be made or the disk fails.
    pub fn open(directory: &Path, name: &str, size: Option<u64>, parts: Option<Parts>) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join(format!("{}{ENDING}", file_name(name)));
        for entry in fs::read_dir(directory)? {
            let other = entry?.path();
            if other != path && other.to_string_lossy().ends_with(ENDING) {
                fs::remove_file(other)?;
            }
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)?;
        let mut cached = Self {
            path,
            file,
            size,
            good: Vec::new(),
            parts,
            bad: BTreeMap::new(),
        };
        cached.survey()?;
        Ok(cached)
    }

    fn survey(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if self.size.is_some_and(|size| length > size) {
            return self.file.set_len(0);
        }
        let Some(parts) = &self.parts else {
            return Ok(());
        };
        let mut good = Vec::with_capacity(parts.sums.len());
        for index in 0..parts.sums.len() {
            let range = parts.range(index);
            good.push(range.end <= length && parts.is(index, hash(&self.file, range)?));
        }
        self.good = good;
        Ok(())
    }

    /// How many bytes are there.
    pub fn have(&self) -> io::Result<u64> {
        let Some(parts) = &self.parts else {
            return Ok(self.file.metadata()?.len());
        };
        let there = self.good.iter().enumerate().filter(|(_, good)| **good);
        Ok(there
            .map(|(index, _)| {
                let range = parts.range(index);
                range.end - range.start
            })
            .sum())
    }

    /// What is to be fetched, in at most `pieces` pieces where they are contiguous, more where they are not.
    pub fn missing(&self, pieces: usize) -> io::Result<Vec<Missing>> {
        if self.parts.is_none() {
            let length = self.file.metadata()?.len();
            let whole = self.size == Some(length);
            return Ok(if whole { Vec::new() } else { vec![(length, None)] });
        }
        Ok(self.missing_parts(pieces))
    }

    fn missing_parts(&self, pieces: usize) -> Vec<Missing> {
        let Some(parts) = &self.parts else {
            return Vec::new();
        };
        let wanted = self.good.iter().filter(|good| !**good).count();
        let longest = wanted.div_ceil(pieces.max(1)).max(1);
        let mut runs: Vec<Range<usize>> = Vec::new();
        for index in (0..self.good.len()).filter(|index| self.good.get(*index) == Some(&false)) {
            match runs.last_mut() {
                Some(run) if run.end == index && run.len() < longest => run.end += 1,
                _ => runs.push(index..index + 1),
            }
        }
        let bytes = |run: Range<usize>| {
            let end = parts.range(run.end - 1).end;
            (parts.range(run.start).start, (end < parts.size).then_some(end))
        };
        runs.into_iter().map(bytes).collect()
    }

    /// Writes what arrives until its senders are gone; tells how many percent are there.
    ///
    /// # Errors
    /// When the disk is full or fails, or a part arrives wrong again and again.
    pub fn keep(&mut self, mut chunks: mpsc::Receiver<Chunk>, mut progress: impl FnMut(u8)) -> io::Result<()> {
        let (mut have, mut unsynced) = (self.have()?, 0);
        let mut total = self.size;
        let mut hashes: BTreeMap<usize, Sha256> = BTreeMap::new();
        while let Some(chunk) = chunks.blocking_recv() {
            match chunk {
                Chunk::Length(length) => total = Some(length),
                Chunk::Data { at, bytes } => {
                    self.file.write_all_at(&bytes, at)?;
                    self.arrived(&mut hashes, at, &bytes)?;
                    have = have.saturating_add(bytes.len() as u64);
                    unsynced += bytes.len() as u64;
                    if let Some(percent) = have.saturating_mul(100).checked_div(total.unwrap_or(0)) {
                        progress(percent.min(100) as u8);
                    }
                }
                Chunk::End => {}
            }
            if unsynced >= SYNC_BYTES {
                self.file.sync_data()?;
                unsynced = 0;
            }
        }
        self.file.sync_data()
    }

    /// Goes on with the hashes of the parts that these bytes belong to. A part is judged when its last byte arrives; one
    /// whose beginning was not seen is not judged at all.
    fn arrived(&mut self, hashes: &mut BTreeMap<usize, Sha256>, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
        let Some(parts) = &self.parts else {
            return Ok(());
        };
        while !bytes.is_empty() {
            let index = (at / PART_BYTES) as usize;
            let range = parts.range(index);
            let take = usize::try_from(range.end.saturating_sub(at)).unwrap_or(usize::MAX);
            if take == 0 {
                return Err(io::Error::other("more bytes arrive than the file has"));
            }
            let (head, rest) = bytes.split_at(take.min(bytes.len()));
            if at == range.start {
                hashes.insert(index, Sha256::new());
            }
            if let Some(hash) = hashes.get_mut(&index) {
                hash.update(head);
            }
            at += head.len() as u64;
            bytes = rest;
            if at == range.end
                && let Some(hash) = hashes.remove(&index)
            {
                let is_good = parts.is(index, hash);
                judge(&mut self.good, &mut self.bad, index, is_good)?;
            }
        }
        Ok(())
    }

    /// The SHA-256 of the whole file in hex.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn checksum(&self) -> io::Result<String> {
        let length = self.file.metadata()?.len();
        Ok(hex(&hash(&self.file, 0..length)?.finalize()))
    }

    /// Whether every byte is known to be right already.
    pub fn proven(&self) -> bool {
        self.parts.is_some() && self.good.iter().all(|good| *good)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file from its beginning.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn reader(&self) -> io::Result<impl Read + use<>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(self.path)
    }
}

fn judge(good: &mut [bool], bad: &mut BTreeMap<usize, u32>, index: usize, is_good: bool) -> io::Result<()> {
    if let Some(good) = good.get_mut(index) {
        *good = is_good;
    }
    if is_good {
        return Ok(());
    }
    let times = bad.entry(index).or_default();
    *times += 1;
    tracing::warn!(part.index = index, part.times = *times, "part arrived wrong");
    if *times > BAD_PART_MAX {
        let reason = format!("part {index} has another checksum than the server told, {times} times");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(())
}

fn hash(file: &File, range: Range<u64>) -> io::Result<Sha256> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = range.start;
    while at < range.end {
        let take = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(READ_BYTES);
        let part = buffer.get_mut(..take).unwrap_or_default();
        file.read_exact_at(part, at)?;
        hash.update(&*part);
        at += take as u64;
    }
    Ok(hash)
}

/// A name that came over the wire, as the name of a file.
fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().map(safe).take(128).collect()
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
