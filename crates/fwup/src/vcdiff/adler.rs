//! Adler-32 (RFC 1950 §8.2).

/// The largest prime below 2^16.
const PRIME: u32 = 65_521;
/// Most bytes that can be added before the sums must be reduced.
const PIECE: usize = 5552;

/// The sums over what was seen so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adler32 {
    low: u32,
    high: u32,
}

impl Adler32 {
    pub(super) fn new() -> Self {
        Self { low: 1, high: 0 }
    }

    /// Adds bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            let groups = piece.chunks_exact(16);
            let rest = groups.remainder();
            for group in groups {
                // the high sum takes the low one after each byte; both sums of a group are independent of the ones before
                let (mut sum, mut weighted) = (0, 0);
                for (at, byte) in group.iter().enumerate() {
                    sum += u32::from(*byte);
                    weighted += (16 - at as u32) * u32::from(*byte);
                }
                self.high += self.low * 16 + weighted;
                self.low += sum;
            }
            for byte in rest {
                self.low += u32::from(*byte);
                self.high += self.low;
            }
            self.low %= PRIME;
            self.high %= PRIME;
        }
    }

    /// The checksum.
    pub(super) fn value(self) -> u32 {
        self.high << 16 | self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> u32 {
        let mut sum = Adler32::new();
        sum.update(bytes);
        sum.value()
    }

    #[test]
    fn known_sums_come_out_and_do_not_overflow() {
        assert_eq!(whole(b""), 1);
        assert_eq!(whole(b"Wikipedia"), 0x11e6_0398);
        let bytes = vec![0xff; 100_003];
        let (mut low, mut high) = (1_u64, 0_u64);
        for byte in &bytes {
            low = (low + u64::from(*byte)) % 65_521;
            high = (high + low) % 65_521;
        }
        assert_eq!(u64::from(whole(&bytes)), high << 16 | low);
    }
}
