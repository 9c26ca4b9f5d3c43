//! What lies in a slot of the virtual platform: a first block that names version, content hash and behaviour, and the
//! content. The block is text, padded with zeros to 512 bytes:
//!
//! ```text
//! MUSTER-SLOT 1
//! version=1.1.0
//! size=5120
//! blake2b=<64 hex digits: BLAKE2b-256 of the `size` bytes after the block>
//! behaviour=ok
//! ```

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::str::FromStr;

use blake2b_simd::{Params, State};

/// Bytes of the first block.
pub const BLOCK_BYTES: usize = 512;
const MAGIC: &str = "MUSTER-SLOT 1";
const READ_BYTES: usize = 64 * 1024;

/// What the firmware in the slot does when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// What it should.
    Ok,
    /// Reboots before it connects.
    Crash,
    /// Never connects.
    NoNetwork,
    /// Connects and never validates itself.
    NeverValidates,
}

impl Behaviour {
    /// Every behaviour.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Crash, Self::NoNetwork, Self::NeverValidates];

    /// The name in the block.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Crash => "crash",
            Self::NoNetwork => "no-network",
            Self::NeverValidates => "never-validates",
        }
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Behaviour {
    type Err = SlotError;

    fn from_str(text: &str) -> Result<Self, SlotError> {
        let named = Self::ALL.into_iter().find(|behaviour| behaviour.name() == text);
        named.ok_or(SlotError::BadBlock)
    }
}

/// Why a slot is not booted.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The disk has no such slot.
    #[error("the partition table has no such slot")]
    NoSlot,
    /// The disk does not let itself be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The first block is not one of ours.
    #[error("its first block is damaged or was never written")]
    BadBlock,
    /// The content is longer than the slot.
    #[error("its first block names more bytes than the slot has")]
    TooLong,
    /// The content is not what the block says.
    #[error("its bytes are not those that its first block names")]
    Differs,
    /// The environment names another version.
    #[error("it holds version {held}, the environment names {named}")]
    OtherVersion {
        /// In the block.
        held: String,
        /// In the environment.
        named: String,
    },
}

/// Where a slot lies on the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its first byte.
    pub offset: u64,
    /// How many it has.
    pub size: u64,
}

/// The first block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The firmware's version.
    pub version: String,
    /// What it does.
    pub behaviour: Behaviour,
    size: u64,
    blake2b: String,
}

fn hasher() -> State {
    Params::new().hash_length(32).to_state()
}

/// A root file system for the virtual platform: the block and the content, for `raw_write` to a slot.
pub fn image(version: &str, behaviour: Behaviour, content: &[u8]) -> Vec<u8> {
    let hash = hasher().update(content).finalize().to_hex();
    let size = content.len();
    let text = format!("{MAGIC}\nversion={version}\nsize={size}\nblake2b={hash}\nbehaviour={behaviour}\n");
    let mut image = text.into_bytes();
    image.resize(BLOCK_BYTES, 0);
    image.extend_from_slice(content);
    image
}

impl Header {
    /// Reads a first block.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(block: &[u8]) -> Result<Self, SlotError> {
        let text = block.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = str::from_utf8(text).map_err(|_| SlotError::BadBlock)?;
        let mut lines = text.lines();
        if lines.next() != Some(MAGIC) {
            return Err(SlotError::BadBlock);
        }
        let mut field = |name: &str| {
            let (found, value) = lines.next()?.split_once('=')?;
            (found == name).then(|| value.to_owned())
        };
        let (Some(version), Some(size), Some(blake2b), Some(behaviour)) =
            (field("version"), field("size"), field("blake2b"), field("behaviour"))
        else {
            return Err(SlotError::BadBlock);
        };
        Ok(Self {
            version,
            behaviour: behaviour.parse()?,
            size: size.parse().map_err(|_| SlotError::BadBlock)?,
            blake2b,
        })
    }
}

/// Reads a slot and checks that it holds what its first block says, and the version that the environment names.
///
/// # Errors
/// When it does not.
pub fn check(disk: &File, extent: Extent, named: &str) -> Result<Header, SlotError> {
    let mut block = [0; BLOCK_BYTES];
    disk.read_exact_at(&mut block, extent.offset)?;
    let header = Header::parse(&block)?;
    if header.version != named {
        return Err(SlotError::OtherVersion {
            held: header.version,
            named: named.to_owned(),
        });
    }
    let first = BLOCK_BYTES as u64;
    if header.size > extent.size.saturating_sub(first) {
        return Err(SlotError::TooLong);
    }
    if hash(disk, extent.offset + first, header.size)? != header.blake2b {
        return Err(SlotError::Differs);
    }
    Ok(header)
}

fn hash(disk: &File, mut offset: u64, mut left: u64) -> io::Result<String> {
    let mut state = hasher();
    let mut buffer = vec![0; READ_BYTES];
    while left > 0 {
        let take = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
        let Some(part) = buffer.get_mut(..take) else {
            break;
        };
        disk.read_exact_at(part, offset)?;
        state.update(part);
        offset += take as u64;
        left -= take as u64;
    }
    Ok(state.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn disk(image: &[u8]) -> (File, Extent) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0xee; 1024]).unwrap();
        file.write_all(image).unwrap();
        file.write_all(&[0; 4096]).unwrap();
        let extent = Extent {
            offset: 1024,
            size: image.len() as u64 + 512,
        };
        (file, extent)
    }

    #[test]
    fn image_of_every_behaviour_is_good() {
        for behaviour in Behaviour::ALL {
            let (file, extent) = disk(&image("1.1.0", behaviour, &vec![7; 70_000]));
            let header = check(&file, extent, "1.1.0").unwrap();
            assert_eq!(header.behaviour, behaviour);
        }
    }

    #[test]
    fn one_flipped_bit_is_seen_wherever_it_is() {
        let good = image("1.1.0", Behaviour::Ok, &[7; 3000]);
        let text_end = good.iter().position(|byte| *byte == 0).unwrap();
        for at in (0..text_end).chain(BLOCK_BYTES..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let (file, extent) = disk(&bad);
            assert!(check(&file, extent, "1.1.0").is_err(), "byte {at}");
        }
    }

    #[test]
    fn version_that_stands_only_in_the_environment_counts_for_nothing() {
        let (file, extent) = disk(&image("1.0.0", Behaviour::Ok, b"content"));
        assert!(matches!(
            check(&file, extent, "1.1.0"),
            Err(SlotError::OtherVersion { .. })
        ));
    }

    #[test]
    fn content_longer_than_the_slot_is_refused() {
        let (file, mut extent) = disk(&image("1.0.0", Behaviour::Ok, &[1; 2000]));
        extent.size = 1024;
        assert!(matches!(check(&file, extent, "1.0.0"), Err(SlotError::TooLong)));
    }

    proptest::proptest! {
        #[test]
        fn no_block_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
            let _ = Header::parse(&bytes);
        }
    }
}
