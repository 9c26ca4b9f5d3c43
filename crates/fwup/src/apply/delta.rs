//! Deltas: an entry that holds a patch, and the old bytes on the target that it is applied to (format §10).

use std::{io::Read, ops::Range};

use super::{
    functions::{Destination, Function},
    resource::Resource,
    work::Work,
};
use crate::{
    caps,
    cipher::Cipher,
    error::Error,
    fat::{FatError, FileMap, Volumes},
    metaconf::{Bytes, Section, parse_u64, text},
    target::{BLOCK, Cache},
    vcdiff::{Decoder, Source, VcdiffError, read_header},
    zip::{Entry, ZipReader},
};

const BLOCK64: u64 = BLOCK as u64;

/// What an on-resource names as the place of the old bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeltaPlace {
    /// Blocks of the target, as a range of bytes.
    Raw {
        range: Range<u64>,
        /// The config says where they end.
        counted: bool,
        /// How they are encrypted; empty when they are not.
        options: Bytes,
    },
    /// A file: the volume's first block, and the path.
    Fat { block: u64, path: Bytes },
}

/// A key of an on-resource and why it is wrong.
pub(crate) type BadKey = (&'static str, String);

impl DeltaPlace {
    /// Reads the keys of an on-resource; None when they name nothing. Blocks come before a file.
    pub(crate) fn new(on: &Section) -> Result<Option<Self>, BadKey> {
        let block = |name: &'static str| match on.text(name).filter(|word| !word.is_empty()) {
            None => Ok(None),
            Some(word) => parse_u64(word)
                .filter(|block| *block <= caps::BLOCK_MAX)
                .map(Some)
                .ok_or_else(|| (name, format!("'{}' is no number of a block", text(word)))),
        };
        let count = on.number("delta-source-raw-count");
        if let Some(first) = block("delta-source-raw-offset")?
            && count.is_none_or(|count| count > 0)
        {
            let blocks = count.map_or(caps::DELTA_SOURCE_BLOCKS, i64::cast_unsigned);
            let begin = first * BLOCK64;
            return Ok(Some(Self::Raw {
                range: begin..begin.saturating_add(blocks.saturating_mul(BLOCK64)),
                counted: count.is_some(),
                options: on.text("delta-source-raw-options").unwrap_or_default().to_vec(),
            }));
        }
        let path = on.text("delta-source-fat-path").filter(|path| !path.is_empty());
        let fat = block("delta-source-fat-offset")?.zip(path);
        Ok(fat.map(|(block, path)| Self::Fat {
            block,
            path: path.to_vec(),
        }))
    }

    /// Why a patch cannot be applied while its result, of `len` bytes, is written to `to`: the blocks overlap.
    pub(crate) fn conflict(&self, to: &Destination<'_>, len: u64) -> Option<&'static str> {
        match (self, to) {
            (Self::Raw { range, counted, .. }, Destination::Blocks(begin)) => {
                let written = *begin..begin.saturating_add(len.next_multiple_of(BLOCK64));
                let overlap = range.start < written.end && written.start < range.end;
                (*counted && overlap).then_some("it would overwrite the blocks that it is applied to")
            }
            (Self::Fat { block, path }, Destination::File(volume, file)) => (block == volume
                && path.eq_ignore_ascii_case(file))
            .then_some("it would overwrite the file that it is applied to"),
            _ => None,
        }
    }
}

/// The place of the old bytes, and what makes them readable.
#[derive(Clone, Debug)]
pub(super) struct DeltaSource {
    place: DeltaPlace,
    cipher: Option<Cipher>,
    /// A secret is still a variable: good in a config, from which an archive is made, but nowhere else.
    later: bool,
}

impl DeltaSource {
    /// Reads the keys of an on-resource; None when they name nothing.
    pub(super) fn new(on: &Section) -> Result<Option<Self>, BadKey> {
        let Some(place) = DeltaPlace::new(on)? else {
            return Ok(None);
        };
        let options = match &place {
            DeltaPlace::Raw { options, .. } => options.as_slice(),
            DeltaPlace::Fat { .. } => &[],
        };
        let later = options.windows(2).any(|pair| pair == b"${");
        let cipher = if later {
            Ok(None)
        } else {
            Cipher::parse(&[options.to_vec()])
        };
        Ok(Some(Self {
            cipher: cipher.map_err(|reason| ("delta-source-raw-options", reason))?,
            place,
            later,
        }))
    }
}

/// Whether an entry holds a patch: it says beforehand that it has another length than the resource.
pub(crate) fn patch_len(entry: &Entry, resource: &Resource) -> Option<u64> {
    entry.size.filter(|size| *size != resource.data_len())
}

/// The error of a patch for a resource, of which so much was made.
pub(crate) fn delta_error(error: VcdiffError, resource: &Resource, entry_len: u64, offset: u64) -> Error {
    let (name, reason) = (resource.name.clone(), error.to_string());
    match error {
        VcdiffError::Other(error) => error,
        // not even a patch: an entry of the wrong length
        VcdiffError::NotVcdiff => Error::LengthMismatch {
            resource: name,
            expected: resource.data_len(),
            found: entry_len,
        },
        VcdiffError::Unsupported(_) => Error::DeltaUnsupported { resource: name, reason },
        VcdiffError::WrongSource | VcdiffError::SourceTooShort => Error::DeltaMismatch {
            resource: name,
            offset,
            reason,
        },
        VcdiffError::Corrupt(_) | VcdiffError::TooLarge { .. } => Error::DeltaCorrupt {
            resource: name,
            offset,
            reason,
        },
    }
}

/// Reads an entry that holds a patch as far as it can be judged without its source: its header, and the entry's own
/// checksum. The resource must have a hash, which the result will be held against.
pub(crate) fn check<R: Read>(zip: &mut ZipReader<R>, resource: &Resource, entry_len: u64) -> Result<(), Error> {
    resource.hash()?;
    let header = read_header(&mut |buf| zip.read(buf));
    header.map_err(|error| delta_error(error, resource, entry_len, 0))?;
    zip.pass_over(entry_len)
}

/// A patch that is being applied.
#[derive(Debug)]
pub(super) struct Patch<'a> {
    decoder: Decoder,
    resource: &'a Resource,
    entry_len: u64,
    old: Old<'a>,
    /// Where the result is written, in bytes of the target; None when it is not written to blocks.
    to: Option<u64>,
    made: u64,
}

