//! Finding blocks of the source by a hash of their bytes.

use std::ops::Range;

use crate::caps;

/// Bytes of a block.
pub(super) const BLOCK: usize = 32;
/// One block in so many is looked at.
const EVERY: u64 = 32;
/// Blocks that may share a bucket.
const WAYS: usize = 4;
/// Bits of a slot that hold the block's offset; the others hold a part of the hash.
const OFFSET_BITS: u32 = 27;
const OFFSET: u32 = (1 << OFFSET_BITS) - 1;
/// Most bytes of a source: the offset of each block fits.
const SOURCE_MAX: usize = OFFSET as usize;

const _: () = assert!(caps::DELTA_VIEW <= SOURCE_MAX);

/// Base of the polynomial of a block's bytes, taken modulo 2^64.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
/// What the first byte of a block has been multiplied by when it leaves.
const LEAVING: u64 = power(BLOCK);

const fn power(exponent: usize) -> u64 {
    let (mut power, mut at) = (1_u64, 0);
    while at < exponent {
        power = power.wrapping_mul(BASE);
        at += 1;
    }
    power
}

/// The hash of a block that can be moved on byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rolling(u64);

impl Rolling {
    /// Of a block's bytes.
    pub(super) fn new(block: &[u8]) -> Self {
        let next = |sum: u64, byte: &u8| sum.wrapping_mul(BASE).wrapping_add(u64::from(*byte) + 1);
        Self(block.iter().fold(0, next))
    }

    /// Leaves out the first byte and takes one more at the end.
    #[inline]
    pub(super) fn roll(&mut self, out: u8, byte: u8) {
        let gone = (u64::from(out) + 1).wrapping_mul(LEAVING);
        let moved = self.0.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1);
        self.0 = moved.wrapping_sub(gone);
    }

    /// Whether the block is one of those that are looked at.
    #[inline]
    pub(super) fn is_chosen(self) -> bool {
        (self.0 >> 24).is_multiple_of(EVERY)
    }
}

/// Blocks of a source by their hash. The hash itself chooses which blocks, in the source as in the target, so that only
/// one in [`EVERY`] costs anything on either side.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Buckets of [`WAYS`] slots: part of the hash and the block's offset plus one; 0 is free.
    slots: Vec<u32>,
    bucket_bits: u32,
}

impl Index {
    /// Enters the chosen blocks of a source, of which at most `SOURCE_MAX` bytes count.
    pub(crate) fn new(source: &[u8]) -> Self {
        let source = &source[..source.len().min(SOURCE_MAX)];
        let blocks = source.len() / EVERY as usize;
        let bucket_bits = blocks.div_ceil(WAYS).next_power_of_two().trailing_zeros().max(1);
        let mut index = Self {
            slots: vec![0; WAYS << bucket_bits],
            bucket_bits,
        };
        let Some(first) = source.get(..BLOCK) else {
            return index;
        };
        let (mut hash, mut before) = (Rolling::new(first), None);
        let leaving = source.iter().zip(&source[BLOCK..]);
        for (at, (out, byte)) in leaving.enumerate() {
            // what repeats itself would fill its bucket, and a match begins before it anyway
            if hash.is_chosen() && before.replace(hash) != Some(hash) {
                index.enter(hash, at);
            }
            hash.roll(*out, *byte);
        }
        index
    }

    fn bucket(&self, hash: Rolling) -> Range<usize> {
        let bucket = (hash.0 >> (64 - self.bucket_bits)) as usize;
        bucket * WAYS..(bucket + 1) * WAYS
    }

    /// The part of a hash that a slot holds, at its place.
    fn tag(&self, hash: Rolling) -> u32 {
        ((hash.0 << self.bucket_bits) >> 32) as u32 & !OFFSET
    }

    fn enter(&mut self, hash: Rolling, offset: usize) {
        let (bucket, tag) = (self.bucket(hash), self.tag(hash));
        if let Some(free) = self.slots[bucket].iter_mut().find(|slot| **slot == 0) {
            *free = tag | (offset as u32 + 1);
        }
    }

    /// Offsets of the source where a block with this hash may stand.
    #[inline]
    pub(super) fn candidates(&self, hash: Rolling) -> impl Iterator<Item = usize> {
        let tag = self.tag(hash);
        let slots = self.slots.get(self.bucket(hash)).unwrap_or_default();
        let alike = slots.iter().filter(move |slot| **slot & !OFFSET == tag);
        alike.filter_map(|slot| (slot & OFFSET).checked_sub(1).map(|offset| offset as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rolled_hash_is_that_of_the_bytes_and_finds_the_block() {
        let mut source = vec![0; 100_000];
        getrandom::fill(&mut source).unwrap();
        let index = Index::new(&source);
        let mut hash = Rolling::new(&source[..BLOCK]);
        let (mut chosen, mut found) = (0, 0);
        for at in 0..source.len() - BLOCK {
            assert_eq!(hash, Rolling::new(&source[at..at + BLOCK]));
            if hash.is_chosen() {
                chosen += 1;
                found += usize::from(index.candidates(hash).any(|offset| offset == at));
            }
            hash.roll(source[at], source[at + BLOCK]);
        }
        assert!(
            chosen > source.len() / 64 && found > chosen * 8 / 10,
            "{found} of {chosen}"
        );
        assert_eq!(Index::new(b"").candidates(hash).count(), 0);
    }

    #[test]
    fn what_repeats_itself_is_entered_once() {
        for byte in 0..=255 {
            assert!(
                Index::new(&[byte; 10_000])
                    .slots
                    .iter()
                    .filter(|slot| **slot > 0)
                    .count()
                    <= 1
            );
        }
    }
}
