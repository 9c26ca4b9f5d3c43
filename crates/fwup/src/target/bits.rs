//! One bit per block of a segment.

use crate::caps::SEGMENT;

/// Bytes of a block, everywhere in the format.
pub(crate) const BLOCK: usize = 512;

/// Blocks of a segment.
pub(super) const BLOCKS: usize = SEGMENT / BLOCK;

/// A set of blocks of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits([u64; BLOCKS / 64]);

impl Bits {
    pub(super) const ALL: Self = Self([u64::MAX; BLOCKS / 64]);

    pub(super) fn set(&mut self, block: usize) {
        if let Some(word) = self.0.get_mut(block / 64) {
            *word |= 1 << (block % 64);
        }
    }

    pub(super) fn clear(&mut self, block: usize) {
        if let Some(word) = self.0.get_mut(block / 64) {
            *word &= !(1 << (block % 64));
        }
    }

    pub(super) fn has(self, block: usize) -> bool {
        self.0
            .get(block / 64)
            .is_some_and(|word| word & (1 << (block % 64)) != 0)
    }

    pub(super) fn any(self) -> bool {
        self.0.iter().any(|word| *word != 0)
    }

    /// Runs of blocks that are in the set, as block ranges.
    pub(super) fn runs(self) -> Vec<std::ops::Range<usize>> {
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        for block in (0..BLOCKS).filter(|block| self.has(*block)) {
            match runs.last_mut() {
                Some(run) if run.end == block => run.end += 1,
                _ => runs.push(block..block + 1),
            }
        }
        runs
    }

    /// The blocks that are in this set but not in the other.
    pub(super) fn without(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & !other.0[at]))
    }

    /// The blocks that are in both sets.
    pub(super) fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_neighbours() {
        let mut bits = Bits::default();
        for block in [0, 1, 63, 64, 255] {
            bits.set(block);
        }
        assert_eq!(bits.runs(), [0..2, 63..65, 255..256]);
        bits.clear(1);
        assert_eq!(Bits::ALL.without(bits).runs(), [1..63, 65..255]);
        assert!(Bits::ALL.and(bits) == bits && bits.any());
    }
}
