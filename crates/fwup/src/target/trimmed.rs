//! Segments that are known to hold zeros (format §7.3).

use std::ops::Range;

/// A set of segment numbers, kept as ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trimmed {
    ranges: Vec<Range<u64>>,
}

impl Trimmed {
    pub(super) fn insert(&mut self, mut new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        self.ranges.retain(|old| {
            let apart = old.end < new.start || new.end < old.start;
            if !apart {
                new = new.start.min(old.start)..new.end.max(old.end);
            }
            apart
        });
        let at = self.ranges.partition_point(|old| old.start < new.start);
        self.ranges.insert(at, new);
    }

    fn find(&self, segment: u64) -> Option<usize> {
        let at = self.ranges.partition_point(|range| range.end <= segment);
        self.ranges
            .get(at)
            .is_some_and(|range| range.contains(&segment))
            .then_some(at)
    }

    pub(super) fn contains(&self, segment: u64) -> bool {
        self.find(segment).is_some()
    }

    pub(super) fn remove(&mut self, segment: u64) {
        let Some(at) = self.find(segment) else { return };
        let old = self.ranges.remove(at);
        for part in [segment + 1..old.end, old.start..segment] {
            if !part.is_empty() {
                self.ranges.insert(at, part);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_split() {
        let mut trimmed = Trimmed::default();
        trimmed.insert(10..20);
        trimmed.insert(30..40);
        trimmed.insert(20..30);
        assert_eq!(trimmed.ranges.len(), 1);
        trimmed.remove(15);
        assert!(trimmed.contains(14) && !trimmed.contains(15) && trimmed.contains(16));
        trimmed.remove(10);
        assert!(!trimmed.contains(10) && trimmed.contains(39) && !trimmed.contains(40));
        trimmed.insert(5..5);
        assert_eq!(trimmed.ranges, vec![11..15, 16..40]);
    }
}
