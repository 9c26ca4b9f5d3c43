//! What a window has made, kept where a copy will still need it.

use std::{collections::BTreeMap, ops::Range};

use super::VcdiffError;
use crate::caps;

const PAGE: u64 = caps::VCDIFF_PAGE as u64;

/// Pages of the window's bytes. Which are needed is known before the first byte is made; a page takes memory only as
/// its bytes come.
#[derive(Debug, Default)]
pub(super) struct History {
    pages: BTreeMap<u64, Vec<u8>>,
}

impl History {
    /// Declares bytes of the window to be needed later.
    pub(super) fn need(&mut self, range: Range<u64>) -> Result<(), VcdiffError> {
        for page in range.start / PAGE..range.end.div_ceil(PAGE) {
            self.pages.entry(page).or_default();
        }
        if self.pages.len() > caps::VCDIFF_HISTORY_MAX / caps::VCDIFF_PAGE {
            return Err(VcdiffError::TooLarge {
                what: "what a window copies from itself",
                max: caps::VCDIFF_HISTORY_MAX,
            });
        }
        Ok(())
    }

    /// Takes bytes that were made at a position. They come in order and without gaps.
    pub(super) fn record(&mut self, mut position: u64, mut bytes: &[u8]) {
        if self.pages.is_empty() {
            return;
        }
        while !bytes.is_empty() {
            let room = (PAGE - position % PAGE) as usize;
            let (part, rest) = bytes.split_at(bytes.len().min(room));
            if let Some(page) = self.pages.get_mut(&(position / PAGE)) {
                page.extend_from_slice(part);
            }
            position += part.len() as u64;
            bytes = rest;
        }
    }

    /// Gives bytes back that were declared and have been made. None when they were not.
    pub(super) fn read(&self, mut position: u64, mut buf: &mut [u8]) -> Option<()> {
        while !buf.is_empty() {
            let inside = (position % PAGE) as usize;
            let page = self.pages.get(&(position / PAGE))?.get(inside..)?;
            let count = buf.len().min(PAGE as usize - inside);
            let (part, rest) = buf.split_at_mut(count);
            part.copy_from_slice(page.get(..count)?);
            position += count as u64;
            buf = rest;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_kept() {
        let bytes: Vec<u8> = (0..5 * caps::VCDIFF_PAGE).map(|at| (at % 251) as u8).collect();
        let mut history = History::default();
        history.need(PAGE + 10..2 * PAGE + 1).unwrap();
        let mut position = 0;
        for part in bytes.chunks(1000) {
            history.record(position, part);
            position += part.len() as u64;
        }
        let mut buf = vec![0; caps::VCDIFF_PAGE];
        assert!(history.read(PAGE + 10, &mut buf).is_some());
        assert_eq!(buf, bytes[caps::VCDIFF_PAGE + 10..2 * caps::VCDIFF_PAGE + 10]);
        assert!(history.read(0, &mut [0]).is_none());
        assert!(history.read(3 * PAGE - 1, &mut [0; 2]).is_none());
        assert_eq!(
            history.pages.values().map(Vec::len).sum::<usize>(),
            2 * caps::VCDIFF_PAGE
        );
    }
}
