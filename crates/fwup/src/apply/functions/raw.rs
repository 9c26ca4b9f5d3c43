//! Functions on plain blocks: `raw_write`, `raw_memset`, `trim`.

use super::{Arguments, Destination, Function, Kind, Sink};
use crate::{
    apply::{progress::Progress, work::Work},
    caps,
    cipher::Cipher,
    error::Error,
    target::{BLOCK, Cache},
};

const BLOCK64: u64 = BLOCK as u64;

#[derive(Clone, Debug)]
pub(super) enum Raw {
    Write {
        block: u64,
        cipher: Option<Cipher>,
    },
    /// A write whose secret is still a variable: good in a config, from which an archive is made, but nowhere else.
    WriteLater,
    Memset {
        block: u64,
        count: u64,
        value: u8,
    },
    Trim {
        block: u64,
        count: u64,
    },
}

pub(super) fn write(args: &Arguments<'_>) -> Result<Kind, String> {
    let (block, options) = (args.block(0)?, args.words.get(1..).unwrap_or_default());
    if options.iter().any(|option| option.windows(2).any(|pair| pair == b"${")) {
        return Ok(Kind::Raw(Raw::WriteLater));
    }
    let cipher = Cipher::parse(options)?;
    Ok(Kind::Raw(Raw::Write { block, cipher }))
}

pub(super) fn memset(args: &Arguments<'_>) -> Result<Kind, String> {
    let (block, count) = (args.block(0)?, args.count(1)?);
    let value = args.number(2, u64::from(u8::MAX))? as u8;
    Ok(Kind::Raw(Raw::Memset { block, count, value }))
}

pub(super) fn trim(args: &Arguments<'_>) -> Result<Kind, String> {
    let (block, count) = (args.block(0)?, args.count(1)?);
    Ok(Kind::Raw(Raw::Trim { block, count }))
}

impl Raw {
    pub(super) fn units(&self, data: u64) -> u64 {
        match self {
            Self::Write { .. } | Self::WriteLater => data,
            Self::Memset { count, .. } => count * BLOCK64,
            Self::Trim { count, .. } => count / 256,
        }
    }

    pub(super) fn destination(&self) -> Destination<'_> {
        match self {
            Self::Write { block, .. } => Destination::Blocks(block * BLOCK64),
            _ => Destination::Elsewhere,
        }
    }

    pub(super) fn refused(&self) -> Option<String> {
        matches!(self, Self::WriteLater).then(|| "a variable in its options has no value".to_owned())
    }

    pub(super) fn run(
        &self,
        function: &Function,
        cache: &mut Cache<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<(), Error> {
        match self {
            // its data comes through a sink
            Self::Write { .. } | Self::WriteLater => {}
            Self::Memset { block, count, value } => {
                let chunk = vec![*value; caps::CHUNK];
                let (mut offset, end) = (block * BLOCK64, (block + count) * BLOCK64);
                while offset < end {
                    let len = (end - offset).min(chunk.len() as u64);
                    cache.write(offset, &chunk[..len as usize], true)?;
                    offset += len;
                    progress.add(len);
                }
            }
            Self::Trim { block, count } => {
                if let Err(error) = cache.trim(block * BLOCK64..(block + count) * BLOCK64) {
                    progress.info(format!("{}: the medium was not told: {error}", function.name));
                }
                progress.add(self.units(0));
            }
        }
        Ok(())
    }

    pub(super) fn sink(&self) -> Option<Box<dyn Sink + '_>> {
        let Self::Write { block, cipher } = self else {
            return None;
        };
        Some(Box::new(RawSink {
            begin: block * BLOCK64,
            cipher: cipher.as_ref(),
            pending: None,
            scratch: Vec::new(),
        }))
    }
}

/// Takes data for blocks: what a block lacks at the edge of the data is zeros (format §7.2).
#[derive(Debug)]
struct RawSink<'f> {
    begin: u64,
    cipher: Option<&'f Cipher>,
    /// A block that is not whole yet, and its number in the resource.
    pending: Option<(u64, [u8; BLOCK])>,
    /// What is encrypted before it is written.
    scratch: Vec<u8>,
}

impl Sink for RawSink<'_> {
    fn write(&mut self, work: &mut Work<'_>, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.take(&mut work.cache, offset, bytes)
    }

    /// Of a hole at the end the last block is written, so that a file gets its length.
    fn finish(mut self: Box<Self>, work: &mut Work<'_>, len: u64, hole: u64) -> Result<(), Error> {
        let zeros = hole.min(BLOCK64);
        self.take(&mut work.cache, len - zeros, &[0; BLOCK][..zeros as usize])?;
        self.flush(&mut work.cache)
    }
}

impl RawSink<'_> {
    fn take(&mut self, cache: &mut Cache<'_>, mut offset: u64, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let (block, inside) = (offset / BLOCK64, (offset % BLOCK64) as usize);
            if self.pending.is_some_and(|(pending, _)| pending != block) {
                self.flush(cache)?;
            }
            let whole = bytes.len() / BLOCK * BLOCK;
            let count = if inside == 0 && whole > 0 {
                self.put(cache, block, &bytes[..whole])?;
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
            Some((block, data)) => self.put(cache, block, &data),
            None => Ok(()),
        }
    }

    /// Writes whole blocks from a block of the resource on.
    fn put(&mut self, cache: &mut Cache<'_>, block: u64, bytes: &[u8]) -> Result<(), Error> {
        let offset = self.begin + block * BLOCK64;
        let Some(cipher) = self.cipher else {
            return cache.write(offset, bytes, true);
        };
        self.scratch.clear();
        self.scratch.extend_from_slice(bytes);
        cipher.encrypt(block, &mut self.scratch);
        cache.write(offset, &self.scratch, true)
    }
}
