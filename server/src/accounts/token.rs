//! API tokens and session secrets: how they are made, written, read and stored.

use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use crate::platform::random::Random;

/// What every API token begins with.
const PREFIX: &str = "nhu_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SECRET_LEN: usize = 32;
const PAYLOAD_LEN: usize = SECRET_LEN + 4;
/// 36 bytes take at most this many characters.
const MAX_DIGITS: usize = 49;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenContext {
    /// Programs, by the `Authorization` header; no end.
    Api,
    /// A browser, by a cookie; ends.
    Session,
}

impl TokenContext {
    /// As the database knows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Session => "session",
        }
    }
}

/// A token's secret: shown once, stored as its hash.
pub struct TokenSecret(Zeroizing<[u8; SECRET_LEN]>);

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TokenSecret")
    }
}

impl TokenSecret {
    /// A new secret. Its first byte is not zero, so that its text keeps its length.
    pub(super) fn generate(random: &Random) -> Self {
        loop {
            let bytes = Zeroizing::new(random.bytes::<SECRET_LEN>());
            if bytes[0] != 0 {
                return Self(bytes);
            }
        }
    }

    /// Reads the text of [`TokenSecret::text`]; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let payload = decode(text.strip_prefix(PREFIX)?)?;
        let (secret, crc) = payload.split_first_chunk::<SECRET_LEN>()?;
        if secret[0] == 0 || crc != crc32fast::hash(secret).to_be_bytes() {
            return None;
        }
        Some(Self(Zeroizing::new(*secret)))
    }

    /// `nhu_`, then secret and CRC-32 in base 62.
    pub fn text(&self) -> String {
        let mut payload = Zeroizing::new([0; PAYLOAD_LEN]);
        payload[..SECRET_LEN].copy_from_slice(&*self.0);
        payload[SECRET_LEN..].copy_from_slice(&crc32fast::hash(&*self.0).to_be_bytes());
        format!("{PREFIX}{}", encode(&payload))
    }

    /// What is stored.
    pub(super) fn hash(&self) -> Vec<u8> {
        Sha512::digest(*self.0).to_vec()
    }
}

/// The big-endian number of the bytes in base 62.
fn encode(bytes: &[u8; PAYLOAD_LEN]) -> String {
    let mut number = Zeroizing::new(*bytes);
    let mut digits = Vec::with_capacity(MAX_DIGITS);
    while number.iter().any(|byte| *byte != 0) {
        let mut remainder = 0;
        for byte in number.iter_mut() {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        digits.push(char::from(ALPHABET[remainder as usize]));
    }
    digits.iter().rev().collect()
}

/// The inverse of [`encode`]; `None` when the number does not fit or a character is none of base 62.
fn decode(text: &str) -> Option<Zeroizing<[u8; PAYLOAD_LEN]>> {
    if text.len() > MAX_DIGITS {
        return None;
    }
    let mut number = Zeroizing::new([0_u8; PAYLOAD_LEN]);
    for digit in text.bytes() {
        let mut carry = ALPHABET.iter().position(|letter| *letter == digit)? as u32;
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 62 + carry;
            *byte = value as u8;
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by hand: Python's integers and zlib.crc32.
    const VECTORS: [([u8; SECRET_LEN], &str, &str); 2] = [
        (
            [
                1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
                29, 30, 31, 32,
            ],
            "nhu_17SyR2HeQqfOYQaaT7Jv5BxBid5hrDD9KP13RYr9o6rTb26X",
            "77788f1a0cea001a2631dae5d05dbd062008d5b30f50b9e29beb2a7822289004573dfc9b6ffeb1c786a16349e70f9836876a743c31c0a7a2a70727a852eec372",
        ),
        (
            [255; SECRET_LEN],
            "nhu_4aayPrHErxRw4RlpBrwySYBqld0KYBESq8ER8ckHOABzg71pb",
            "27cd6935864716a79d74dd5fabbd8964304051ca41a31c4659158ebb7c3d0b979b4522968797885508e64703de1cc0593063264b74b588f71b7de0161f21cf29",
        ),
    ];

    fn hex(bytes: &[u8]) -> String {
        bytes
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    #[test]
    fn tokens_are_written_and_read_by_the_vectors() {
        for (secret, text, hash) in VECTORS {
            let token = TokenSecret(Zeroizing::new(secret));
            assert_eq!(token.text(), text);
            let read = TokenSecret::parse(text).unwrap();
            assert_eq!(*read.0, secret);
            assert_eq!(hex(&read.hash()), hash);
        }
    }

    #[test]
    fn generated_tokens_survive_their_text() {
        let random = Random::system();
        for _ in 0..100 {
            let token = TokenSecret::generate(&random);
            let text = token.text();
            assert!((52..=53).contains(&text.len()), "{}", text.len());
            assert_eq!(*TokenSecret::parse(&text).unwrap().0, *token.0);
        }
    }

    #[test]
    fn a_changed_character_is_noticed_without_the_database() {
        let (_, text, _) = VECTORS[0];
        for at in PREFIX.len()..text.len() {
            let mut changed = text.to_owned().into_bytes();
            changed[at] = if changed[at] == b'7' { b'8' } else { b'7' };
            assert!(TokenSecret::parse(&String::from_utf8(changed).unwrap()).is_none());
        }
        for bad in [
            "",
            "nhu_",
            "nhu_é",
            &"nhu_z".repeat(20),
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}0"),
        ] {
            assert!(TokenSecret::parse(bad).is_none(), "{bad}");
        }
    }
}
