//! The U-Boot environment block, without I/O (format §6).
//!
//! A block is `CRC32 | data`; with two copies it is `CRC32 | flag | data`. The checksum covers the data to the end of the
//! block, the flag is not covered. The data is a list of `name=value`, each ended by a zero byte, and one more zero byte.

use std::collections::BTreeMap;

use crate::caps;

/// Why a block was not read or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UbootEnvError {
    /// The block is too short or longer than [`caps::UBOOT_ENV_MAX`].
    #[error("a U-Boot environment cannot have {0} bytes")]
    Size(usize),
    /// The checksum does not agree: the block was never written or is damaged.
    #[error("the U-Boot environment's CRC32 does not agree (stored {stored:#010x}, computed {computed:#010x})")]
    Checksum {
        /// The checksum in the block.
        stored: u32,
        /// The checksum of its data.
        computed: u32,
    },
    /// A variable has no `=` or no end.
    #[error("the U-Boot environment holds something that is not name=value")]
    Malformed,
    /// A name that is empty or contains `=` or a zero byte, or a value with a zero byte.
    #[error("'{0}' cannot be the name or value of a U-Boot variable")]
    BadVariable(String),
    /// The variables do not fit.
    #[error("not enough room in the U-Boot environment: {needed} bytes are needed, {room} are there")]
    Full {
        /// Bytes needed.
        needed: usize,
        /// Bytes of the block's data.
        room: usize,
    },
}

/// Whether a block stands alone or is one of two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One block.
    Single,
    /// One of two copies; the flag byte counts up with every write.
    Redundant {
        /// The flag byte.
        flag: u8,
    },
}

impl Layout {
    fn header(self) -> usize {
        match self {
            Self::Single => 4,
            Self::Redundant { .. } => 5,
        }
    }
}

/// The variables of a U-Boot environment, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UbootEnv {
    vars: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Reads a block that stands alone.
///
/// # Errors
/// [`UbootEnvError`] when the block holds no environment.
pub fn parse(block: &[u8]) -> Result<UbootEnv, UbootEnvError> {
    parse_data(block, Layout::Single.header())
}

/// Reads one of two copies; returns its flag byte too.
///
/// # Errors
/// [`UbootEnvError`] when the block holds no environment.
pub fn parse_redundant(block: &[u8]) -> Result<(UbootEnv, u8), UbootEnvError> {
    let env = parse_data(block, Layout::Redundant { flag: 0 }.header())?;
    Ok((env, block.get(4).copied().unwrap_or_default()))
}

/// Which of two copies with these flags is the newer one: true when the second is.
pub fn second_is_newer(first: u8, second: u8) -> bool {
    (1..128).contains(&second.wrapping_sub(first))
}

fn parse_data(block: &[u8], header: usize) -> Result<UbootEnv, UbootEnvError> {
    if block.len() < header + 2 || block.len() > caps::UBOOT_ENV_MAX {
        return Err(UbootEnvError::Size(block.len()));
    }
    let stored = u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    let mut data = &block[header..];
    let computed = crc32fast::hash(data);
    if stored != computed {
        return Err(UbootEnvError::Checksum { stored, computed });
    }
    let mut vars = BTreeMap::new();
    while data.first().is_some_and(|byte| *byte != 0) {
        let end = data
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(UbootEnvError::Malformed)?;
        let item = &data[..end];
        let equals = item
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or(UbootEnvError::Malformed)?;
        vars.insert(item[..equals].to_vec(), item[equals + 1..].to_vec());
        data = &data[end + 1..];
    }
    Ok(UbootEnv { vars })
}

impl UbootEnv {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a variable, if it is set and is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_bytes(name.as_bytes())
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The bytes of a variable's value.
    pub fn get_bytes(&self, name: &[u8]) -> Option<&[u8]> {
        self.vars.get(name).map(Vec::as_slice)
    }

