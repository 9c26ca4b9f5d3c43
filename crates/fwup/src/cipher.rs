//! Encryption of sectors, as dm-crypt reads it (format §9).
//!
//! A sector has 512 bytes. Its number counts from the block at which a `raw_write` or a delta source begins, and is what
//! makes equal sectors look different.

use std::fmt;

use aes::{
    Aes256, Block,
    cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    mbr::from_hex,
    metaconf::{Bytes, text},
    target::BLOCK,
};

/// Bytes of a key of AES-256.
const KEY: usize = 32;

/// Encrypts and decrypts sectors.
#[derive(Clone)]
pub(crate) enum Cipher {
    /// `aes-cbc-plain`: the chain of a sector begins with its number in 32 bits.
    Cbc(Box<Aes256>),
    /// `aes-xts-plain64`: the key of the data and the key of the tweak, which begins with the sector's number in 64 bits.
    Xts(Box<[Aes256; 2]>),
}

impl fmt::Debug for Cipher {
    /// Says nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cbc(_) => "aes-cbc-plain",
            Self::Xts(_) => "aes-xts-plain64",
        })
    }
}

impl Cipher {
    /// Reads `cipher=..` and `secret=..`, given as words or as one list with commas. None when nothing is given.
    ///
    /// # Errors
    /// An option that is unknown or given twice, one of the two alone, an unknown cipher, a secret that is no key of it.
    /// The message never holds the secret.
    pub(crate) fn parse(options: &[Bytes]) -> Result<Option<Self>, String> {
        let (mut cipher, mut secret) = (None, None);
        let options = options.iter().flat_map(|word| word.split(|byte| *byte == b','));
        for option in options.filter(|option| !option.is_empty()) {
            let at = option.iter().position(|byte| *byte == b'=').unwrap_or(option.len());
            let (name, value) = (&option[..at], option.get(at + 1..).unwrap_or_default());
            let place = match name {
                b"cipher" => &mut cipher,
                b"secret" => &mut secret,
                _ => return Err(format!("'{}' is no option, only cipher and secret are", text(name))),
            };
            if place.replace(value).is_some() {
                return Err(format!("{} is given twice", text(name)));
            }
        }
        let given = |value: Option<&[u8]>| value.is_some_and(|value| !value.is_empty());
        match (cipher, secret) {
            (None, None) => Ok(None),
            (Some(cipher), Some(secret)) if given(Some(cipher)) && given(Some(secret)) => {
                Self::new(cipher, secret).map(Some)
            }
            _ => Err("cipher and secret are needed together, and neither may be empty".into()),
        }
    }

    fn new(cipher: &[u8], secret: &[u8]) -> Result<Self, String> {
        match cipher {
            b"aes-cbc-plain" => {
                let key = from_hex(secret).or_else(|| STANDARD.decode(secret).ok());
                let key = key.filter(|key| key.len() == KEY);
                let key = key.ok_or("aes-cbc-plain needs a secret of 64 hexadecimal digits")?;
                Ok(Self::Cbc(Box::new(aes(&key)?)))
            }
            b"aes-xts-plain64" => {
                let key = from_hex(secret).filter(|key| key.len() == 2 * KEY);
                let key = key.ok_or("aes-xts-plain64 needs a secret of 128 hexadecimal digits")?;
                Ok(Self::Xts(Box::new([aes(&key[..KEY])?, aes(&key[KEY..])?])))
            }
            _ => Err(format!(
                "'{}' is no cipher, only aes-cbc-plain and aes-xts-plain64 are",
                text(cipher)
            )),
        }
    }

    /// Encrypts whole sectors in place; the first one has the number `first`. Bytes behind the last whole sector stay.
    pub(crate) fn encrypt(&self, first: u64, bytes: &mut [u8]) {
        for (number, sector) in (first..).zip(bytes.chunks_exact_mut(BLOCK)) {
            let (blocks, _) = Block::slice_as_chunks_mut(sector);
            match self {
                Self::Cbc(aes) => {
                    let mut chain = start(u64::from(number as u32));
                    for block in blocks {
                        xor(block, &chain);
                        aes.encrypt_block(block);
                        chain = *block;
                    }
                }
                Self::Xts(keys) => tweaked(&keys[1], number, blocks, |blocks| keys[0].encrypt_blocks(blocks)),
            }
        }
    }

    /// Decrypts whole sectors in place; the inverse of [`Cipher::encrypt`].
    pub(crate) fn decrypt(&self, first: u64, bytes: &mut [u8]) {
        for (number, sector) in (first..).zip(bytes.chunks_exact_mut(BLOCK)) {
            let (blocks, _) = Block::slice_as_chunks_mut(sector);
            match self {
                Self::Cbc(aes) => {
                    let mut chain = [Block::default(); BLOCKS];
                    chain[0] = start(u64::from(number as u32));
                    chain[1..].copy_from_slice(&blocks[..BLOCKS - 1]);
                    aes.decrypt_blocks(blocks);
                    blocks
                        .iter_mut()
                        .zip(&chain)
                        .for_each(|(block, before)| xor(block, before));
                }
                Self::Xts(keys) => tweaked(&keys[1], number, blocks, |blocks| keys[0].decrypt_blocks(blocks)),
            }
        }
    }
}

/// Blocks of AES in a sector.
const BLOCKS: usize = BLOCK / 16;

