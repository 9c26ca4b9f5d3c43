//! One window of a patch: its sections, and the steps that they describe.

use std::ops::Range;

use super::{
    VcdiffError,
    address::AddressCache,
    code_table::{Half, Kind, TABLE},
    history::History,
    varint,
};

/// What a window consists of.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The segment of the source, in bytes of the source; empty when there is none.
    pub(super) segment: Range<u64>,
    /// Bytes that the window makes.
    pub(super) size: u64,
    pub(super) data: Vec<u8>,
    pub(super) instructions: Vec<u8>,
    pub(super) addresses: Vec<u8>,
    pub(super) checksum: Option<u32>,
}

/// Where a step's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The data section, from a byte on.
    Data(usize),
    /// One byte, again and again.
    Byte(u8),
    /// The source, from an offset on.
    Source(u64),
    /// What the window made from a position on; where that ends it begins again.
    Window(u64),
}

/// Bytes to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) from: Origin,
    pub(super) len: u64,
}

/// Reads the steps of a window one after the other.
#[derive(Debug)]
pub(super) struct Cursor {
    data: usize,
    instruction: usize,
    address: usize,
    cache: AddressCache,
    /// The second instruction of a code.
    second: Option<Half>,
    /// What a copy takes from the window after it has reached the end of the segment.
    rest: Option<Step>,
    /// Bytes that the steps so far make.
    position: u64,
}

const CUT: VcdiffError = VcdiffError::Corrupt("a section ends in the middle of an instruction");

impl Cursor {
    pub(super) fn new() -> Self {
        Self {
            data: 0,
            instruction: 0,
            address: 0,
            cache: AddressCache::new(),
            second: None,
            rest: None,
            position: 0,
        }
    }

    /// The next step. None behind the last one.
    pub(super) fn next(&mut self, window: &Window) -> Result<Option<Step>, VcdiffError> {
        if let Some(step) = self.rest.take() {
            return Ok(Some(self.made(step)));
        }
        let half = if let Some(half) = self.second.take() {
            half
        } else {
            let Some(code) = window.instructions.get(self.instruction) else {
                return self.end(window).map(|()| None);
            };
            self.instruction += 1;
            let [first, second] = TABLE[usize::from(*code)];
            self.second = Some(second).filter(|half| half.kind != Kind::Nothing);
            first
        };
        let len = match half.size {
            0 => varint::read(&window.instructions, &mut self.instruction).ok_or(CUT)?,
            size => u64::from(size),
        };
        if len > window.size - self.position {
            return Err(VcdiffError::Corrupt("a window makes more bytes than it says"));
        }
        let step = Step {
            from: self.origin(half.kind, len, window)?,
            len,
        };
        Ok(Some(self.made(step)))
    }

    fn origin(&mut self, kind: Kind, len: u64, window: &Window) -> Result<Origin, VcdiffError> {
        let begin = self.data;
        Ok(match kind {
            Kind::Add | Kind::Nothing => {
                self.data += usize::try_from(len).map_err(|_| CUT)?;
                window.data.get(begin..self.data).ok_or(CUT)?;
                Origin::Data(begin)
            }
            Kind::Run => {
                self.data += 1;
                Origin::Byte(*window.data.get(begin).ok_or(CUT)?)
            }
            Kind::Copy(mode) => {
                let segment = window.segment.end - window.segment.start;
                let here = segment + self.position;
                let address = self.cache.read(mode, here, &window.addresses, &mut self.address);
                let address = address.ok_or(VcdiffError::Corrupt("an address is cut off or leads outside"))?;
                if let Some(position) = address.checked_sub(segment) {
                    Origin::Window(position)
                } else {
                    let rest = len.checked_sub(segment - address).filter(|rest| *rest > 0);
                    self.rest = rest.map(|len| Step {
                        from: Origin::Window(0),
                        len,
                    });
                    Origin::Source(window.segment.start + address)
                }
            }
        })
    }

    /// Counts what a step makes, without what it leaves to the next one.
    fn made(&mut self, mut step: Step) -> Step {
        step.len -= self.rest.map_or(0, |rest| rest.len);
        self.position += step.len;
        step
    }

    fn end(&self, window: &Window) -> Result<(), VcdiffError> {
        if self.position != window.size {
            return Err(VcdiffError::Corrupt("a window makes fewer bytes than it says"));
        }
        if self.data != window.data.len() || self.address != window.addresses.len() {
            return Err(VcdiffError::Corrupt("a section is longer than its instructions need"));
        }
        Ok(())
    }
}

/// Goes through all steps of a window before the first is taken: the whole must fit together. Returns a history that
/// knows what will be needed.
pub(super) fn check(window: &Window) -> Result<History, VcdiffError> {
    let (mut cursor, mut history) = (Cursor::new(), History::default());
    loop {
        let position = cursor.position;
        match cursor.next(window)? {
            None => return Ok(history),
            Some(Step { len: 0, .. }) => {}
            Some(Step {
                from: Origin::Window(from),
                len,
            }) => {
                if from >= position {
                    return Err(VcdiffError::Corrupt("an address is cut off or leads outside"));
                }
                history.need(from..position.min(from + len))?;
            }
            Some(_) => {}
        }
    }
}
