//! Numbers as C reads them with base 0: `0x` is hexadecimal, a leading zero is octal (format §2.1).

/// A signed number; the whole text must belong to it.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    match text.split_first() {
        Some((b'-', digits)) => parse_u64(digits).and_then(|n| 0_i64.checked_sub_unsigned(n)),
        Some((b'+', digits)) => parse_u64(digits).and_then(|n| i64::try_from(n).ok()),
        _ => parse_u64(text).and_then(|n| i64::try_from(n).ok()),
    }
}

/// An unsigned number; the whole text must belong to it.
pub(crate) fn parse_u64(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // from_str_radix would take a sign
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_those_of_c() {
        for (text, value) in [("0", 0), ("10", 10), ("010", 8), ("0x1F", 31), ("00", 0)] {
            assert_eq!(parse_u64(text.as_bytes()), Some(value));
        }
        for text in ["", "1x", "08", "0x", "-1", "+1", " 1", "1 ", "99999999999999999999"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_i64(b"-0x10"), Some(-16));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
    }
}
