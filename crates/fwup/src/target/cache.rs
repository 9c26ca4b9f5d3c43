//! The block cache: segments of 128 KiB between the functions and the target (format §7).
//!
//! Segments that are filled by streaming are written as soon as they are whole. Everything else waits for
//! [`Cache::flush`], which keeps the order that a power cut asks for: first the data, then what was touched last, and at
//! the very end the blocks that decide what is booted, each step made durable before the next.

use std::{collections::BTreeMap, ops::Range};

use super::{
    BlockTarget,
    bits::{BLOCK, BLOCKS, Bits},
    device::{Device, WriteMode},
    trimmed::Trimmed,
};
use crate::{
    caps::{CACHE_SEGMENTS, SEGMENT},
    error::Error,
};

const SEGMENT64: u64 = SEGMENT as u64;

#[derive(Debug)]
struct Segment {
    data: Box<[u8]>,
    valid: Bits,
    dirty: Bits,
    /// When it was used last.
    used: u64,
    /// Touched in on-finish or later.
    late: bool,
    /// The target ends inside of it, and grows when it is written.
    short: bool,
}

/// A byte range that decides what is booted.
#[derive(Debug)]
struct Critical {
    range: Range<u64>,
    /// What it holds until the other copy is durable, when there is one that is to count in the end.
    stand_in: Option<Vec<u8>>,
}

/// The cache over a target.
pub(crate) struct Cache<'t> {
    device: Device<'t>,
    segments: BTreeMap<u64, Segment>,
    spare: Vec<Box<[u8]>>,
    trimmed: Trimmed,
    /// What decides what is booted, the last touched last.
    critical: Vec<Critical>,
    clock: u64,
    late: bool,
}

impl<'t> Cache<'t> {
    pub(crate) fn new(target: &'t mut dyn BlockTarget, mode: WriteMode) -> Result<Self, Error> {
        Ok(Self {
            device: Device::new(target, mode)?,
            segments: BTreeMap::new(),
            spare: Vec::new(),
            trimmed: Trimmed::default(),
            critical: Vec::new(),
            clock: 0,
            late: false,
        })
    }

    /// The target's size in blocks as it was before anything was written.
    pub(crate) fn size_blocks(&self) -> Option<u64> {
        self.device.size.map(|size| size / BLOCK as u64)
    }

    /// Whether anything reached the target.
    pub(crate) fn written(&self) -> bool {
        self.device.written
    }

    /// From now on everything touched is written after what was touched before.
    pub(crate) fn begin_late(&mut self) {
        self.late = true;
    }

    /// Makes a byte range part of what is written last.
    pub(crate) fn mark_critical(&mut self, range: Range<u64>) {
        self.critical.retain(|old| old.range != range);
        self.critical.push(Critical { range, stand_in: None });
    }

    /// Makes two copies part of what is written last: `newer` counts from now on, `older` is what counted before.
    ///
    /// The copy that counts on the target stays whole until the other one can take its place. When that other one is
    /// not to count in the end, it holds `stand_in` meanwhile: the contents of `newer`, to be known as older.
    pub(crate) fn mark_copies(&mut self, newer: Range<u64>, older: Range<u64>, stand_in: Vec<u8>) {
        let place = |range: &Range<u64>| self.critical.iter().position(|old| old.range == *range);
        // a copy that was written before its first change here is the one that counts on the target, and comes second
        let newer_counts = place(&older).is_some_and(|older| place(&newer).is_some_and(|newer| older < newer));
        let (first, second) = if newer_counts { (older, newer) } else { (newer, older) };
        self.mark_critical(first);
        if let Some(first) = self.critical.last_mut().filter(|_| newer_counts) {
            first.stand_in = Some(stand_in);
        }
        self.mark_critical(second);
    }

