//! Reading a file at any place, as the source of a delta is read.

use super::{FatError, Volume, dir::Found};
use crate::{caps, target::Cache};

/// A file and some of the clusters that it consists of, so that no place is far from a known one.
#[derive(Debug)]
pub(crate) struct FileMap {
    pub(crate) size: u32,
    /// Clusters from one mark to the next.
    stride: u64,
    /// The cluster at each multiple of the stride, as far as the file was followed.
    marks: Vec<u32>,
    /// The cluster that was read last, by its number in the file.
    last: (u64, u32),
}

impl Volume {
    /// Opens a file for reading at any place.
    pub(crate) fn map(&mut self, cache: &mut Cache<'_>, path: &[u8]) -> Result<FileMap, FatError> {
        let (_, _, found) = self.follow(cache, path)?.ok_or(FatError::Name)?;
        let found = found.filter(|found| !Found::is_folder(found)).ok_or(FatError::NoFile)?;
        let clusters = u64::from(found.size()).div_ceil(self.layout.cluster_len);
        let first = found.first_cluster();
        Ok(FileMap {
            size: found.size(),
            stride: clusters.div_ceil(caps::FAT_MARKS_MAX as u64).max(1),
            marks: vec![first],
            last: (0, first),
        })
    }

    /// Whether two paths lead to one file; not when one leads to none.
    pub(crate) fn same_file(&mut self, cache: &mut Cache<'_>, one: &[u8], other: &[u8]) -> Result<bool, FatError> {
        let mut place = |path: &[u8]| match self.follow(cache, path) {
            Ok(Some((_, _, found))) => Ok(found.map(|found| found.offset)),
            Ok(None) | Err(FatError::NoPath) => Ok(None),
            Err(error) => Err(error),
        };
        let one = place(one)?;
        Ok(one.is_some() && one == place(other)?)
    }

    /// Fills `buf` from an offset of the file on; what is asked for lies before its end.
    pub(crate) fn read_at(
        &mut self,
        cache: &mut Cache<'_>,
        map: &mut FileMap,
        mut offset: u64,
        mut buf: &mut [u8],
    ) -> Result<(), FatError> {
        let len = self.layout.cluster_len;
        while !buf.is_empty() {
            let cluster = self.seek(cache, map, offset / len)?;
            let count = buf.len().min((len - offset % len) as usize);
            let (part, rest) = buf.split_at_mut(count);
            cache.read(self.layout.cluster(cluster)? + offset % len, part)?;
            offset += count as u64;
            buf = rest;
        }
        Ok(())
    }

    /// The cluster with a number in the file.
    fn seek(&mut self, cache: &mut Cache<'_>, map: &mut FileMap, number: u64) -> Result<u32, FatError> {
        let mark = (number / map.stride).min(map.marks.len() as u64 - 1);
        let known = (mark * map.stride, map.marks[mark as usize]);
        let (mut at, mut cluster) = if map.last.0 <= number && map.last.0 >= known.0 {
            map.last
        } else {
            known
        };
        while at < number {
            let next = self.next(cache, cluster)?;
            cluster = next.ok_or(FatError::Damaged("a file is shorter than its size"))?;
            at += 1;
            if at == map.marks.len() as u64 * map.stride {
                map.marks.push(cluster);
            }
        }
        map.last = (at, cluster);
        Ok(cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        MemoryTarget,
        fat::{Volumes, format},
        target::WriteMode,
    };

    /// A volume with two files that grow in turn, so that neither lies in one piece.
    fn with_file(bytes: &[u8], test: impl FnOnce(&mut Cache<'_>, &mut Volume)) {
        let mut target = MemoryTarget::new(0);
        let mut cache = Cache::new(&mut target, WriteMode::default()).unwrap();
        format(&mut cache, 8, 8000).unwrap();
        let mut volumes = Volumes::default();
        let volume = volumes.at(&mut cache, 8).unwrap();
        let mut file = volume.create(&mut cache, b"file.bin").unwrap();
        let mut other = volume.create(&mut cache, b"other.bin").unwrap();
        for part in bytes.chunks(700) {
            volume.append(&mut cache, &mut file, part).unwrap();
            volume.append(&mut cache, &mut other, &[1; 900]).unwrap();
        }
        test(&mut cache, volume);
    }

    #[test]
    fn any_place_of_a_file_is_read() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at / 3) as u8).collect();
        with_file(&bytes, |cache, volume| {
            let mut map = volume.map(cache, b"FILE.BIN").unwrap();
            assert_eq!(map.size as usize, bytes.len());
            map.stride = 7;
            let mut place = 1_usize;
            for _ in 0..2000 {
                place = place
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let (at, len) = ((place >> 33) % bytes.len(), (place >> 20) % 5000);
                let end = bytes.len().min(at + len);
                let mut buf = vec![0; end - at];
                volume.read_at(cache, &mut map, at as u64, &mut buf).unwrap();
                assert!(buf == bytes[at..end]);
            }
        });
    }

    #[test]
    fn a_file_has_several_names_but_is_one() {
        with_file(b"x", |cache, volume| {
            assert!(volume.same_file(cache, b"file.bin", b"/FILE.bin").unwrap());
            assert!(!volume.same_file(cache, b"file.bin", b"other.bin").unwrap());
            assert!(!volume.same_file(cache, b"none", b"none").unwrap());
            assert!(!volume.same_file(cache, b"none/x", b"file.bin").unwrap());
            assert!(matches!(volume.map(cache, b"none"), Err(FatError::NoFile)));
        });
    }
}
