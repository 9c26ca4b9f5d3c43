//! The one term of Erlang's external format that a signature holds: `{identifier, milliseconds, 86400}`, read strictly.

use crate::limits::IDENTIFIER_MAX;

const VERSION: u8 = 131;
const SMALL_TUPLE: u8 = 104;
const BINARY: u8 = 109;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const SMALL_BIG: u8 = 110;
/// A day, which peers write and nobody reads.
const MAX_AGE: u32 = 86_400;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub identifier: String,
    pub signed_at_ms: u64,
}

/// Reads a tuple of an identifier, a time and, except in older clients, an age. Anything else, such as a function or an
/// atom, is nothing.
pub(super) fn read(bytes: &[u8]) -> Option<Token> {
    let mut reader = Reader(bytes);
    if reader.byte()? != VERSION || reader.byte()? != SMALL_TUPLE {
        return None;
    }
    let arity = reader.byte()?;
    let identifier = reader.binary()?;
    let signed_at_ms = reader.integer()?;
    if arity == 3 {
        reader.integer()?;
    }
    let token = Token {
        identifier,
        signed_at_ms,
    };
    (matches!(arity, 2 | 3) && reader.0.is_empty()).then_some(token)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn binary(&mut self) -> Option<String> {
        if self.byte()? != BINARY {
            return None;
        }
        let length = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= IDENTIFIER_MAX)?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    /// A number from 0 that fits 64 bits.
    fn integer(&mut self) -> Option<u64> {
        match self.byte()? {
            SMALL_INTEGER => self.byte().map(u64::from),
            INTEGER => u64::try_from(i32::from_be_bytes(self.take(4)?.try_into().ok()?)).ok(),
            SMALL_BIG => {
                let (length, sign) = (self.byte()?, self.byte()?);
                let bytes = self.take(usize::from(length)).filter(|bytes| bytes.len() <= 8)?;
                let number = bytes
                    .iter()
                    .rev()
                    .fold(0, |number, byte| number << 8 | u64::from(*byte));
                (sign == 0).then_some(number)
            }
            _ => None,
        }
    }
}

/// The term as peers write it: the time in the fewest bytes.
pub(super) fn write(identifier: &str, signed_at_ms: u64) -> Vec<u8> {
    let mut bytes = vec![VERSION, SMALL_TUPLE, 3, BINARY];
    bytes.extend((identifier.len() as u32).to_be_bytes());
    bytes.extend(identifier.as_bytes());
    let time = signed_at_ms.to_le_bytes();
    let length = 8 - (signed_at_ms.leading_zeros() / 8) as usize;
    bytes.extend([SMALL_BIG, length as u8, 0]);
    bytes.extend(&time[..length]);
    bytes.push(INTEGER);
    bytes.extend(MAX_AGE.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn term_of_the_vector_is_written_and_read() {
        let bytes = hex("8368036d000000086465762d303030316e060000c02cc899016200015180");
        assert_eq!(write("dev-0001", 1_760_000_000_000), bytes);
        let token = read(&bytes).unwrap();
        assert_eq!(
            (token.identifier.as_str(), token.signed_at_ms),
            ("dev-0001", 1_760_000_000_000)
        );
    }

    #[test]
    fn legacy_pair_and_small_numbers_are_read() {
        assert_eq!(read(&hex("8368026d00000001616105")).unwrap().signed_at_ms, 5);
        assert_eq!(
            read(&hex("8368036d00000001616200000100610a")).unwrap().signed_at_ms,
            256
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for odd in [
            "",
            "83",
            "8368",
            // another version, an atom, a list, a function, a compressed term
            "8268026d00000001616105",
            "8364000161",
            "836c00000001",
            "8368037100000000",
            "835000000000",
            // no binary, a long one, one that is not all there, one that is not UTF-8
            "836802610561056105",
            "8368026d000001006161056105",
            "8368026d00000009616105",
            "8368026d00000001ff6105",
            // a negative time, a time of nine bytes, a float
            "8368026d000000016162ffffffff",
            "8368026d00000001616e010105",
            "8368026d00000001616e0900000000000000000001",
            "8368026d0000000161463ff0000000000000",
            // one element, four elements, more bytes than it says
            "8368016d0000000161",
            "8368046d0000000161610561056105",
            "8368026d0000000161610500",
        ] {
            assert_eq!(read(&hex(odd)), None, "{odd}");
        }
        let long = [hex("8368026d00000100"), vec![b'a'; 256], hex("6105")].concat();
        assert_eq!(read(&long), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let _ = read(&[&[VERSION, SMALL_TUPLE], bytes.as_slice()].concat());
        }

        #[test]
        fn what_is_written_reads_back(identifier in ".{0,60}", at in proptest::prelude::any::<u64>()) {
            let token = read(&write(&identifier, at));
            proptest::prop_assert_eq!(token, Some(Token { identifier, signed_at_ms: at }));
        }
    }
}
