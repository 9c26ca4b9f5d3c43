//! Undoing a patch, piece by piece.

use super::{
    HEADER_APPLICATION, HEADER_CODE_TABLE, HEADER_SECONDARY, WINDOW_ADLER32, WINDOW_SOURCE, WINDOW_TARGET,
    adler::Adler32,
    history::History,
    varint,
    window::{Cursor, Origin, Step, Window, check},
};
use crate::{caps, error::Error};

/// The beginning of every patch. The byte behind it is the format's version, 0.
pub(super) const MAGIC: [u8; 3] = [0xd6, 0xc3, 0xc4];

/// Why a patch was not undone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VcdiffError {
    #[error("it is not a VCDIFF patch")]
    NotVcdiff,
    #[error("it has {0}, which is not supported")]
    Unsupported(&'static str),
    #[error("the patch is damaged: {0}")]
    Corrupt(&'static str),
    #[error("the patch asks for too much: {what} may have {max} bytes")]
    TooLarge { what: &'static str, max: usize },
    #[error("it does not fit the bytes that it is applied to, or is damaged: the checksum of the result differs")]
    WrongSource,
    #[error("it reads behind the end of the bytes that it is applied to")]
    SourceTooShort,
    #[error(transparent)]
    Other(#[from] Error),
}

/// The bytes that a patch is applied to.
pub(crate) trait Source {
    /// How many there are.
    fn len(&self) -> u64;

    /// Fills `buf` from an offset on; what is asked for lies within [`Source::len`].
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), Error>;
}

#[cfg(any(test, feature = "fuzzing"))]
impl Source for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let begin = offset as usize;
        buf.copy_from_slice(&self[begin..begin + buf.len()]);
        Ok(())
    }
}

/// Hands out the patch: fills the front of a buffer and tells how much, 0 at the end.
pub(crate) type Input<'a> = dyn FnMut(&mut [u8]) -> Result<usize, Error> + 'a;

const CUT: VcdiffError = VcdiffError::Corrupt("it ends in the middle");

/// Makes the target out of a patch and its source. A window is checked as a whole before it makes its first byte; held
/// are its sections and those of its own bytes that it copies.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    begun: bool,
    window: Window,
    running: Option<Running>,
}

/// The window that is being undone.
#[derive(Debug)]
struct Running {
    cursor: Cursor,
    history: History,
    adler: Adler32,
    /// Bytes made.
    made: u64,
    step: Option<Step>,
    /// Bytes that the current step has made.
    done: u64,
}

impl Decoder {
    /// Makes the next bytes of the target; fewer than `buf` holds only at its end.
    pub(crate) fn read(
        &mut self,
        input: &mut Input<'_>,
        source: &mut dyn Source,
        buf: &mut [u8],
    ) -> Result<usize, VcdiffError> {
        if !self.begun {
            read_header(input)?;
            self.begun = true;
        }
        let mut filled = 0;
        while filled < buf.len() {
            if self.running.is_none() && !self.begin_window(input, source)? {
                break;
            }
            let Some(running) = self.running.as_mut() else { break };
            filled += running.make(&self.window, source, &mut buf[filled..])?;
            if filled < buf.len() {
                running.finish(&self.window)?;
                self.running = None;
            }
        }
        Ok(filled)
    }

    /// Reads and checks the next window; false at the end of the patch.
    fn begin_window(&mut self, input: &mut Input<'_>, source: &dyn Source) -> Result<bool, VcdiffError> {
        let mut indicator = [0];
        if input(&mut indicator)? == 0 {
            return Ok(false);
        }
        read_window(&mut self.window, indicator[0], input)?;
        if self.window.segment.end > source.len() {
            return Err(VcdiffError::SourceTooShort);
        }
        self.running = Some(Running {
            history: check(&self.window)?,
            cursor: Cursor::new(),
            adler: Adler32::new(),
            made: 0,
            step: None,
            done: 0,
        });
        Ok(true)
    }
}

impl Running {
    /// Fills a buffer; less only at the window's end.
    fn make(&mut self, window: &Window, source: &mut dyn Source, buf: &mut [u8]) -> Result<usize, VcdiffError> {
        let mut filled = 0;
        while filled < buf.len() {
            let step = match self.step {
                Some(step) => step,
                None => match self.cursor.next(window)? {
                    Some(step) => *self.step.insert(step),
                    None => break,
                },
            };
            let count = (step.len - self.done).min((buf.len() - filled) as u64) as usize;
            let part = &mut buf[filled..filled + count];
            self.copy(step.from, window, source, part)?;
            self.history.record(self.made, part);
            filled += count;
            self.made += count as u64;
            self.done += count as u64;
            if self.done == step.len {
                (self.step, self.done) = (None, 0);
            }
        }
        self.adler.update(&buf[..filled]);
        Ok(filled)
    }

    /// Makes the next bytes of a step.
    fn copy(&self, from: Origin, window: &Window, source: &mut dyn Source, part: &mut [u8]) -> Result<(), VcdiffError> {
        match from {
            Origin::Byte(byte) => part.fill(byte),
            Origin::Data(at) => {
                let at = at + self.done as usize;
                part.copy_from_slice(window.data.get(at..at + part.len()).ok_or(CUT)?);
            }
            Origin::Source(offset) => source.read_at(offset + self.done, part)?,
            Origin::Window(position) => self.repeat(position, part).ok_or(CUT)?,
        }
        Ok(())
    }

