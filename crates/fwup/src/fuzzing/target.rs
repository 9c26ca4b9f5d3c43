//! A target that holds only what was written, up to a hard end.

use std::{collections::BTreeMap, io};

use crate::target::BlockTarget;

const PAGE: usize = 4096;

/// A disk whose unwritten pages take no memory. Nothing can be written behind its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sparse {
    pages: BTreeMap<u64, Vec<u8>>,
    end: u64,
}

impl Sparse {
    pub(super) fn new(end: u64) -> Self {
        Self {
            pages: BTreeMap::new(),
            end,
        }
    }

    /// Cuts a range at page borders: page, offset in it, offset in the buffer, bytes.
    fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let at = offset + done as u64;
            let (page, inside, from) = (at / PAGE as u64, (at % PAGE as u64) as usize, done);
            let count = (len - done).min(PAGE - inside);
            done += count;
            (count > 0).then_some((page, inside, from, count))
        })
    }
}

impl BlockTarget for Sparse {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.end.saturating_sub(offset)).map_or(buf.len(), |room| room.min(buf.len()));
        for (page, inside, at, count) in Self::pieces(offset, len) {
            match self.pages.get(&page) {
                Some(page) => buf[at..at + count].copy_from_slice(&page[inside..inside + count]),
                None => buf[at..at + count].fill(0),
            }
        }
        Ok(len)
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        assert!(
            end.is_some_and(|end| end <= self.end),
            "a write at {offset} behind the end"
        );
        for (page, inside, at, count) in Self::pieces(offset, buf.len()) {
            let page = self.pages.entry(page).or_insert_with(|| vec![0; PAGE]);
            page[inside..inside + count].copy_from_slice(&buf[at..at + count]);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.end))
    }

    fn hard_end(&self) -> Option<u64> {
        Some(self.end)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