fn aes(key: &[u8]) -> Result<Aes256, String> {
    Aes256::new_from_slice(key).map_err(|_| "the secret has the wrong length".to_owned())
}

/// A sector's number as a block.
fn start(number: u64) -> Block {
    let mut block = Block::default();
    block[..8].copy_from_slice(&number.to_le_bytes());
    block
}

fn xor(block: &mut Block, other: &Block) {
    block.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
}

/// XTS (IEEE 1619): each block is masked before and after by a tweak, which doubles from block to block.
fn tweaked(key: &Aes256, number: u64, blocks: &mut [Block], run: impl FnOnce(&mut [Block])) {
    let mut tweak = start(number);
    key.encrypt_block(&mut tweak);
    let mut tweaks = [tweak; BLOCKS];
    let mut value = u128::from_le_bytes(tweak.into());
    for tweak in &mut tweaks {
        *tweak = value.to_le_bytes().into();
        // doubling in the field of x^128 + x^7 + x^2 + x + 1
        value = (value << 1) ^ if value >> 127 == 1 { 0x87 } else { 0 };
    }
    let mask = |blocks: &mut [Block]| {
        for (block, tweak) in blocks.iter_mut().zip(&tweaks) {
            xor(block, tweak);
        }
    };
    mask(blocks);
    run(blocks);
    mask(blocks);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mbr::to_hex;
    use proptest::prelude::*;

    const CBC: &str = "cipher=aes-cbc-plain,secret=603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
    const XTS: &str = "cipher=aes-xts-plain64,secret=\
        27182818284590452353602874713526624977572470936999595749669676273141592653589793238462643383279502884197169399375105820974944592";

    fn cipher(options: &str) -> Cipher {
        Cipher::parse(&[options.as_bytes().to_vec()]).unwrap().unwrap()
    }

    fn counted() -> Vec<u8> {
        (0..BLOCK).map(|at| at as u8).collect()
    }

    #[test]
    fn xts_gives_what_ieee_1619_gives() {
        // vector 10: data unit 0xff
        let mut sector = counted();
        cipher(XTS).encrypt(0xff, &mut sector);
        let want = b"1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b";
        assert_eq!(to_hex(&sector[..32]), want);
        assert_eq!(to_hex(&sector[496..]), b"c4f36ffda9fcea70b9c6e693e148c151");
    }

    #[test]
    fn cbc_begins_with_the_number_of_the_sector() {
        // for sector 0 the first block is AES-256 of the plain block alone: NIST SP 800-38A, F.1.5
        let mut sector = vec![0; BLOCK];
        sector[..16].copy_from_slice(&from_hex(b"6bc1bee22e409f96e93d7e117393172a").unwrap());
        let mut other = sector.clone();
        other[0] ^= 7;
        cipher(CBC).encrypt(0, &mut sector);
        assert_eq!(to_hex(&sector[..16]), b"f3eed1bdb5d2a03c064b5a7e3db181f8");
        cipher(CBC).encrypt(7, &mut other);
        assert_eq!(sector[..16], other[..16]);
        // only 32 bits of the number count
        let (mut low, mut high) = (counted(), counted());
        cipher(CBC).encrypt(1, &mut low);
        cipher(CBC).encrypt((1 << 32) + 1, &mut high);
        assert_eq!(low, high);
    }

    proptest! {
        #[test]
        fn decrypting_undoes_encrypting_at_any_cut(
            bytes in proptest::collection::vec(any::<u8>(), 4 * BLOCK), first in any::<u32>(), cut in 0_usize..5, xts: bool
        ) {
            let cipher = cipher(if xts { XTS } else { CBC });
            let (first, mut secret) = (u64::from(first), bytes.clone());
            cipher.encrypt(first, &mut secret);
            prop_assert_ne!(&secret, &bytes);
            let (head, tail) = secret.split_at_mut(cut * BLOCK);
            cipher.decrypt(first, head);
            cipher.decrypt(first + cut as u64, tail);
            prop_assert_eq!(secret, bytes);
        }
    }

    #[test]
    fn options_are_both_there_or_both_not() {
        let parse =
            |words: &[&str]| Cipher::parse(&words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
        let key = "00".repeat(32);
        assert!(parse(&[]).unwrap().is_none());
        assert!(parse(&["", ","]).unwrap().is_none());
        assert!(
            parse(&["cipher=aes-cbc-plain", &format!("secret={key}")])
                .unwrap()
                .is_some()
        );
        assert!(
            parse(&[
                "secret=YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=",
                "cipher=aes-cbc-plain"
            ])
            .is_ok()
        );
        for bad in [
            "cipher=aes-cbc-plain",
            "cipher=aes-cbc-plain,secret=",
            "secret=00",
            "cipher=,secret=",
            "cipher=rot13,secret=00",
            "cipher=aes-cbc-plain,secret=00",
            "cipher=aes-cbc-plain,cipher=aes-cbc-plain",
            "speed=high",
        ] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
        for (name, len) in [
            ("aes-cbc-plain", 33),
            ("aes-cbc-plain", 31),
            ("aes-xts-plain64", 32),
            ("aes-xts-plain64", 65),
        ] {
            let secret = "5a".repeat(len);
            let error = parse(&[&format!("cipher={name},secret={secret}")]).unwrap_err();
            assert!(!error.contains("5a5a"), "{error}");
        }
        assert_eq!(format!("{:?}", cipher(CBC)), "aes-cbc-plain");
    }
}
