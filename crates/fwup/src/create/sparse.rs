//! The holes of files (format §3): what the file system knows to be zero is not put into the archive.

use std::{
    fs::File,
    io::{self, Seek as _},
    ops::Range,
};

use nix::{
    errno::Errno,
    unistd::{Whence, lseek},
};

use crate::caps;

/// Where a file has data. Where the system cannot tell, that is all of it.
pub(super) fn data_ranges(file: &mut File) -> io::Result<Vec<Range<u64>>> {
    let len = file.metadata()?.len();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < len {
        let begin = match seek(file, at, Whence::SeekData) {
            Ok(begin) => begin.min(len),
            // a hole up to the end
            Err(Errno::ENXIO) => break,
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => at,
            Err(error) => return Err(error.into()),
        };
        let end = match seek(file, begin, Whence::SeekHole) {
            Ok(end) => end.min(len),
            Err(Errno::ENXIO | Errno::EINVAL | Errno::EOPNOTSUPP) => len,
            Err(error) => return Err(error.into()),
        };
        // the file has changed under us, or the system counts backwards: what is left is data
        let end = if end <= at { len } else { end };
        if begin < end {
            ranges.push(begin..end);
        }
        at = end;
    }
    file.rewind()?;
    Ok(ranges)
}

fn seek(file: &File, offset: u64, whence: Whence) -> Result<u64, Errno> {
    let offset = offset.try_into().map_err(|_| Errno::EOVERFLOW)?;
    lseek(file, offset, whence).map(|offset| offset as u64)
}

/// Data, hole, data, hole, ... in bytes.
#[derive(Debug, Default)]
pub(super) struct Map(Vec<u64>);

impl Map {
    pub(super) fn data(&mut self, len: u64) {
        self.push(len, 1);
    }

    pub(super) fn hole(&mut self, len: u64) {
        self.push(len, 0);
    }

    /// Puts a piece behind the others, as a part of the last one if that is of its kind.
    fn push(&mut self, len: u64, kind: usize) {
        if len == 0 {
            return;
        }
        if self.0.is_empty() && kind == 0 {
            self.0.push(0);
        }
        let joins = self.0.len() % 2 == kind;
        match self.0.last_mut() {
            Some(last) if joins => *last += len,
            _ => self.0.push(len),
        }
    }

    /// The list that `length` takes; nothing when there is no byte.
    pub(super) fn numbers(&self) -> Result<Vec<i64>, String> {
        if self.0.len() > caps::SPARSE_PIECES_MAX {
            return Err(format!(
                "has {} pieces of data and holes, {} is the most",
                self.0.len(),
                caps::SPARSE_PIECES_MAX
            ));
        }
        let numbers: Result<Vec<i64>, _> = self.0.iter().map(|piece| i64::try_from(*piece)).collect();
        numbers.map_err(|_| "is too large".to_owned())
    }

    /// Bytes without the holes.
    pub(super) fn data_len(&self) -> u64 {
        self.0.iter().step_by(2).sum()
    }

    /// Bytes with the holes.
    pub(super) fn full_len(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn pieces_of_a_kind_are_joined() {
        let mut map = Map::default();
        assert_eq!(map.numbers(), Ok(vec![]));
        map.hole(5);
        map.hole(0);
        map.hole(6);
        map.data(1);
        map.data(2);
        map.hole(3);
        assert_eq!(map.numbers(), Ok(vec![0, 11, 3, 3]));
        assert_eq!((map.data_len(), map.full_len()), (3, 17));
        let mut map = Map::default();
        for _ in 0..caps::SPARSE_PIECES_MAX / 2 {
            map.data(1);
            map.hole(1);
        }
        assert_eq!(map.numbers().unwrap().len(), caps::SPARSE_PIECES_MAX);
        map.data(1);
        assert!(map.numbers().is_err());
    }

    #[test]
    fn what_is_data_is_found_and_holes_are_not_invented() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let can = crate::create::tests::has_holes(dir.path());
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        assert_eq!(data_ranges(&mut file).unwrap(), []);
        file.set_len(3 << 20).unwrap();
        file.seek(io::SeekFrom::Start(1 << 20)).unwrap();
        file.write_all(&vec![7; 65_536]).unwrap();
        file.sync_all().unwrap();
        let ranges = data_ranges(&mut file).unwrap();
        if can {
            assert_eq!(ranges.len(), 1);
            assert_eq!(ranges[0], 1 << 20..(1 << 20) + 65_536);
        } else {
            assert!(
                ranges
                    .iter()
                    .any(|range| range.start <= 1 << 20 && range.end >= (1 << 20) + 65_536)
            );
        }
    }
}
