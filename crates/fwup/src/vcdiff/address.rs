//! The cache of addresses and the modes in which an address is written (RFC 3284 §5.1 to §5.3).

use super::{code_table::MODES, varint};

const NEAR: usize = 4;
const SAME: usize = 3 * 256;
const MODE_PLAIN: u8 = 0;
const MODE_HERE: u8 = 1;
const MODE_NEAR: u8 = 2;
const MODE_SAME: u8 = MODE_NEAR + NEAR as u8;

/// The addresses used lately; each window begins with zeros.
#[derive(Debug)]
pub(super) struct AddressCache {
    near: [u64; NEAR],
    next: usize,
    same: Box<[u64]>,
}

impl AddressCache {
    pub(super) fn new() -> Self {
        Self {
            near: [0; NEAR],
            next: 0,
            same: vec![0; SAME].into_boxed_slice(),
        }
    }

    fn remember(&mut self, address: u64) {
        self.near[self.next] = address;
        self.next = (self.next + 1) % NEAR;
        self.same[(address % SAME as u64) as usize] = address;
    }

    /// Reads an address from its section. It must lie before `here`. None when it is cut off or does not.
    pub(super) fn read(&mut self, mode: u8, here: u64, section: &[u8], at: &mut usize) -> Option<u64> {
        let address = if mode >= MODE_SAME {
            let byte = *section.get(*at)?;
            *at += 1;
            *self.same.get(usize::from(mode - MODE_SAME) * 256 + usize::from(byte))?
        } else {
            let value = varint::read(section, at)?;
            match mode {
                MODE_PLAIN => value,
                MODE_HERE => here.checked_sub(value)?,
                _ => value.checked_add(*self.near.get(usize::from(mode - MODE_NEAR))?)?,
            }
        };
        self.remember(address);
        (address < here).then_some(address)
    }

    /// Writes an address in the mode that takes the fewest bytes; returns the mode.
    pub(super) fn write(&mut self, address: u64, here: u64, section: &mut Vec<u8>) -> u8 {
        let slot = (address % SAME as u64) as usize;
        let same = self.same[slot] == address;
        let mut best = (varint::len(address), MODE_PLAIN, address);
        let mut offer = |mode, value| {
            if varint::len(value) < best.0 {
                best = (varint::len(value), mode, value);
            }
        };
        offer(MODE_HERE, here - address);
        for (mode, near) in (MODE_NEAR..).zip(self.near) {
            if let Some(value) = address.checked_sub(near) {
                offer(mode, value);
            }
        }
        self.remember(address);
        // one byte as well, but the pairs of the code table know fewer sizes for it
        if same && best.0 > 1 {
            section.push((slot % 256) as u8);
            return MODE_SAME + (slot / 256) as u8;
        }
        debug_assert!(best.1 < MODES);
        varint::write(section, best.2);
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn addresses_are_read_as_written(steps in proptest::collection::vec((0_u64..3000, 1_u64..500), 1..200)) {
            let (mut writer, mut section, mut written, mut here) = (AddressCache::new(), Vec::new(), Vec::new(), 1);
            for (address, forward) in steps {
                here += forward;
                let address = address % here;
                written.push((writer.write(address, here, &mut section), address, here));
            }
            let (mut reader, mut at) = (AddressCache::new(), 0);
            for (mode, address, here) in written {
                prop_assert_eq!(reader.read(mode, here, &section, &mut at), Some(address));
            }
            prop_assert_eq!(at, section.len());
        }
    }

    #[test]
    fn addresses_that_do_not_exist_yet_are_refused() {
        let read = |mode, here, section: &[u8]| AddressCache::new().read(mode, here, section, &mut 0);
        assert_eq!(read(MODE_PLAIN, 10, &[9]), Some(9));
        assert_eq!(read(MODE_PLAIN, 10, &[10]), None);
        assert_eq!(read(MODE_HERE, 10, &[0]), None);
        assert_eq!(read(MODE_HERE, 10, &[11]), None);
        assert_eq!(read(MODE_SAME, 10, &[5]), Some(0));
        assert_eq!(read(MODE_SAME, 0, &[5]), None);
        assert_eq!(read(MODE_SAME, 10, &[]), None);
    }
}
