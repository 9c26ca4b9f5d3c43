//! A `file-resource`: its length, its holes, its hash (format §3).

use crate::{
    caps,
    error::Error,
    mbr::from_hex,
    metaconf::{Section, text},
};

/// What `meta.conf` says about a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) name: String,
    /// Data, hole, data, hole, ... in bytes.
    pieces: Vec<u64>,
    hash: Option<[u8; 32]>,
}

impl Resource {
    /// Reads a section.
    pub(crate) fn new(section: &Section) -> Result<Self, Error> {
        let name = text(&section.title);
        let bad = |reason: &str| Error::BadMetadata {
            line: section.line,
            reason: format!("file-resource '{name}': {reason}"),
        };
        let lengths = section.numbers("length");
        if lengths.len() > caps::SPARSE_PIECES_MAX {
            return Err(bad("length has too many pieces"));
        }
        let pieces: Option<Vec<u64>> = lengths.iter().map(|length| u64::try_from(*length).ok()).collect();
        let pieces = pieces.ok_or_else(|| bad("length is negative"))?;
        let total = pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(*piece));
        if total.is_none_or(|total| total > caps::RESOURCE_MAX) {
            return Err(bad("length is too large"));
        }
        let hash = section
            .text("blake2b-256")
            .and_then(from_hex)
            .and_then(|hash| hash.try_into().ok());
        Ok(Self { name, pieces, hash })
    }

    /// The hash.
    pub(crate) fn hash(&self) -> Result<&[u8; 32], Error> {
        self.hash.as_ref().ok_or_else(|| Error::NoHash {
            resource: self.name.clone(),
        })
    }

    /// Whether it has a map of holes, or none at all: only a single length makes it a plain file.
    pub(crate) fn is_sparse(&self) -> bool {
        self.pieces.len() != 1
    }

    /// Bytes in the archive.
    pub(crate) fn data_len(&self) -> u64 {
        self.pieces.iter().step_by(2).sum()
    }

    /// Bytes with the holes.
    pub(crate) fn full_len(&self) -> u64 {
        self.pieces.iter().sum()
    }

    /// The hole at the end, or 0.
    pub(crate) fn final_hole(&self) -> u64 {
        if self.pieces.len().is_multiple_of(2) {
            self.pieces.last().copied().unwrap_or(0)
        } else {
            0
        }
    }

    /// Cuts data at the holes: for the data bytes from `start` on, the ranges of `len` and where each belongs.
    pub(crate) fn place(&self, start: u64, len: usize) -> Vec<(u64, std::ops::Range<usize>)> {
        let mut places = Vec::new();
        let (mut data, mut logical, mut done) = (0, 0, 0);
        for pair in self.pieces.chunks(2) {
            let here = start + done as u64;
            if done < len && here < data + pair[0] {
                let count = usize::try_from(data + pair[0] - here)
                    .unwrap_or(usize::MAX)
                    .min(len - done);
                places.push((logical + (here - data), done..done + count));
                done += count;
            }
            data += pair[0];
            logical += pair.iter().sum::<u64>();
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_placed_around_holes() {
        let resource = Resource {
            name: "r".into(),
            pieces: vec![0, 10, 5, 20, 5, 7],
            hash: None,
        };
        assert_eq!(
            (resource.data_len(), resource.full_len(), resource.final_hole()),
            (10, 47, 7)
        );
        assert_eq!(resource.place(0, 10), [(10, 0..5), (35, 5..10)]);
        assert_eq!(resource.place(3, 4), [(13, 0..2), (35, 2..4)]);
        assert_eq!(resource.place(7, 3), [(37, 0..3)]);
        assert!(resource.hash().is_err());
    }
}
