//! Operations on names: folders, removing, renaming, attributes, the label.

use super::{
    FatError, TIMESTAMP, Volume,
    dir::{ARCHIVE, FOLDER, Found, READ_ONLY, VOLUME, set_first_cluster},
    name,
};
use crate::target::Cache;

/// Bytes copied at a time, which decides where a copy's clusters are when two files grow in turn.
const COPY_CHUNK: usize = 4096;

impl Volume {
    /// Makes a folder. One that is there already is [`FatError::Exists`].
    pub(crate) fn make_folder(&mut self, cache: &mut Cache<'_>, path: &[u8]) -> Result<(), FatError> {
        let (parent, name, found) = self.follow(cache, path)?.ok_or(FatError::Name)?;
        if found.is_some() {
            return Err(FatError::Exists);
        }
        let cluster = self.allocate(cache, None)?;
        self.clear(cache, cluster)?;
        let mut entry = [0; 32];
        entry[11] = FOLDER;
        entry[22..26].copy_from_slice(&TIMESTAMP.to_le_bytes());
        let begin = self.layout.cluster(cluster)?;
        for (at, (dots, to)) in [(b".          ", cluster), (b"..         ", parent)]
            .into_iter()
            .enumerate()
        {
            entry[..11].copy_from_slice(dots);
            set_first_cluster(&mut entry, to);
            cache.write(begin + at as u64 * 32, &entry, false)?;
        }
        set_first_cluster(&mut entry, cluster);
        let added = self.register(cache, parent, &name, entry);
        if added.is_err() {
            self.free_chain(cache, cluster)?;
        }
        self.sync(cache)?;
        added.map(|_| ())
    }

    /// Adds an empty file where there is none.
    pub(crate) fn touch(&mut self, cache: &mut Cache<'_>, path: &[u8]) -> Result<(), FatError> {
        let (_, _, found) = self.follow(cache, path)?.ok_or(FatError::Name)?;
        match found {
            None => self.create(cache, path).map(|_| ()),
            Some(found) if found.is_folder() || found.entry[11] & READ_ONLY != 0 => Err(FatError::Denied),
            Some(_) => Ok(()),
        }
    }

    /// Removes a file or an empty folder.
    pub(crate) fn remove(&mut self, cache: &mut Cache<'_>, path: &[u8]) -> Result<(), FatError> {
        let (_, _, found) = self.follow(cache, path)?.ok_or(FatError::Name)?;
        let found = found.ok_or(FatError::NoFile)?;
        if found.entry[11] & READ_ONLY != 0 {
            return Err(FatError::Denied);
        }
        if found.is_folder() {
            let inside = self.scan(cache, found.first_cluster(), &mut |inner, _| {
                !inner.entry.starts_with(b".") && inner.entry[11] & VOLUME == 0
            })?;
            if inside.is_some() {
                return Err(FatError::Denied);
            }
        }
        Self::unregister(cache, &found)?;
        if found.first_cluster() != 0 {
            self.free_chain(cache, found.first_cluster())?;
        }
        self.sync(cache)
    }

    /// Gives a file or folder another name, perhaps in another folder. With `replace` what has that name is removed.
    pub(crate) fn rename(
        &mut self,
        cache: &mut Cache<'_>,
        from: &[u8],
        to: &[u8],
        replace: bool,
    ) -> Result<(), FatError> {
        if replace {
            match self.remove(cache, to) {
                Ok(()) | Err(FatError::NoFile) => {}
                Err(error) => return Err(error),
            }
        }
        let (old_dir, _, old) = self.follow(cache, from)?.ok_or(FatError::Name)?;
        let old = old.ok_or(FatError::NoFile)?;
        let (new_dir, name, there) = self.follow(cache, to)?.ok_or(FatError::Name)?;
        if there.is_some_and(|there| there.offset != old.offset) {
            return Err(FatError::Exists);
        }
        let mut entry = old.entry;
        if !old.is_folder() {
            entry[11] |= ARCHIVE;
        }
        self.register(cache, new_dir, &name, entry)?;
        if old.is_folder() && old_dir != new_dir {
            let parent = self.layout.cluster(old.first_cluster())? + 32;
            let mut dots = [0; 32];
            cache.read(parent, &mut dots)?;
            if dots.starts_with(b"..") {
                set_first_cluster(&mut dots, new_dir);
                cache.write(parent, &dots, false)?;
            }
        }
        Self::unregister(cache, &old)?;
        self.sync(cache)
    }

