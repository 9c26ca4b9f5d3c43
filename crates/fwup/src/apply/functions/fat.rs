//! Functions on files in FAT volumes (format §8).

use super::{Arguments, Destination, Kind, Sink, failed};
use crate::{
    apply::work::Work,
    error::Error,
    fat::{FatError, OpenFile, Volumes, attribute_bits, copy_across, format},
    metaconf::Bytes,
    target::{BLOCK, Cache},
};

/// A file of a volume: the volume's first block, and the path.
type FatPath = (u64, Bytes);

#[derive(Clone, Debug)]
pub(super) enum Fat {
    Mkfs {
        block: u64,
        count: u64,
    },
    Write(FatPath),
    Copy {
        from: FatPath,
        to: FatPath,
    },
    Rename {
        block: u64,
        from: Bytes,
        to: Bytes,
        replace: bool,
    },
    Remove {
        path: FatPath,
        must_exist: bool,
    },
    Mkdir(FatPath),
    Label {
        block: u64,
        label: Bytes,
    },
    Touch(FatPath),
    Attributes {
        path: FatPath,
        bits: u8,
    },
}

fn path(args: &Arguments<'_>) -> Result<FatPath, String> {
    Ok((args.block(0)?, args.word(1)?.clone()))
}

pub(super) fn mkfs(args: &Arguments<'_>) -> Result<Kind, String> {
    let (block, count) = (args.block(0)?, args.count(1)?);
    Ok(Kind::Fat(Fat::Mkfs { block, count }))
}

pub(super) fn write(args: &Arguments<'_>) -> Result<Kind, String> {
    path(args).map(|path| Kind::Fat(Fat::Write(path)))
}

/// Within a volume (block, from, to) or across two (block, from, block, to).
pub(super) fn copy(args: &Arguments<'_>) -> Result<Kind, String> {
    let from = path(args)?;
    let to = match args.words.len() {
        4 => (args.block(2)?, args.word(3)?.clone()),
        _ => (from.0, args.word(2)?.clone()),
    };
    Ok(Kind::Fat(Fat::Copy { from, to }))
}

pub(super) fn rename(args: &Arguments<'_>, replace: bool) -> Result<Kind, String> {
    let (block, from) = path(args)?;
    let to = args.word(2)?.clone();
    Ok(Kind::Fat(Fat::Rename {
        block,
        from,
        to,
        replace,
    }))
}

pub(super) fn remove(args: &Arguments<'_>, must_exist: bool) -> Result<Kind, String> {
    path(args).map(|path| Kind::Fat(Fat::Remove { path, must_exist }))
}

pub(super) fn mkdir(args: &Arguments<'_>) -> Result<Kind, String> {
    path(args).map(|path| Kind::Fat(Fat::Mkdir(path)))
}

pub(super) fn label(args: &Arguments<'_>) -> Result<Kind, String> {
    path(args).map(|(block, label)| Kind::Fat(Fat::Label { block, label }))
}

pub(super) fn touch(args: &Arguments<'_>) -> Result<Kind, String> {
    path(args).map(|path| Kind::Fat(Fat::Touch(path)))
}

pub(super) fn attributes(args: &Arguments<'_>) -> Result<Kind, String> {
    let bits = attribute_bits(args.word(2)?).ok_or("attributes are the letters R, H and S")?;
    path(args).map(|path| Kind::Fat(Fat::Attributes { path, bits }))
}

impl Fat {
    pub(super) fn units(&self, full: u64) -> u64 {
        match self {
            Self::Write(_) => full,
            _ => BLOCK as u64,
        }
    }

