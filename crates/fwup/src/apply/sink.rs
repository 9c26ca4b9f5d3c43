//! What takes a resource's data: blocks of the target, or a file in a FAT volume.

use super::function::{FatPath, Function};
use crate::{
    error::Error,
    fat::{FatError, OpenFile, Volumes},
    target::{BLOCK, Cache},
};

/// Takes a resource's bytes in order.
#[derive(Debug)]
pub(super) enum Sink {
    Raw(Box<RawSink>),
    Fat { to: FatPath, file: OpenFile, len: u64 },
}

/// Writes whole blocks; what a block lacks at the edge of the data is zeros (format §7.2).
#[derive(Debug)]
pub(super) struct RawSink {
    begin: u64,
    pending: Option<(u64, [u8; BLOCK])>,
}

impl Sink {
    /// The sink of a function that takes data; None for others.
    pub(super) fn open(
        function: &Function,
        cache: &mut Cache<'_>,
        volumes: &mut Volumes,
    ) -> Result<Option<Self>, FatError> {
        Ok(match function {
            Function::RawWrite { block } => Some(Self::Raw(Box::new(RawSink {
                begin: block * BLOCK as u64,
                pending: None,
            }))),
            Function::FatWrite { to } => {
                let file = volumes.at(cache, to.0)?.create(cache, &to.1)?;
                Some(Self::Fat {
                    to: to.clone(),
                    file,
                    len: 0,
                })
            }
            _ => None,
        })
    }

    /// Takes bytes that belong at an offset of the resource, behind those taken before.
    pub(super) fn write(
        &mut self,
        cache: &mut Cache<'_>,
        volumes: &mut Volumes,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), FatError> {
        match self {
            Self::Raw(raw) => Ok(raw.write(cache, offset, bytes)?),
            Self::Fat { to, file, len } => {
                let volume = volumes.at(cache, to.0)?;
                while *len < offset {
                    let hole = (offset - *len).min(4096);
                    volume.append(cache, file, &[0; 4096][..hole as usize])?;
                    *len += hole;
                }
                *len += bytes.len() as u64;
                volume.append(cache, file, bytes)
            }
        }
    }

    /// Ends the data; `len` is the resource's length with the `hole` at its end.
    pub(super) fn finish(
        &mut self,
        cache: &mut Cache<'_>,
        volumes: &mut Volumes,
        len: u64,
        hole: u64,
    ) -> Result<(), FatError> {
        match self {
            Self::Raw(raw) => {
                let zeros = hole.min(BLOCK as u64);
                raw.write(cache, len - zeros, &[0; BLOCK][..zeros as usize])?;
                Ok(raw.flush(cache)?)
            }
            Self::Fat { .. } if hole > 0 => self.write(cache, volumes, len, &[]),
            Self::Fat { .. } => Ok(()),
        }
    }
}

impl RawSink {
    fn write(&mut self, cache: &mut Cache<'_>, mut offset: u64, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let (block, inside) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
            if self.pending.is_some_and(|(pending, _)| pending != block) {
                self.flush(cache)?;
            }
            let whole = bytes.len() / BLOCK * BLOCK;
            let count = if inside == 0 && whole > 0 {
                cache.write(self.begin + offset, &bytes[..whole], true)?;
                whole
            } else {
                let count = bytes.len().min(BLOCK - inside);
                let (_, data) = self.pending.get_or_insert((block, [0; BLOCK]));
                data[inside..inside + count].copy_from_slice(&bytes[..count]);
                count
            };
            offset += count as u64;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn flush(&mut self, cache: &mut Cache<'_>) -> Result<(), Error> {
        match self.pending.take() {
            Some((block, data)) => cache.write(self.begin + block * BLOCK as u64, &data, true),
            None => Ok(()),
        }
    }
}