/// The old bytes.
#[derive(Debug)]
enum Old<'a> {
    Raw {
        range: Range<u64>,
        cipher: Option<&'a Cipher>,
    },
    Fat {
        block: u64,
        path: &'a [u8],
        map: FileMap,
    },
}

impl<'a> Patch<'a> {
    /// Prepares to apply the patch of an entry, before `function` makes room for the result.
    pub(super) fn open(
        resource: &'a Resource,
        entry_len: u64,
        source: Option<&'a DeltaSource>,
        function: &Function,
        work: &mut Work<'_>,
    ) -> Result<Self, Error> {
        let refused = |reason: &str| Error::DeltaUnsupported {
            resource: resource.name.clone(),
            reason: reason.to_owned(),
        };
        let to = function.destination();
        let source = source.ok_or_else(|| refused("the task names nothing that it could be applied to"))?;
        if resource.is_sparse() {
            return Err(refused("a resource with holes cannot be one"));
        }
        if source.later {
            return Err(refused("a variable in the options of its source has no value"));
        }
        if let Some(reason) = source.place.conflict(&to, resource.data_len()) {
            return Err(refused(reason));
        }
        let old = match &source.place {
            DeltaPlace::Raw { range, .. } => Old::Raw {
                range: range.clone(),
                cipher: source.cipher.as_ref(),
            },
            DeltaPlace::Fat { block, path } => {
                let (cache, volumes) = (&mut work.cache, &mut work.volumes);
                let failed = |error| fat_error(*block, path, error);
                let volume = volumes.at(cache, *block).map_err(failed)?;
                if let Destination::File(volume_to, file) = to
                    && volume_to == *block
                    && volume.same_file(cache, path, file).map_err(failed)?
                {
                    return Err(refused("it would overwrite the file that it is applied to"));
                }
                Old::Fat {
                    block: *block,
                    path,
                    map: volume.map(cache, path).map_err(failed)?,
                }
            }
        };
        Ok(Self {
            decoder: Decoder::default(),
            resource,
            entry_len,
            old,
            to: match to {
                Destination::Blocks(begin) => Some(begin),
                _ => None,
            },
            made: 0,
        })
    }

