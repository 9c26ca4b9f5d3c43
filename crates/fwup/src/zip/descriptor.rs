//! Data descriptors, in the four forms that occur: with and without a mark, with 32-bit and 64-bit sizes.

use super::DESCRIPTOR;

/// Longest form: mark, checksum and two 64-bit sizes.
pub(super) const MAX: usize = 24;

/// The length of the descriptor at the beginning of `bytes`, when one is there that agrees with what was read.
pub(super) fn matching(bytes: &[u8], crc: u32, compressed: u64, size: u64) -> Option<usize> {
    let narrow = u32::try_from(compressed).ok().zip(u32::try_from(size).ok());
    for mark in [&DESCRIPTOR[..], &[]] {
        let mut form = mark.to_vec();
        form.extend_from_slice(&crc.to_le_bytes());
        if let Some((compressed, size)) = narrow {
            let mut form = form.clone();
            form.extend_from_slice(&compressed.to_le_bytes());
            form.extend_from_slice(&size.to_le_bytes());
            if bytes.starts_with(&form) {
                return Some(form.len());
            }
        }
        form.extend_from_slice(&compressed.to_le_bytes());
        form.extend_from_slice(&size.to_le_bytes());
        if bytes.starts_with(&form) {
            return Some(form.len());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_forms_are_told_apart() {
        let crc = 0x1234_5678_u32.to_le_bytes();
        let narrow = [&crc[..], &7_u32.to_le_bytes(), &9_u32.to_le_bytes()].concat();
        let wide = [&crc[..], &7_u64.to_le_bytes(), &9_u64.to_le_bytes()].concat();
        for (form, mark) in [(&narrow, true), (&narrow, false), (&wide, true), (&wide, false)] {
            let mut bytes = if mark { DESCRIPTOR.to_vec() } else { Vec::new() };
            bytes.extend_from_slice(form);
            let len = bytes.len();
            bytes.extend_from_slice(b"PK\x03\x04");
            assert_eq!(matching(&bytes, 0x1234_5678, 7, 9), Some(len));
            assert_eq!(matching(&bytes, 0x1234_5678, 7, 8), None);
            assert_eq!(matching(&bytes, 0x1234_5679, 7, 9), None);
        }
    }
}
