//! Finding what a window of the target has in common with the source.
//!
//! First the window is searched for long matches by the index of the whole source. What lies between two of them is
//! then searched for short ones, but only in the parts of the source that lie beside those matches, and in the window
//! itself. So the cost follows what has changed.

use std::ops::Range;

use super::index::{BLOCK, Index, Rolling};
use crate::caps;

/// Where a copy's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An offset of the source.
    Source(usize),
    /// A position of the window.
    Window(usize),
    /// The one byte that is repeated.
    Byte(u8),
}

/// Bytes of the window that need not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) from: Place,
}

impl Match {
    fn end(&self) -> usize {
        self.at + self.len
    }

    /// How far its bytes lie from where they stand in the target; None when they are not of the source.
    fn shift(&self) -> Option<isize> {
        match self.from {
            Place::Source(offset) => Some(offset as isize - self.at as isize),
            _ => None,
        }
    }
}

/// Most bytes that are compared to choose between blocks of the source.
const COMPARED_MAX: usize = 512;
/// Bytes that short matches are found by.
const SEED: usize = 8;
/// Shortest match that carries on where the one before it ended.
const RESUMED_MIN: usize = 6;
/// Shortest match within the window; what compresses the patch sees near ones as well.
const WINDOW_MIN: usize = 24;
/// Shortest run.
const RUN_MIN: usize = 24;
/// Bytes of a gap that are searched in the same part of the source.
const PIECE: usize = 32 << 10;
/// Bits of the number of a seed's slots in the window.
const WINDOW_BITS: u32 = 16;

/// What the search needs besides; it is kept from window to window.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    region: Seeds,
    window: Seeds,
}

/// Positions by their first [`SEED`] bytes; a later one replaces an earlier one.
#[derive(Debug, Default)]
struct Seeds {
    slots: Vec<u32>,
    bits: u32,
}

impl Seeds {
    fn clear(&mut self, bits: u32) {
        self.bits = bits;
        self.slots.clear();
        self.slots.resize(1 << bits, 0);
    }

    fn slot(&self, seed: u64) -> usize {
        (seed.wrapping_mul(0x9fb2_1c65_1e98_df25) >> (64 - self.bits)) as usize
    }

    fn enter(&mut self, bytes: &[u8], at: usize) {
        if let Some(seed) = seed(bytes, at) {
            let slot = self.slot(seed);
            self.slots[slot] = at as u32 + 1;
        }
    }

    fn find(&self, seed: u64) -> Option<usize> {
        self.slots.get(self.slot(seed))?.checked_sub(1).map(|at| at as usize)
    }
}

#[inline]
fn seed(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + SEED)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// How many bytes two slices have in common at their beginning.
#[inline]
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let len = one.len().min(other.len());
    let mut same = 0;
    while let (Some(a), Some(b)) = (seed(one, same), seed(other, same)) {
        if a != b {
            return same + (a ^ b).trailing_zeros() as usize / 8;
        }
        same += SEED;
    }
    while same < len && one[same] == other[same] {
        same += 1;
    }
    same
}

/// How many bytes two slices have in common at their end.
#[inline]
fn common_suffix(one: &[u8], other: &[u8]) -> usize {
    let len = one.len().min(other.len());
    let (one, other) = (&one[one.len() - len..], &other[other.len() - len..]);
    let mut same = 0;
    while same + SEED <= len {
        let at = len - same - SEED;
        let (Some(a), Some(b)) = (seed(one, at), seed(other, at)) else {
            break;
        };
        if a != b {
            return same + (a ^ b).leading_zeros() as usize / 8;
        }
        same += SEED;
    }
    while same < len && one[len - same - 1] == other[len - same - 1] {
        same += 1;
    }
    same
}

/// The matches of a window, in its order. `expected` is where the window's bytes would stand in the source if nothing
/// had been moved.
pub(super) fn find(source: &[u8], index: &Index, expected: usize, window: &[u8], scratch: &mut Scratch) -> Vec<Match> {
    let expected = expected as isize;
    let long = long_matches(source, index, expected, window);
    let mut search = Search {
        source,
        window,
        scratch,
        expected,
        shift: expected,
        found: Vec::with_capacity(long.len() * 2),
    };
    search.scratch.window.clear(WINDOW_BITS);
    let mut end = 0;
    for next in long {
        search.fill(end..next.at, next.shift());
        search.take(next);
        end = next.end();
    }
    search.fill(end..window.len(), None);
    search.found
}

/// Matches that the index of the source finds.
fn long_matches(source: &[u8], index: &Index, expected: isize, window: &[u8]) -> Vec<Match> {
    let mut found: Vec<Match> = Vec::new();
    let (mut at, mut free) = (0, 0);
    let mut shift = expected;
    let reach =
        expected.saturating_sub_unsigned(caps::DELTA_REACH)..expected.saturating_add_unsigned(caps::DELTA_REACH);
    while at + BLOCK <= window.len() {
        let mut hash = Rolling::new(&window[at..at + BLOCK]);
        let best = loop {
            let best = if hash.is_chosen() {
                longest(source, index.candidates(hash), window, free..at, shift, &reach)
            } else {
                None
            };
            if best.is_some() || at + BLOCK >= window.len() {
                break best;
            }
            hash.roll(window[at], window[at + BLOCK]);
            at += 1;
        };
        let Some(best) = best else { break };
        shift = best.shift().unwrap_or(shift);
        (at, free) = (best.end(), best.end());
        found.push(best);
    }
    found
}