    /// Reads `buf` from a byte offset. Behind the target's end there are zeros.
    pub(crate) fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        for (segment, inside, part) in pieces(offset, buf.len()) {
            self.load(segment)?;
            if let Some(held) = self.segments.get(&segment) {
                buf[part].copy_from_slice(&held.data[inside]);
            }
        }
        Ok(())
    }

    /// Writes at a byte offset. With `streamed` a segment goes to the target as soon as it is whole.
    pub(crate) fn write(&mut self, offset: u64, buf: &[u8], streamed: bool) -> Result<(), Error> {
        self.check_end(offset, buf.len() as u64)?;
        for (segment, inside, part) in pieces(offset, buf.len()) {
            if streamed && inside.len() == SEGMENT && !self.is_critical(segment) {
                self.pass_through(segment, &buf[part])?;
                continue;
            }
            if inside.start % BLOCK == 0 && inside.end % BLOCK == 0 {
                self.hold(segment)?;
            } else {
                self.load(segment)?;
            }
            let late = self.late;
            let Some(held) = self.segments.get_mut(&segment) else {
                continue;
            };
            held.data[inside.clone()].copy_from_slice(&buf[part]);
            held.late |= late;
            for block in inside.start / BLOCK..inside.end.div_ceil(BLOCK) {
                held.valid.set(block);
                held.dirty.set(block);
            }
            if streamed && held.dirty == Bits::ALL && !self.is_critical(segment) {
                self.write_out(segment)?;
                self.drop_segment(segment);
            }
        }
        Ok(())
    }

    /// Writes a whole segment without keeping it.
    fn pass_through(&mut self, segment: u64, data: &[u8]) -> Result<(), Error> {
        self.device.write(segment * SEGMENT64, data)?;
        self.drop_segment(segment);
        self.trimmed.remove(segment);
        Ok(())
    }

    fn check_end(&self, offset: u64, len: u64) -> Result<(), Error> {
        let size = self.device.hard_end.unwrap_or(i64::MAX as u64);
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(Error::TargetTooSmall { offset, size }),
        }
    }

    /// Declares a byte range to be zero and forgets what was to be written there. Only whole segments count.
    ///
    /// # Errors
    /// The medium could not be told; the range counts as zero all the same.
    pub(crate) fn trim(&mut self, range: Range<u64>) -> std::io::Result<()> {
        let whole = range.start.div_ceil(SEGMENT64)..range.end / SEGMENT64;
        if whole.is_empty() {
            return Ok(());
        }
        let held: Vec<u64> = self.segments.range(whole.clone()).map(|(number, _)| *number).collect();
        for number in held {
            self.drop_segment(number);
        }
        self.trimmed.insert(whole.clone());
        self.device.trim(whole.start * SEGMENT64..whole.end * SEGMENT64)?;
        Ok(())
    }

    /// Forgets everything that has not been written.
    pub(crate) fn discard(&mut self) {
        let held: Vec<u64> = self.segments.keys().copied().collect();
        for number in held {
            self.drop_segment(number);
        }
        self.trimmed.clear();
        self.critical.clear();
    }

    /// Writes everything and makes it durable: data, then what was touched late, then what decides what is booted.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let mut order: Vec<(bool, bool, u64, u64)> = self
            .segments
            .iter()
            .map(|(number, held)| (self.is_critical(*number), held.late, held.used, *number))
            .collect();
        order.sort_unstable();
        let mut pending = None;
        for (critical, late, _, number) in order {
            if pending.is_some_and(|last| last != (critical, late)) {
                self.device.flush()?;
            }
            pending = self.write_out(number)?.then_some((critical, late)).or(pending);
        }
        self.device.flush()?;
        let mut held_back = Vec::new();
        for Critical { range, stand_in } in std::mem::take(&mut self.critical) {
            if let Some(stand_in) = stand_in {
                let mut bytes = vec![0; stand_in.len()];
                self.read(range.start, &mut bytes)?;
                self.write(range.start, &stand_in, false)?;
                held_back.push((range.clone(), bytes));
            }
            self.make_durable(&range)?;
        }
        for (range, bytes) in held_back {
            self.write(range.start, &bytes, false)?;
            self.make_durable(&range)?;
        }
        Ok(())
    }

    /// Writes what is still to be written of a critical range, between barriers.
    fn make_durable(&mut self, range: &Range<u64>) -> Result<(), Error> {
        if self.write_critical(range)? {
            self.device.flush()
        } else {
            Ok(())
        }
    }

    /// The blocks of a segment that lie in critical ranges.
    fn critical_blocks(&self, segment: u64) -> Bits {
        let mut blocks = Bits::default();
        for critical in &self.critical {
            for block in blocks_in(&critical.range, segment) {
                blocks.set(block);
            }
        }
        blocks
    }

    fn is_critical(&self, segment: u64) -> bool {
        let bytes = segment * SEGMENT64..(segment + 1) * SEGMENT64;
        self.critical
            .iter()
            .any(|Critical { range, .. }| range.start < bytes.end && bytes.start < range.end)
    }

    /// Writes a segment but for its critical blocks; true when something was written.
    fn write_out(&mut self, number: u64) -> Result<bool, Error> {
        let critical = self.critical_blocks(number);
        if !self.segments.get(&number).is_some_and(|held| held.dirty.any()) {
            return Ok(false);
        }
        self.load(number)?;
        let needed = |held: &Segment| held.dirty.without(critical).any() || held.short;
        if !self.segments.get(&number).is_some_and(needed) && !self.trimmed.contains(number) {
            return Ok(false);
        }
        for run in Bits::ALL.without(critical).runs() {
            self.write_run(number, run.start * BLOCK..run.end * BLOCK)?;
        }
        if let Some(held) = self.segments.get_mut(&number) {
            held.dirty = held.dirty.and(critical);
            held.short = false;
        }
        self.trimmed.remove(number);
        Ok(true)
    }

    /// Writes what is still to be written of a critical range.
    fn write_critical(&mut self, range: &Range<u64>) -> Result<bool, Error> {
        let mut any = false;
        for number in range.start / SEGMENT64..range.end.div_ceil(SEGMENT64) {
            let blocks = blocks_in(range, number);
            let dirty = |held: &Segment| blocks.clone().any(|block| held.dirty.has(block));
            if !self.segments.get(&number).is_some_and(dirty) {
                continue;
            }
            self.load(number)?;
            self.write_run(number, blocks.start * BLOCK..blocks.end * BLOCK)?;
            if let Some(held) = self.segments.get_mut(&number) {
                blocks.for_each(|block| held.dirty.clear(block));
            }
            any = true;
        }
        Ok(any)
    }

    /// Writes a part of a held segment.
    fn write_run(&mut self, number: u64, inside: Range<usize>) -> Result<(), Error> {
        let Some(held) = self.segments.get(&number) else {
            return Ok(());
        };
        self.device
            .write(number * SEGMENT64 + inside.start as u64, &held.data[inside])
    }

    /// Holds a segment, with whatever blocks of it are known.
    fn hold(&mut self, number: u64) -> Result<(), Error> {
        self.clock += 1;
        let clock = self.clock;
        if let Some(held) = self.segments.get_mut(&number) {
            held.used = clock;
            return Ok(());
        }
        while self.segments.len() >= CACHE_SEGMENTS {
            self.evict()?;
        }
        let zero = self.trimmed.contains(number);
        let mut data = self.spare.pop().unwrap_or_else(|| vec![0; SEGMENT].into_boxed_slice());
        if zero {
            data.fill(0);
        }
        let valid = if zero { Bits::ALL } else { Bits::default() };
        let held = Segment {
            data,
            valid,
            dirty: Bits::default(),
            used: clock,
            late: false,
            short: false,
        };
        self.segments.insert(number, held);
        Ok(())
    }

    /// Holds a segment with all its blocks.
    fn load(&mut self, number: u64) -> Result<(), Error> {
        self.hold(number)?;
        let Some(held) = self.segments.get_mut(&number).filter(|held| held.valid != Bits::ALL) else {
            return Ok(());
        };
        let mut from_target = self.spare.pop().unwrap_or_else(|| vec![0; SEGMENT].into_boxed_slice());
        let offset = number * SEGMENT64;
        let count = self.device.read(offset, &mut from_target)?;
        from_target[count..].fill(0);
        held.short = (count as u64) < SEGMENT64.min(self.device.room(offset));
        for run in Bits::ALL.without(held.valid).runs() {
            let bytes = run.start * BLOCK..run.end * BLOCK;
            held.data[bytes.clone()].copy_from_slice(&from_target[bytes]);
        }
        held.valid = Bits::ALL;
        self.spare.push(from_target);
        Ok(())
    }

    /// Makes room: the segment that was not used for longest, but one that decides what is booted only if all do.
    fn evict(&mut self) -> Result<(), Error> {
        let oldest = self
            .segments
            .iter()
            .min_by_key(|(number, held)| (self.is_critical(**number), held.used))
            .map(|(n, _)| *n);
        let Some(number) = oldest else { return Ok(()) };
        self.write_out(number)?;
        if self.segments.get(&number).is_some_and(|held| held.dirty.any()) {
            self.device.flush()?;
            for at in 0..self.critical.len() {
                let Some(Critical { range, .. }) = self.critical.get(at) else {
                    continue;
                };
                let inside = range.start.max(number * SEGMENT64)..range.end.min((number + 1) * SEGMENT64);
                if !inside.is_empty() {
                    self.make_durable(&inside)?;
                }
            }
        }
        self.drop_segment(number);
        Ok(())
    }

    fn drop_segment(&mut self, number: u64) {
        if let Some(held) = self.segments.remove(&number)
            && self.spare.len() < 2
        {
            self.spare.push(held.data);
        }
    }
}

