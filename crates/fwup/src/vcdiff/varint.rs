//! Integers of seven bits a byte, the highest first (RFC 3284 §2).

/// Most bytes of an integer; more could not fit into 63 bits.
pub(super) const MAX: usize = 9;

/// Appends a byte to an integer. None when it no longer fits; the flag tells whether this was its last byte.
pub(super) fn push(value: u64, byte: u8) -> Option<(u64, bool)> {
    let value = value.checked_mul(128)? | u64::from(byte & 127);
    (value < 1 << 63).then_some((value, byte & 128 == 0))
}

/// Reads an integer at a place of a section and moves the place behind it. None when it is cut off or too large.
pub(super) fn read(section: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for byte in section.get(*at..)?.iter().take(MAX) {
        *at += 1;
        let last;
        (value, last) = push(value, *byte)?;
        if last {
            return Some(value);
        }
    }
    None
}

/// Appends an integer.
pub(super) fn write(out: &mut Vec<u8>, value: u64) {
    let len = len(value);
    for at in (0..len).rev() {
        let more = if at > 0 { 128 } else { 0 };
        out.push((value >> (7 * at)) as u8 & 127 | more);
    }
}

/// Bytes of an integer.
pub(super) fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_rfc_is_written_as_there() {
        let mut out = Vec::new();
        write(&mut out, 123_456_789);
        assert_eq!(out, [0x80 | 0x3a, 0x80 | 0x6f, 0x80 | 0x1a, 0x15]);
    }

    #[test]
    fn what_is_cut_or_too_long_is_refused() {
        for bad in [&[][..], &[0x80], &[0xff; 9], &[0xff; 20], &[0x80; 10]] {
            assert_eq!(read(bad, &mut 0), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn integers_are_read_as_written(value in 0_u64..1 << 63, shift in 0_u32..63) {
            let value = value >> shift;
            let mut out = vec![7];
            write(&mut out, value);
            out.push(9);
            let mut at = 1;
            prop_assert_eq!(read(&out, &mut at), Some(value));
            prop_assert_eq!((at, out.len()), (1 + len(value), 2 + len(value)));
        }
    }
}
