//! Files: creating, appending and reading.

use super::{
    FatError, TIMESTAMP, Volume,
    dir::{ARCHIVE, FOLDER, Found, READ_ONLY, set_first_cluster},
};
use crate::target::{BLOCK, Cache};

/// A file that is being written from its beginning.
#[derive(Debug)]
pub(crate) struct OpenFile {
    entry: [u8; 32],
    entry_offset: u64,
    first: u32,
    cluster: u32,
    size: u32,
}

/// Puts the times of creation and change into an entry.
pub(super) fn stamp(entry: &mut [u8; 32]) {
    entry[14..18].copy_from_slice(&TIMESTAMP.to_le_bytes());
    entry[22..26].copy_from_slice(&TIMESTAMP.to_le_bytes());
}

impl Volume {
    /// Makes a file empty, adding it if it is not there. Its clusters are the first to be used again.
    pub(crate) fn create(&mut self, cache: &mut Cache<'_>, path: &[u8]) -> Result<OpenFile, FatError> {
        let (dir, name, found) = self.follow(cache, path)?.ok_or(FatError::Name)?;
        let mut entry = [0; 32];
        entry[11] = ARCHIVE;
        stamp(&mut entry);
        let found = match found {
            None => self.register(cache, dir, &name, entry)?,
            Some(found) if found.entry[11] & (FOLDER | READ_ONLY) != 0 => return Err(FatError::Denied),
            Some(old) => {
                let mut found = old.clone();
                stamp(&mut found.entry);
                found.entry[11] = ARCHIVE;
                set_first_cluster(&mut found.entry, 0);
                found.entry[28..].fill(0);
                cache.write(found.offset, &found.entry, false)?;
                if old.first_cluster() != 0 {
                    self.free_chain(cache, old.first_cluster())?;
                    self.reuse_from(old.first_cluster());
                }
                found
            }
        };
        self.sync(cache)?;
        Ok(OpenFile {
            entry: found.entry,
            entry_offset: found.offset,
            first: 0,
            cluster: 0,
            size: 0,
        })
    }

    /// Appends bytes and brings the directory entry up to date.
    pub(crate) fn append(&mut self, cache: &mut Cache<'_>, file: &mut OpenFile, bytes: &[u8]) -> Result<(), FatError> {
        let result = self.append_data(cache, file, bytes);
        set_first_cluster(&mut file.entry, file.first);
        file.entry[11] |= ARCHIVE;
        file.entry[22..26].copy_from_slice(&TIMESTAMP.to_le_bytes());
        file.entry[28..].copy_from_slice(&file.size.to_le_bytes());
        cache.write(file.entry_offset, &file.entry, false)?;
        self.sync(cache)?;
        result
    }

    fn append_data(&mut self, cache: &mut Cache<'_>, file: &mut OpenFile, mut bytes: &[u8]) -> Result<(), FatError> {
        while !bytes.is_empty() {
            let inside = u64::from(file.size) % self.layout.cluster_len;
            if inside == 0 {
                file.cluster = match file.cluster {
                    0 => self.allocate(cache, None)?,
                    cluster => self.next_or_new(cache, cluster)?,
                };
                if file.first == 0 {
                    file.first = file.cluster;
                }
            }
            let room = usize::try_from(self.layout.cluster_len - inside).map_err(|_| FatError::Size)?;
            let (part, rest) = bytes.split_at(bytes.len().min(room));
            let size = u32::try_from(part.len())
                .ok()
                .and_then(|len| file.size.checked_add(len));
            let size = size.ok_or(FatError::Full)?;
            let offset = self.layout.cluster(file.cluster)? + inside;
            let streamed = self.layout.streams(offset);
            cache.write(offset, part, streamed)?;
            // what lies behind the end in the last sector is of no meaning; it is zeros
            let slack = (BLOCK - size as usize % BLOCK) % BLOCK;
            cache.write(offset + part.len() as u64, &[0; BLOCK][..slack], streamed)?;
            file.size = size;
            bytes = rest;
        }
        Ok(())
    }

    /// Reads a part of a file that [`Volume::lookup`] found; fewer bytes at its end.
    pub(crate) fn read(
        &mut self,
        cache: &mut Cache<'_>,
        reader: &mut FileReader,
        buf: &mut [u8],
    ) -> Result<usize, FatError> {
        let mut done = 0;
        while done < buf.len() && reader.pos < reader.size {
            let inside = u64::from(reader.pos) % self.layout.cluster_len;
            if inside == 0 && reader.pos > 0 {
                let next = self.next(cache, reader.cluster)?;
                reader.go_to(next.ok_or(FatError::Damaged("a file is shorter than its size"))?)?;
            }
            let room = (self.layout.cluster_len - inside).min(u64::from(reader.size - reader.pos)) as usize;
            let count = room.min(buf.len() - done);
            cache.read(
                self.layout.cluster(reader.cluster)? + inside,
                &mut buf[done..done + count],
            )?;
            done += count;
            reader.pos += count as u32;
        }
        Ok(done)
    }

    /// Opens a file for reading.
    pub(crate) fn lookup(&mut self, cache: &mut Cache<'_>, path: &[u8]) -> Result<FileReader, FatError> {
        let (_, _, found) = self.follow(cache, path)?.ok_or(FatError::Name)?;
        let found = found.filter(|found| !Found::is_folder(found)).ok_or(FatError::NoFile)?;
        Ok(FileReader {
            cluster: found.first_cluster(),
            pos: 0,
            size: found.size(),
            remembered: 0,
            steps: 0,
        })
    }
}

/// A file that is being read from its beginning.
#[derive(Debug)]
pub(crate) struct FileReader {
    cluster: u32,
    pos: u32,
    size: u32,
    /// A cluster of the chain that must not come again.
    remembered: u32,
    /// Clusters passed.
    steps: u32,
}

impl FileReader {
    /// Goes on to a cluster, unless the chain goes round: a cluster is remembered after 1, 2, 4, 8, ... steps, so that
    /// one in a circle comes again before the circle was passed three times.
    fn go_to(&mut self, cluster: u32) -> Result<(), FatError> {
        if cluster == self.remembered {
            return Err(FatError::Damaged("a chain of clusters goes round"));
        }
        self.cluster = cluster;
        self.steps = self.steps.saturating_add(1);
        if self.steps.is_power_of_two() {
            self.remembered = cluster;
        }
        Ok(())
    }
}

impl Volume {
    /// Whether a file is there and contains some bytes; an empty pattern is in every file.
    pub(crate) fn contains(&mut self, cache: &mut Cache<'_>, path: &[u8], pattern: &[u8]) -> Result<bool, FatError> {
        let mut reader = self.lookup(cache, path)?;
        if pattern.is_empty() {
            return Ok(true);
        }
        let finder = memchr::memmem::Finder::new(pattern);
        let mut window = Vec::new();
        let mut buf = [0; 4096];
        loop {
            let count = self.read(cache, &mut reader, &mut buf)?;
            window.extend_from_slice(&buf[..count]);
            if finder.find(&window).is_some() {
                return Ok(true);
            }
            if count == 0 {
                return Ok(false);
            }
            let keep = (pattern.len() - 1).min(window.len());
            window.drain(..window.len() - keep);
        }
    }
}