    /// Makes the next bytes of the resource; fewer than `buf` holds only at its end.
    pub(super) fn read<R: Read>(
        &mut self,
        zip: &mut ZipReader<R>,
        work: &mut Work<'_>,
        buf: &mut [u8],
    ) -> Result<usize, Error> {
        let mut input = |buf: &mut [u8]| zip.read(buf);
        let (cache, volumes) = (&mut work.cache, &mut work.volumes);
        let made = match &mut self.old {
            Old::Raw { range, cipher } => {
                let written = self.made.next_multiple_of(BLOCK64);
                let mut source = Blocks {
                    cache,
                    range: range.clone(),
                    cipher: *cipher,
                    taken: self.to.map_or(0..0, |begin| begin..begin + written),
                };
                self.decoder.read(&mut input, &mut source, buf)
            }
            Old::Fat { block, path, map } => {
                let mut source = FatFile {
                    cache,
                    volumes,
                    block: *block,
                    path,
                    map,
                };
                self.decoder.read(&mut input, &mut source, buf)
            }
        };
        let made = made.map_err(|error| delta_error(error, self.resource, self.entry_len, self.made))?;
        self.made += made as u64;
        Ok(made)
    }
}

fn fat_error(block: u64, path: &[u8], error: FatError) -> Error {
    match error {
        FatError::Target(error) => error,
        other => Error::FunctionFailed {
            function: format!("reading the source of the delta, {},", text(path)),
            offset: block * BLOCK64,
            reason: other.to_string(),
        },
    }
}

/// Blocks of the target.
struct Blocks<'w, 't> {
    cache: &'w mut Cache<'t>,
    range: Range<u64>,
    cipher: Option<&'w Cipher>,
    /// What the result has replaced already.
    taken: Range<u64>,
}

impl Source for Blocks<'_, '_> {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let begin = self.range.start + offset;
        if begin < self.taken.end && self.taken.start < begin + buf.len() as u64 {
            return Err(Error::FunctionFailed {
                function: "the delta".to_owned(),
                offset: begin,
                reason: "it is applied to blocks that its result has overwritten already".to_owned(),
            });
        }
        match self.cipher {
            None => self.cache.read(begin, buf),
            Some(cipher) => self.decrypt(cipher, offset, buf),
        }
    }
}

impl Blocks<'_, '_> {
    /// Reads whole sectors, whose numbers count from the beginning of the source, and takes from them what was asked for.
    fn decrypt(&mut self, cipher: &Cipher, mut offset: u64, mut buf: &mut [u8]) -> Result<(), Error> {
        let mut sectors = [0; 16 * BLOCK];
        while !buf.is_empty() {
            let (first, inside) = (offset / BLOCK64, (offset % BLOCK64) as usize);
            let count = buf.len().min(sectors.len() - inside);
            let whole = &mut sectors[..(inside + count).next_multiple_of(BLOCK)];
            self.cache.read(self.range.start + first * BLOCK64, whole)?;
            cipher.decrypt(first, whole);
            let (part, rest) = buf.split_at_mut(count);
            part.copy_from_slice(&whole[inside..inside + count]);
            offset += count as u64;
            buf = rest;
        }
        Ok(())
    }
}

/// A file in a FAT volume.
struct FatFile<'w, 't> {
    cache: &'w mut Cache<'t>,
    volumes: &'w mut Volumes,
    block: u64,
    path: &'w [u8],
    map: &'w mut FileMap,
}

impl Source for FatFile<'_, '_> {
    fn len(&self) -> u64 {
        u64::from(self.map.size)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let volume = self.volumes.at(self.cache, self.block);
        let read = volume.and_then(|volume| volume.read_at(self.cache, self.map, offset, buf));
        read.map_err(|error| fat_error(self.block, self.path, error))
    }
}