/// The longest match of a block at `free.end` with one of the candidates; it may begin before the block, in `free`.
fn longest(
    source: &[u8],
    candidates: impl Iterator<Item = usize>,
    window: &[u8],
    free: Range<usize>,
    shift: isize,
    reach: &Range<isize>,
) -> Option<Match> {
    let at = free.end;
    let chosen = candidates
        .filter(|offset| reach.contains(&(*offset as isize - at as isize)))
        .map(|offset| {
            let compared = window.len().min(at + COMPARED_MAX);
            let len = common_prefix(&source[offset..], &window[at..compared]);
            (len, offset as isize - at as isize == shift, offset)
        })
        .filter(|(len, ..)| *len >= BLOCK)
        .max()?;
    let offset = chosen.2;
    let len = common_prefix(&source[offset..], &window[at..]);
    let back = common_suffix(&source[..offset], &window[free]);
    Some(Match {
        at: at - back,
        len: len + back,
        from: Place::Source(offset - back),
    })
}

/// The search between long matches.
struct Search<'a> {
    source: &'a [u8],
    window: &'a [u8],
    scratch: &'a mut Scratch,
    /// The shift of bytes that were not moved.
    expected: isize,
    /// The shift of the last match.
    shift: isize,
    found: Vec<Match>,
}

impl Search<'_> {
    fn take(&mut self, found: Match) {
        self.shift = found.shift().unwrap_or(self.shift);
        self.found.push(found);
    }

    /// Searches a gap between two matches; `next` is the shift of the one behind it.
    fn fill(&mut self, gap: Range<usize>, next: Option<isize>) {
        if gap.len() < RESUMED_MIN {
            return;
        }
        let (mut at, mut literal, mut entered) = (gap.start, gap.start, gap.start);
        while at + RESUMED_MIN <= gap.end {
            if at >= entered {
                entered = gap.end.min(at + PIECE);
                self.enter_regions(at..entered, next);
            }
            let Some(mut found) = self.best(at, literal, gap.end, next) else {
                self.scratch.window.enter(self.window, at);
                at += 1;
                continue;
            };
            // a match that begins one byte later may be much longer
            if found.len < 32
                && let Some(later) = self.best(at + 1, literal, gap.end, next)
                && later.len > found.len + 1
            {
                found = later;
            }
            for at in at..found.end().min(at + 32) {
                self.scratch.window.enter(self.window, at);
            }
            (at, literal) = (found.end(), found.end());
            self.take(found);
        }
    }

    /// Enters the parts of the source where a piece of a gap would stand by the shifts around it.
    fn enter_regions(&mut self, piece: Range<usize>, next: Option<isize>) {
        let slack = piece.len().clamp(256, 16 << 10);
        let len = self.source.len();
        let shifts = [Some(self.expected), next, Some(self.shift)];
        let mut areas = [const { 0..0 }; 3];
        for (area, shift) in areas.iter_mut().zip(shifts) {
            let place = |at: usize| at.saturating_add_signed(shift.unwrap_or(isize::MIN)).min(len);
            *area = place(piece.start).saturating_sub(slack)..(place(piece.end) + slack).min(len);
        }
        // what two areas have in common is entered with the later one
        for at in 0..2 {
            for later in at + 1..3 {
                let (one, other) = (areas[at].clone(), areas[later].clone());
                if one.start < other.end && other.start < one.end {
                    areas[later] = one.start.min(other.start)..one.end.max(other.end);
                    areas[at] = 0..0;
                }
            }
        }
        let positions: usize = areas.iter().map(Range::len).sum();
        self.scratch
            .region
            .clear(positions.next_power_of_two().trailing_zeros().clamp(8, 17));
        for at in areas.into_iter().flatten() {
            self.scratch.region.enter(self.source, at);
        }
    }

    /// The longest match that begins at a position or, where its bytes agree, before it but not before `literal`.
    fn best(&self, at: usize, literal: usize, end: usize, next: Option<isize>) -> Option<Match> {
        let mut best: Option<Match> = None;
        let mut offer = |found: Match| {
            if best.is_none_or(|best| found.len > best.len) {
                best = Some(found);
            }
        };
        let rest = &self.window[at..end];
        let source_match = |offset: usize| {
            let len = common_prefix(self.source.get(offset..)?, rest);
            let back = common_suffix(&self.source[..offset], &self.window[literal..at]);
            Some(Match {
                at: at - back,
                len: len + back,
                from: Place::Source(offset - back),
            })
        };
        for shift in next.into_iter().chain([self.shift]) {
            let found = at.checked_add_signed(shift).and_then(source_match);
            found
                .filter(|found| found.len >= RESUMED_MIN)
                .into_iter()
                .for_each(&mut offer);
        }
        let seed = seed(rest, 0)?;
        let found = self.scratch.region.find(seed).and_then(source_match);
        found.filter(|found| found.len >= SEED).into_iter().for_each(&mut offer);
        if let Some(from) = self.scratch.window.find(seed).filter(|from| *from < at) {
            let len = common_prefix(&self.window[from..], rest);
            if len >= WINDOW_MIN {
                offer(Match {
                    at,
                    len,
                    from: Place::Window(from),
                });
            }
        }
        let run = common_prefix(rest, &rest[1..]) + 1;
        if run >= RUN_MIN {
            offer(Match {
                at,
                len: run,
                from: Place::Byte(rest[0]),
            });
        }
        best
    }
}
