//! Firmware images that are made, always the same for the same seed, and deflate about as real ones do.
//!
//! A real root file system is a mixture: what its own compression has packed already and deflate cannot make smaller,
//! machine code and tables that go down to two fifths, text, and space left empty. Here each extent of 64 KiB is one of
//! these. Code and text are put together of phrases of which a few are common, of bytes that are like no other, and of
//! copies of what came before. docs/decisions/0008 has how near that comes.

/// Bytes of an extent.
const EXTENT: usize = 64 * 1024;
/// How far back a copy may begin.
const WINDOW: u64 = 32 * 1024;

/// A generator of numbers (splitmix64).
#[derive(Clone, Debug)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// `len` bytes of firmware: of a hundred extents 46 are packed, 36 code, 10 text, 8 empty.
pub fn firmware(seed: u64, len: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let mut image = Vec::with_capacity(len + EXTENT);
    while image.len() < len {
        let end = image.len() + EXTENT;
        match numbers.below(100) {
            0..46 => packed(&mut numbers, &mut image, end),
            46..82 => mixed(&mut numbers, &mut image, end, &CODE),
            82..92 => mixed(&mut numbers, &mut image, end, &TEXT),
            _ => image.resize(end, 0),
        }
    }
    image.truncate(len);
    image
}

/// The next version of an image: a twentieth of its extents are others, and here and there some bytes come in, so that
/// what follows moves.
pub fn next_version(old: &[u8], seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let mut new = Vec::with_capacity(old.len() + EXTENT);
    for extent in old.chunks(EXTENT) {
        match numbers.below(100) {
            0..5 => new.extend(firmware(numbers.next(), extent.len())),
            5..8 => {
                let end = new.len() + 96;
                packed(&mut numbers, &mut new, end);
                new.extend_from_slice(extent);
            }
            _ => new.extend_from_slice(extent),
        }
    }
    new.truncate(old.len());
    new
}

fn packed(numbers: &mut Numbers, image: &mut Vec<u8>, end: usize) {
    while image.len() < end {
        image.extend_from_slice(&numbers.next().to_le_bytes());
    }
}

/// What code or text is put together of.
struct Mixture {
    /// Phrases to choose from; few of them are common.
    phrases: u64,
    /// Bytes of a phrase are 2 and up to so many more.
    longest: u64,
    /// Of 256 phrases so many are followed by a byte that is like no other.
    operands: u64,
    /// Of 256 steps so many repeat a place seen before.
    copies: u64,
}

const CODE: Mixture = Mixture {
    phrases: 300,
    longest: 2,
    operands: 40,
    copies: 30,
};
const TEXT: Mixture = Mixture {
    phrases: 1000,
    longest: 6,
    operands: 4,
    copies: 20,
};

fn mixed(numbers: &mut Numbers, image: &mut Vec<u8>, end: usize, mixture: &Mixture) {
    let begin = image.len();
    while image.len() < end {
        let number = numbers.next();
        let made = (image.len() - begin) as u64;
        if number & 0xff < mixture.copies && made > 64 {
            let distance = 1 + numbers.below(made.min(WINDOW));
            let from = image.len() - distance as usize;
            for at in from..from + 6 + (number >> 8) as usize % 24 {
                image.push(image[at]);
            }
            continue;
        }
        // the product of three numbers: a few phrases are common, most are rare
        let part = |shift: u32| (number >> shift) & 0x3fff;
        let phrase = (part(8) * part(22) * part(36) * mixture.phrases) >> 42;
        let mut spelling = Numbers(phrase ^ (mixture.longest << 32));
        let letters = spelling.next();
        for at in 0..2 + letters % mixture.longest {
            let skewed = (letters >> (8 + 6 * at)) & 0x3f;
            image.push((skewed * skewed / 16) as u8);
        }
        if number >> 56 < mixture.operands {
            image.push((number >> 48) as u8);
        }
    }
    image.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_always_the_same_and_the_next_version_is_near_it() {
        let image = firmware(1, 3_000_001);
        assert_eq!(image.len(), 3_000_001);
        assert!(image == firmware(1, 3_000_001) && image != firmware(2, 3_000_001));
        let next = next_version(&image, 1);
        assert!(next.len() == image.len() && next != image);
        let same = next
            .chunks(EXTENT)
            .filter(|extent| image.windows(extent.len()).step_by(1).any(|old| old == *extent));
        assert!(same.count() > 20);
    }
}