    /// Copies from the window itself. A copy may run into what it makes: then what lay before it is repeated.
    fn repeat(&self, from: u64, part: &mut [u8]) -> Option<()> {
        let period = self.made - self.done - from;
        let phase = self.done % period;
        let first = (period - phase).min(part.len() as u64) as usize;
        let second = phase.min((part.len() - first) as u64) as usize;
        self.history.read(from + phase, &mut part[..first])?;
        self.history.read(from, &mut part[first..first + second])?;
        let mut have = first + second;
        while have < part.len() {
            let count = have.min(part.len() - have);
            part.copy_within(..count, have);
            have += count;
        }
        Some(())
    }

    fn finish(&mut self, window: &Window) -> Result<(), VcdiffError> {
        let wrong = window.checksum.is_some_and(|checksum| checksum != self.adler.value());
        if wrong { Err(VcdiffError::WrongSource) } else { Ok(()) }
    }
}

fn byte(input: &mut Input<'_>) -> Result<u8, VcdiffError> {
    let mut byte = [0];
    if input(&mut byte)? == 0 { Err(CUT) } else { Ok(byte[0]) }
}

fn integer(input: &mut Input<'_>) -> Result<u64, VcdiffError> {
    let mut value = 0;
    for _ in 0..varint::MAX {
        let last;
        (value, last) = varint::push(value, byte(input)?).ok_or(VcdiffError::Corrupt("a number is too large"))?;
        if last {
            return Ok(value);
        }
    }
    Err(VcdiffError::Corrupt("a number is too long"))
}

/// Takes `len` bytes; memory grows as they come.
fn take(input: &mut Input<'_>, len: u64, out: &mut Vec<u8>) -> Result<(), VcdiffError> {
    out.clear();
    let mut left = len;
    while left > 0 {
        let begin = out.len();
        out.resize(begin + left.min(caps::CHUNK as u64) as usize, 0);
        let count = input(&mut out[begin..])?;
        out.truncate(begin + count);
        left -= count as u64;
        if count == 0 {
            return Err(CUT);
        }
    }
    Ok(())
}

/// Reads what comes before the first window.
pub(crate) fn read_header(input: &mut Input<'_>) -> Result<(), VcdiffError> {
    for want in MAGIC.into_iter().chain([0]) {
        let mut byte = [0];
        if input(&mut byte)? == 0 || byte[0] != want {
            return Err(VcdiffError::NotVcdiff);
        }
    }
    let indicator = byte(input)?;
    if indicator & HEADER_SECONDARY != 0 {
        return Err(VcdiffError::Unsupported("a secondary compressor"));
    }
    if indicator & HEADER_CODE_TABLE != 0 {
        return Err(VcdiffError::Unsupported("a code table of its own"));
    }
    if indicator & !HEADER_APPLICATION != 0 {
        return Err(VcdiffError::Unsupported("an unknown kind of header"));
    }
    if indicator & HEADER_APPLICATION != 0 {
        let (mut left, mut scratch) = (integer(input)?, [0; 256]);
        while left > 0 {
            let most = left.min(scratch.len() as u64) as usize;
            match input(&mut scratch[..most])? {
                0 => return Err(CUT),
                count => left -= count as u64,
            }
        }
    }
    Ok(())
}

/// Reads a window whose indicator is known.
fn read_window(window: &mut Window, indicator: u8, input: &mut Input<'_>) -> Result<(), VcdiffError> {
    if indicator & WINDOW_TARGET != 0 {
        return Err(VcdiffError::Unsupported(
            "a window that copies from an earlier one (VCD_TARGET)",
        ));
    }
    if indicator & !(WINDOW_SOURCE | WINDOW_ADLER32) != 0 {
        return Err(VcdiffError::Unsupported("an unknown kind of window"));
    }
    window.segment = 0..0;
    if indicator & WINDOW_SOURCE != 0 {
        let (len, start) = (integer(input)?, integer(input)?);
        let end = start.checked_add(len).filter(|end| *end < 1 << 62);
        window.segment = start..end.ok_or(VcdiffError::SourceTooShort)?;
    }
    let encoded = integer(input)?;
    window.size = integer(input)?;
    if window.size > caps::VCDIFF_WINDOW_MAX as u64 {
        return Err(VcdiffError::TooLarge {
            what: "a window",
            max: caps::VCDIFF_WINDOW_MAX,
        });
    }
    if byte(input)? != 0 {
        return Err(VcdiffError::Unsupported("compressed sections"));
    }
    let lens = [integer(input)?, integer(input)?, integer(input)?];
    let sections = lens.iter().try_fold(0_u64, |sum, len| sum.checked_add(*len));
    let sections = sections.filter(|sum| *sum <= caps::VCDIFF_SECTIONS_MAX as u64);
    let sections = sections.ok_or(VcdiffError::TooLarge {
        what: "the sections of a window",
        max: caps::VCDIFF_SECTIONS_MAX,
    })?;
    let mut header = 1 + varint::len(window.size) + lens.iter().map(|len| varint::len(*len)).sum::<usize>();
    window.checksum = None;
    if indicator & WINDOW_ADLER32 != 0 {
        let sum = [byte(input)?, byte(input)?, byte(input)?, byte(input)?];
        window.checksum = Some(u32::from_be_bytes(sum));
        header += 4;
    }
    if encoded != sections + header as u64 {
        return Err(VcdiffError::Corrupt("the length of a window is not that of its parts"));
    }
    take(input, lens[0], &mut window.data)?;
    take(input, lens[1], &mut window.instructions)?;
    take(input, lens[2], &mut window.addresses)
}
