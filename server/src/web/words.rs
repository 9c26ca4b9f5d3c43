//! How templates write numbers, sizes and times.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const READABLE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
const MACHINE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A number that templates write; they hold references.
pub trait Figure {
    /// It.
    fn figure(&self) -> i64;
}

macro_rules! figures {
    ($($kind:ty),*) => {
        $(impl Figure for $kind {
            fn figure(&self) -> i64 {
                i64::try_from(*self).unwrap_or(i64::MAX)
            }
        })*
    };
}
figures!(i16, i32, i64, u64, usize);

impl<T: Figure> Figure for &T {
    fn figure(&self) -> i64 {
        (**self).figure()
    }
}

/// `1,204`.
pub fn number(value: impl Figure) -> String {
    let value = value.figure();
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

/// `1 device`, `8 devices`.
pub fn count(value: impl Figure, one: &str, many: &str) -> String {
    let value = value.figure();
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

/// `812 B`, `4.2 kB`, `36.1 MB`.
pub fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 || unit == "GB" {
            let digits = usize::from(unit != "B" && value < 99.95);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    String::new()
}

/// `90 s`, `30 min`, `24 h`, `7 days`: the largest unit that says it wholly.
pub fn span(seconds: impl Figure) -> String {
    let seconds = seconds.figure();
    for (unit, word) in [(86_400, "days"), (3600, "h"), (60, "min")] {
        if seconds >= unit && seconds % unit == 0 && !(unit == 86_400 && seconds == 86_400) {
            return format!("{} {word}", number(seconds / unit));
        }
    }
    format!("{} s", number(seconds))
}

/// For a `datetime` attribute.
pub fn machine(at: OffsetDateTime) -> String {
    at.format(MACHINE).unwrap_or_default()
}

/// For a reader without script.
pub fn readable(at: OffsetDateTime) -> String {
    at.format(READABLE).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::{count, machine, number, readable, size};

    #[test]
    fn numbers_have_their_thousands_and_sizes_their_unit() {
        assert_eq!(number(1_204), "1,204");
        assert_eq!(number(100), "100");
        assert_eq!(number(-1_000_000), "-1,000,000");
        assert_eq!(count(1, "device", "devices"), "1 device");
        assert_eq!(count(8, "device", "devices"), "8 devices");
        assert_eq!(
            (size(812), size(4_240), size(36_100_000)),
            ("812 B".into(), "4.2 kB".into(), "36.1 MB".into())
        );
        assert_eq!(size(999_999), "1.0 MB");
    }

    #[test]
    fn spans_are_in_their_largest_whole_unit() {
        assert_eq!(super::span(86_400), "24 h");
        assert_eq!(super::span(604_800), "7 days");
        assert_eq!(super::span(5_400), "90 min");
        assert_eq!(super::span(45), "45 s");
    }

    #[test]
    fn times_are_exact() {
        let at = datetime!(2026-11-21 14:03:21.5 UTC);
        assert_eq!(machine(at), "2026-11-21T14:03:21.500Z");
        assert_eq!(readable(at), "2026-11-21 14:03:21 UTC");
    }
}
