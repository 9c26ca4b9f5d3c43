//! Bytes of a terminal as text: a character that was cut between two reads is put together, what is none is replaced.

/// The beginning of a character that was cut.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    cut: Vec<u8>,
}

impl Decoder {
    /// The text of these bytes, but for the beginning of a character at their end.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.cut);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        for chunk in all.utf8_chunks() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            let is_last = invalid.as_ptr_range().end == all.as_ptr_range().end;
            if is_last && is_beginning(invalid) {
                self.cut = invalid.to_vec();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }
}

/// Whether more bytes may make it a character.
fn is_beginning(bytes: &[u8]) -> bool {
    let wanted = match bytes.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => return false,
    };
    bytes.len() < wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_characters_are_put_together_and_nonsense_is_replaced() {
        let mut decoder = Decoder::default();
        let bytes = "aé€😀b".as_bytes();
        let mut text = String::new();
        for byte in bytes {
            text.push_str(&decoder.decode(&[*byte]));
        }
        assert_eq!(text, "aé€😀b");
        assert_eq!(decoder.decode(b"a\xffb\xc3"), "a\u{fffd}b");
        assert_eq!(decoder.decode(b"x"), "\u{fffd}x");
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost_whatever_the_cuts(text in "\\PC{0,40}", cut in 0usize..160) {
            let mut decoder = Decoder::default();
            let cut = cut.min(text.len());
            let (head, rest) = text.as_bytes().split_at(cut);
            let decoded = decoder.decode(head) + &decoder.decode(rest);
            proptest::prop_assert_eq!(decoded, text);
        }

        #[test]
        fn no_bytes_panic_or_pile_up(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100)) {
            let mut decoder = Decoder::default();
            decoder.decode(&bytes);
            proptest::prop_assert!(decoder.cut.len() < 4);
        }
    }
}