    pub(super) fn destination(&self) -> Destination<'_> {
        match self {
            Self::Write((block, path)) => Destination::File(*block, path),
            _ => Destination::Elsewhere,
        }
    }

    pub(super) fn run(&self, name: &str, work: &mut Work<'_>) -> Result<(), Error> {
        let (cache, volumes) = (&mut work.cache, &mut work.volumes);
        self.perform(cache, volumes).map_err(|error| self.error(name, error))
    }

    fn perform(&self, cache: &mut Cache<'_>, volumes: &mut Volumes) -> Result<(), FatError> {
        match self {
            // its data comes through a sink
            Self::Write(_) => Ok(()),
            Self::Mkfs { block, count } => {
                volumes.forget(*block);
                format(cache, *block, *count)
            }
            Self::Mkdir((block, path)) => match volumes.at(cache, *block)?.make_folder(cache, path) {
                Err(FatError::Exists) => Ok(()),
                other => other,
            },
            Self::Remove {
                path: (block, path),
                must_exist,
            } => match volumes.at(cache, *block)?.remove(cache, path) {
                Err(FatError::NoFile | FatError::NoPath) if !must_exist => Ok(()),
                other => other,
            },
            Self::Label { block, label } => volumes.at(cache, *block)?.set_label(cache, label),
            Self::Touch((block, path)) => volumes.at(cache, *block)?.touch(cache, path),
            Self::Attributes {
                path: (block, path),
                bits,
            } => volumes.at(cache, *block)?.set_attributes(cache, path, *bits),
            Self::Rename {
                block,
                from,
                to,
                replace,
            } => volumes.at(cache, *block)?.rename(cache, from, to, *replace),
            Self::Copy { from, to } => copy_across(cache, volumes, (from.0, &from.1), (to.0, &to.1)),
        }
    }

    /// The file is made, or emptied, at once.
    pub(super) fn sink(&self, name: &str, work: &mut Work<'_>) -> Result<Option<Box<dyn Sink + '_>>, Error> {
        let Self::Write((block, path)) = self else {
            return Ok(None);
        };
        let volume = work.volumes.at(&mut work.cache, *block);
        let file = volume.and_then(|volume| volume.create(&mut work.cache, path));
        Ok(Some(Box::new(FatSink {
            function: self,
            volume: *block,
            file: file.map_err(|error| self.error(name, error))?,
            len: 0,
        })))
    }

    /// A failure with the function and the place it is about.
    fn error(&self, name: &str, error: FatError) -> Error {
        let (block, what) = match self {
            Self::Mkfs { block, .. } => (*block, &[][..]),
            Self::Label { block, label } => (*block, &label[..]),
            Self::Rename { block, from, .. } => (*block, &from[..]),
            Self::Write(path)
            | Self::Mkdir(path)
            | Self::Touch(path)
            | Self::Copy { from: path, .. }
            | Self::Remove { path, .. }
            | Self::Attributes { path, .. } => (path.0, &path.1[..]),
        };
        match error {
            FatError::Target(error) => error,
            other => failed(format!("{name}({})", String::from_utf8_lossy(what)), block, &other),
        }
    }
}

/// Takes data for a file; holes become zeros.
#[derive(Debug)]
struct FatSink<'f> {
    function: &'f Fat,
    volume: u64,
    file: OpenFile,
    len: u64,
}

impl Sink for FatSink<'_> {
    fn write(&mut self, work: &mut Work<'_>, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.append(&mut work.cache, &mut work.volumes, offset, bytes)
            .map_err(|error| self.function.error("fat_write", error))
    }

    fn finish(mut self: Box<Self>, work: &mut Work<'_>, len: u64, hole: u64) -> Result<(), Error> {
        if hole > 0 { self.write(work, len, &[]) } else { Ok(()) }
    }
}

impl FatSink<'_> {
    fn append(
        &mut self,
        cache: &mut Cache<'_>,
        volumes: &mut Volumes,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), FatError> {
        let volume = volumes.at(cache, self.volume)?;
        while self.len < offset {
            let hole = (offset - self.len).min(4096);
            volume.append(cache, &mut self.file, &[0; 4096][..hole as usize])?;
            self.len += hole;
        }
        self.len += bytes.len() as u64;
        volume.append(cache, &mut self.file, bytes)
    }
}