/// Cuts a byte range at segment borders: segment, bytes inside it, bytes of the buffer.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % SEGMENT64) as usize;
        let count = (len - done).min(SEGMENT - start);
        done += count;
        Some((at / SEGMENT64, start..start + count, done - count..done))
    })
}

/// The blocks of a segment that a byte range touches.
fn blocks_in(range: &Range<u64>, segment: u64) -> Range<usize> {
    let begin = segment * SEGMENT64;
    let block = BLOCK as u64;
    let first = range.start.saturating_sub(begin) / block;
    let last = range.end.saturating_sub(begin).div_ceil(block);
    (first.min(BLOCKS as u64) as usize)..(last.min(BLOCKS as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::MemoryTarget;

    #[derive(Default)]
    struct Log {
        inner: MemoryTarget,
        steps: Vec<Option<(u64, usize)>>,
    }

    impl BlockTarget for Log {
        fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
            self.inner.read_at(offset, buf)
        }
        fn write_at(&mut self, offset: u64, buf: &[u8]) -> std::io::Result<()> {
            self.steps.push(Some((offset, buf.len())));
            self.inner.write_at(offset, buf)
        }
        fn size(&self) -> std::io::Result<Option<u64>> {
            self.inner.size()
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.steps.push(None);
            Ok(())
        }
    }

    #[test]
    fn critical_blocks_are_written_alone_and_last_between_flushes() {
        let mut log = Log {
            inner: MemoryTarget::new(2 * SEGMENT),
            steps: Vec::new(),
        };
        let mut cache = Cache::new(&mut log, WriteMode::default()).unwrap();
        cache.write(8192, &[1; 512], false).unwrap();
        cache.mark_critical(8192..8704);
        cache.write(1024, &[2; 10], false).unwrap();
        cache.write(SEGMENT64 + 5, &[3; 5], false).unwrap();
        cache.flush().unwrap();
        let rest = (8704, SEGMENT - 8704);
        let want = [
            Some((SEGMENT64, SEGMENT)),
            None,
            Some((0, 8192)),
            Some(rest),
            None,
            Some((8192, 512)),
            None,
        ];
        assert_eq!(log.steps, want);
        assert_eq!(&log.inner.bytes[1024..1034], &[2; 10]);
    }

    #[test]
    fn an_environment_alone_is_one_write() {
        let mut log = Log {
            inner: MemoryTarget::new(SEGMENT),
            steps: Vec::new(),
        };
        let mut cache = Cache::new(&mut log, WriteMode::default()).unwrap();
        cache.write(8192, &[1; 512], false).unwrap();
        cache.mark_critical(8192..16384);
        cache.flush().unwrap();
        assert_eq!(log.steps, [Some((8192, 8192)), None]);
    }

    #[test]
    fn streamed_segments_go_out_at_once_and_others_wait() {
        let mut target = MemoryTarget::new(0);
        let mut cache = Cache::new(&mut target, WriteMode::default()).unwrap();
        cache.write(0, &vec![7; SEGMENT], false).unwrap();
        assert!(!cache.written());
        cache.write(SEGMENT64, &vec![8; SEGMENT + 512], true).unwrap();
        assert!(cache.written());
        cache.discard();
        assert_eq!(target.bytes.len(), 2 * SEGMENT);
        assert!(target.bytes[..SEGMENT].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn trimmed_segments_read_as_zeros_and_keep_their_bytes_unless_written() {
        let mut target = MemoryTarget {
            bytes: vec![9; 4 * SEGMENT],
        };
        let mut cache = Cache::new(&mut target, WriteMode::default()).unwrap();
        cache.trim(100..SEGMENT64 * 3 + 100).unwrap();
        cache.write(SEGMENT64 + 512, &[1; 512], false).unwrap();
        let mut buf = [5; 4];
        cache.read(SEGMENT64 * 2, &mut buf).unwrap();
        assert_eq!(buf, [0; 4]);
        cache.flush().unwrap();
        assert!(target.bytes[SEGMENT..SEGMENT + 512].iter().all(|byte| *byte == 0));
        assert!(target.bytes[2 * SEGMENT..].iter().all(|byte| *byte == 9));
    }

    #[test]
    fn more_segments_than_memory_are_written_in_turn() {
        let mut target = MemoryTarget::new(0);
        let mut cache = Cache::new(
            &mut target,
            WriteMode {
                verify: true,
                minimize: true,
            },
        )
        .unwrap();
        for number in 0..CACHE_SEGMENTS as u64 + 20 {
            cache.write(number * SEGMENT64 + 3, &[number as u8; 3], false).unwrap();
            assert!(cache.segments.len() <= CACHE_SEGMENTS);
        }
        cache.flush().unwrap();
        for number in 0..CACHE_SEGMENTS + 20 {
            assert_eq!(target.bytes[number * SEGMENT + 3], number as u8);
        }
    }

    #[test]
    fn writing_behind_a_hard_end_fails_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = crate::FileTarget::create(dir.path().join("x")).unwrap();
        let mut file = file.with_max_size(1000);
        let mut cache = Cache::new(&mut file, WriteMode::default()).unwrap();
        assert!(matches!(
            cache.write(512, &[0; 512], false),
            Err(Error::TargetTooSmall { .. })
        ));
        cache.write(0, &[1; 1000], false).unwrap();
        cache.flush().unwrap();
        assert_eq!(std::fs::read(dir.path().join("x")).unwrap(), [1; 1000]);
    }
}