    /// Sets those of the attributes read-only, hidden and system that `bits` names, and takes away the others.
    pub(crate) fn set_attributes(&mut self, cache: &mut Cache<'_>, path: &[u8], bits: u8) -> Result<(), FatError> {
        let (_, _, found) = self.follow(cache, path)?.ok_or(FatError::Name)?;
        let found = found.ok_or(FatError::NoFile)?;
        Ok(cache.write(found.offset + 11, &[(found.entry[11] & !0x07) | (bits & 0x07)], false)?)
    }

    /// Sets the label in the root directory; an empty one is removed.
    pub(crate) fn set_label(&mut self, cache: &mut Cache<'_>, label: &[u8]) -> Result<(), FatError> {
        let label = name::label(label)?;
        let empty = label == [b' '; 11];
        let old = self.scan(cache, 0, &mut |found, _| found.entry[11] & !ARCHIVE & 0x3f == VOLUME)?;
        match old {
            Some(old) if empty => Self::unregister(
                cache,
                &Found {
                    all: vec![old.offset],
                    ..old
                },
            ),
            Some(mut old) => {
                old.entry[..11].copy_from_slice(&label);
                Ok(cache.write(old.offset, &old.entry, false)?)
            }
            None if empty => Ok(()),
            None => {
                let mut entry = [0; 32];
                entry[..11].copy_from_slice(&label);
                // a label has no time
                entry[11] = VOLUME;
                let place = self.reserve(cache, 0, 1)?;
                cache.write(place.first().copied().ok_or(FatError::Full)?, &entry, false)?;
                self.sync(cache)
            }
        }
    }

    /// Where the entry of a path lies, if there is one.
    fn place(&mut self, cache: &mut Cache<'_>, path: &[u8]) -> Result<Option<u64>, FatError> {
        let followed = self.follow(cache, path)?;
        Ok(followed.and_then(|(_, _, found)| Some(found?.offset)))
    }

    /// Copies a file within the volume. One that is copied onto itself stays as it is.
    pub(crate) fn copy(&mut self, cache: &mut Cache<'_>, from: &[u8], to: &[u8]) -> Result<(), FatError> {
        let mut reader = self.lookup(cache, from)?;
        if self.place(cache, from)? == self.place(cache, to)? {
            return Ok(());
        }
        let mut file = self.create(cache, to)?;
        let mut buf = [0; COPY_CHUNK];
        loop {
            match self.read(cache, &mut reader, &mut buf)? {
                0 => return Ok(()),
                count => self.append(cache, &mut file, &buf[..count])?,
            }
        }
    }
}

/// The bits of attribute letters.
pub(crate) fn attribute_bits(letters: &[u8]) -> Option<u8> {
    letters
        .iter()
        .try_fold(0, |bits, letter| match letter.to_ascii_uppercase() {
            b'R' => Some(bits | 0x01),
            b'H' => Some(bits | 0x02),
            b'S' => Some(bits | 0x04),
            _ => None,
        })
}

/// Copies a file within a volume or to another one, each given by its block.
pub(crate) fn copy_across(
    cache: &mut Cache<'_>,
    volumes: &mut super::Volumes,
    from: (u64, &[u8]),
    to: (u64, &[u8]),
) -> Result<(), FatError> {
    if from.0 == to.0 {
        return volumes.at(cache, from.0)?.copy(cache, from.1, to.1);
    }
    let mut reader = volumes.at(cache, from.0)?.lookup(cache, from.1)?;
    let mut file = volumes.at(cache, to.0)?.create(cache, to.1)?;
    let mut buf = [0; COPY_CHUNK];
    loop {
        match volumes.at(cache, from.0)?.read(cache, &mut reader, &mut buf)? {
            0 => return Ok(()),
            count => volumes.at(cache, to.0)?.append(cache, &mut file, &buf[..count])?,
        }
    }
}
