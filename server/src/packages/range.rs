//! Which part of a file a request asks for.

use std::ops::Range;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// All of it: no range, several, or one that is malformed.
    Whole,
    /// These bytes, all of them inside the file.
    Part(Range<u64>),
    /// Nothing that the file has.
    Outside,
}

/// Reads a `Range` header for a file of `size` bytes. An end beyond the file is clamped.
pub fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Asked::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Asked::Whole;
    };
    match (number(first), number(last)) {
        (Some(Ok(first)), None) if first < size => Asked::Part(first..size),
        (Some(Ok(first)), Some(Ok(last))) if first <= last && first < size => {
            Asked::Part(first..size.min(last.saturating_add(1)))
        }
        (Some(Ok(first)), Some(Ok(last))) if first > last => Asked::Whole,
        (None, Some(Ok(count))) if count > 0 && size > 0 => Asked::Part(size.saturating_sub(count)..size),
        (Some(Ok(_)), None | Some(Ok(_))) | (None, Some(Ok(_))) => Asked::Outside,
        _ => Asked::Whole,
    }
}

/// A number of the header: none, a good one (clamped to what fits), or something else.
fn number(text: &str) -> Option<Result<u64, ()>> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Err(()));
    }
    Some(Ok(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_clamped_to_the_file() {
        for (header, expected) in [
            ("bytes=0-9", Asked::Part(0..10)),
            ("bytes=10-99", Asked::Part(10..100)),
            ("bytes=10-100", Asked::Part(10..100)),
            ("bytes=10-99999999999999999999999", Asked::Part(10..100)),
            ("bytes=99-", Asked::Part(99..100)),
            ("bytes=-1", Asked::Part(99..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("bytes=100-", Asked::Outside),
            ("bytes=100-200", Asked::Outside),
            ("bytes=-0", Asked::Outside),
            ("bytes=9-1", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("lines=0-1", Asked::Whole),
        ] {
            assert_eq!(asked(Some(header), 100), expected, "{header}");
        }
        assert_eq!(asked(None, 100), Asked::Whole);
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Outside);
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_outside(header in ".{0,40}|bytes=[0-9]{0,20}-[0-9]{0,20}", size in 0_u64..10_000) {
            if let Asked::Part(range) = asked(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