    /// Sets a variable.
    ///
    /// # Errors
    /// [`UbootEnvError::BadVariable`] when the name or value cannot be stored.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), UbootEnvError> {
        let (name, value) = (name.as_ref(), value.as_ref());
        if name.is_empty() || name.contains(&b'=') || name.contains(&0) {
            return Err(UbootEnvError::BadVariable(String::from_utf8_lossy(name).into_owned()));
        }
        if value.contains(&0) {
            return Err(UbootEnvError::BadVariable(String::from_utf8_lossy(value).into_owned()));
        }
        self.vars.insert(name.to_vec(), value.to_vec());
        Ok(())
    }

    /// Removes a variable; one that is not there is no error.
    pub fn unset(&mut self, name: impl AsRef<[u8]>) {
        self.vars.remove(name.as_ref());
    }

    /// The variables, sorted by name; bytes that are not UTF-8 are replaced.
    pub fn iter(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.vars.iter().map(move |(name, value)| (text(name), text(value)))
    }

    /// How many variables there are.
    pub fn len(&self) -> usize {
        self.vars.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.vars.is_empty()
    }

    /// Makes a block of `size` bytes that stands alone.
    ///
    /// # Errors
    /// [`UbootEnvError::Full`] when the variables do not fit, [`UbootEnvError::Size`] for an impossible size.
    pub fn to_bytes(&self, size: usize) -> Result<Vec<u8>, UbootEnvError> {
        self.to_bytes_as(size, Layout::Single)
    }

    /// Makes a block of `size` bytes in the given layout.
    ///
    /// # Errors
    /// As for [`UbootEnv::to_bytes`].
    pub fn to_bytes_as(&self, size: usize, layout: Layout) -> Result<Vec<u8>, UbootEnvError> {
        let header = layout.header();
        if size < header + 2 || size > caps::UBOOT_ENV_MAX {
            return Err(UbootEnvError::Size(size));
        }
        let mut block = vec![0; header];
        for (name, value) in &self.vars {
            // fwup wants room for the two zero bytes at the end, counted from the block's beginning
            let needed = block.len() - header + name.len() + 1 + value.len();
            if needed >= size - header - 2 {
                return Err(UbootEnvError::Full {
                    needed,
                    room: size - header,
                });
            }
            block.extend_from_slice(name);
            block.push(b'=');
            block.extend_from_slice(value);
            block.push(0);
        }
        block.push(0);
        block.resize(size, 0xff);
        if let Layout::Redundant { flag } = layout {
            block[4] = flag;
        }
        let crc = crc32fast::hash(&block[header..]);
        block[..4].copy_from_slice(&crc.to_le_bytes());
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn block_is_laid_out_as_documented() {
        let mut env = UbootEnv::new();
        env.set("b", "2").unwrap();
        env.set("a", "").unwrap();
        let block = env.to_bytes(64).unwrap();
        assert_eq!(&block[4..12], b"a=\0b=2\0\0");
        assert!(block[12..].iter().all(|byte| *byte == 0xff));
        assert_eq!(parse(&block).unwrap(), env);
    }

    #[test]
    fn damage_is_seen() {
        let mut block = UbootEnv::new().to_bytes(64).unwrap();
        block[40] ^= 1;
        assert!(matches!(parse(&block), Err(UbootEnvError::Checksum { .. })));
        assert!(matches!(parse(&[]), Err(UbootEnvError::Size(0))));
    }

    #[test]
    fn too_many_bytes_are_refused() {
        let mut env = UbootEnv::new();
        env.set("name", "x".repeat(100)).unwrap();
        assert!(matches!(env.to_bytes(64), Err(UbootEnvError::Full { .. })));
        assert!(env.set("a=b", "c").is_err());
        assert!(env.set("a", "b\0").is_err());
    }

    #[test]
    fn newer_copy_is_told_across_the_wrap() {
        assert!(second_is_newer(1, 2));
        assert!(second_is_newer(255, 0));
        assert!(!second_is_newer(0, 255));
        assert!(!second_is_newer(7, 7));
    }

    proptest! {
        #[test]
        fn variables_round_trip(vars in proptest::collection::btree_map("[^=\0]{1,20}", "[^\0]{0,40}", 0..20), flag: u8) {
            let mut env = UbootEnv::new();
            for (name, value) in &vars {
                env.set(name, value).unwrap();
            }
            prop_assert_eq!(parse(&env.to_bytes(16384).unwrap()).unwrap(), env.clone());
            let block = env.to_bytes_as(16384, Layout::Redundant { flag }).unwrap();
            prop_assert_eq!(parse_redundant(&block).unwrap(), (env, flag));
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            if bytes.len() > 8 {
                let crc = crc32fast::hash(&bytes[4..]);
                bytes[..4].copy_from_slice(&crc.to_le_bytes());
                let _ = parse(&bytes);
            }
        }
    }
}
