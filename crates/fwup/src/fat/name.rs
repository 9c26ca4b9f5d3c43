//! Names: long ones, the short ones made from them, and how they lie in directory entries.

use super::{FatError, codepage};
use crate::caps;

/// Characters of a long name in one entry.
const PER_ENTRY: usize = 13;
/// The offsets of these characters in an entry.
const UNITS: [usize; PER_ENTRY] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// Attribute of an entry that holds a part of a long name.
pub(super) const ATTR_LONG: u8 = 0x0f;
/// First byte of a removed entry.
pub(super) const REMOVED: u8 = 0xe5;
/// Stands for a first byte that looks like [`REMOVED`].
const REMOVED_ESCAPE: u8 = 0x05;

/// One component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) long: Vec<u16>,
    pub(super) short: [u8; 11],
    /// The short name lost something and needs a number.
    pub(super) lossy: bool,
    /// The short name cannot say everything: entries with the long one are needed.
    pub(super) needs_long: bool,
    /// Flags for parts that are wholly lower case.
    pub(super) case: u8,
}

/// The components of a path; none for the root directory.
pub(super) fn path(path: &[u8]) -> Result<Vec<Name>, FatError> {
    if path.len() > caps::FAT_PATH_MAX {
        return Err(FatError::Name);
    }
    let end = path.iter().position(|byte| *byte < b' ').unwrap_or(path.len());
    path[..end]
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .filter(|part| !part.is_empty())
        .map(Name::new)
        .collect()
}

impl Name {
    fn new(part: &[u8]) -> Result<Self, FatError> {
        let len = part
            .iter()
            .rposition(|byte| !matches!(byte, b' ' | b'.'))
            .map_or(0, |at| at + 1);
        let part = &part[..len];
        if part.is_empty() || len > caps::FAT_NAME_MAX || part.iter().any(|byte| b"*:<>|\"?\x7f".contains(byte)) {
            return Err(FatError::Name);
        }
        let long = part.iter().map(|byte| codepage::to_unicode(*byte)).collect();
        let mut name = Self {
            long,
            short: [b' '; 11],
            lossy: false,
            needs_long: false,
            case: 0,
        };
        name.shorten(part);
        Ok(name)
    }

    /// Fills in the short name.
    fn shorten(&mut self, part: &[u8]) {
        let blanks = part.iter().take_while(|byte| **byte == b' ').count();
        if blanks > 0 || part.first() == Some(&b'.') {
            self.lose();
        }
        // a dot at the beginning begins an extension too: the body is empty then
        let dot = part.iter().rposition(|byte| *byte == b'.');
        let (body, extension) = match dot {
            Some(at) => (&part[blanks..at], &part[at + 1..]),
            None => (&part[blanks..], &[][..]),
        };
        let body_case = self.field(body, 0..8);
        let extension_case = self.field(extension, 8..11);
        if self.short[0] == REMOVED {
            self.short[0] = REMOVED_ESCAPE;
        }
        if body_case == Case::Mixed || extension_case == Case::Mixed {
            self.needs_long = true;
        }
        if !self.needs_long {
            self.case = if body_case == Case::Lower { 0x08 } else { 0 };
            self.case |= if extension_case == Case::Lower { 0x10 } else { 0 };
        }
    }

    fn lose(&mut self) {
        self.lossy = true;
        self.needs_long = true;
    }

    /// Puts the body or the extension into its place; tells its case.
    fn field(&mut self, part: &[u8], place: std::ops::Range<usize>) -> Case {
        let (mut at, mut case) = (place.start, Case::None);
        for byte in part {
            if matches!(byte, b' ' | b'.') {
                self.lose();
                continue;
            }
            if at == place.end {
                self.lose();
                break;
            }
            if *byte >= 0x80 {
                self.needs_long = true;
            }
            self.short[at] = if b"+,;=[]".contains(byte) {
                self.lose();
                b'_'
            } else {
                case = case.with(*byte);
                codepage::to_short(*byte)
            };
            at += 1;
        }
        case
    }

    /// The short name with a number in its body: `NAME~1`. From the sixth try on the number is a hash.
    pub(super) fn numbered(&self, number: u32) -> [u8; 11] {
        let mut value = if number > 5 { self.hash(number) } else { number };
        let mut digits = Vec::new();
        loop {
            digits.insert(0, b"0123456789ABCDEF"[(value % 16) as usize]);
            value /= 16;
            if value == 0 || digits.len() == 7 {
                break;
            }
        }
        digits.insert(0, b'~');
        let keep = self.short[..8]
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(8)
            .min(8 - digits.len());
        let mut short = self.short;
        short[keep..8].fill(b' ');
        short[keep..keep + digits.len()].copy_from_slice(&digits);
        short
    }

    /// A 16-bit CRC (polynomial 0x1021) over the long name, bit by bit from the lowest.
    fn hash(&self, seed: u32) -> u32 {
        self.long.iter().fold(seed, |sum, unit| {
            (0..16).fold(sum, |sum, bit| {
                let sum = (sum << 1) + u32::from(unit >> bit & 1);
                if sum & 0x1_0000 == 0 { sum } else { sum ^ 0x1_1021 }
            })
        })
    }

    /// Directory entries that the name needs.
    pub(super) fn entries(&self) -> usize {
        if self.needs_long {
            self.long.len().div_ceil(PER_ENTRY) + 1
        } else {
            1
        }
    }

    /// The entry with the part of the long name that comes `number`th, from 1.
    pub(super) fn long_entry(&self, number: usize, short: &[u8; 11]) -> [u8; 32] {
        let mut entry = [0; 32];
        let last = number == self.entries() - 1;
        entry[0] = number as u8 | if last { 0x40 } else { 0 };
        entry[11] = ATTR_LONG;
        entry[13] = checksum(short);
        for (at, offset) in UNITS.iter().enumerate() {
            let index = (number - 1) * PER_ENTRY + at;
            let unit = match self.long.get(index) {
                Some(unit) => *unit,
                None if index == self.long.len() => 0,
                None => 0xffff,
            };
            entry[*offset..offset + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entry
    }

    /// Whether a long name read from a directory is this one, whatever the case.
    pub(super) fn is_long(&self, other: &[u16]) -> bool {
        self.long.len() == other.len()
            && self
                .long
                .iter()
                .zip(other)
                .all(|(a, b)| codepage::upper(*a) == codepage::upper(*b))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    None,
    Upper,
    Lower,
    Mixed,
}

impl Case {
    fn with(self, byte: u8) -> Self {
        match (self, byte.is_ascii_uppercase(), byte.is_ascii_lowercase()) {
            (Self::None | Self::Upper, true, _) => Self::Upper,
            (Self::None | Self::Lower, _, true) => Self::Lower,
            (_, false, false) => self,
            _ => Self::Mixed,
        }
    }
}

/// Ties long entries to their short one.
pub(super) fn checksum(short: &[u8; 11]) -> u8 {
    short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// Puts the characters of a long entry together; entries come with the last part first.
pub(super) fn collect_long(long: &mut Vec<u16>, entry: &[u8; 32]) {
    let units = UNITS.iter().map(|at| u16::from_le_bytes([entry[*at], entry[at + 1]]));
    let part: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    long.splice(0..0, part);
}

/// A volume label: at most 11 characters, upper case.
pub(super) fn label(text: &[u8]) -> Result<[u8; 11], FatError> {
    let len = text.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
    let mut label = [b' '; 11];
    if len > label.len() || text.first() == Some(&REMOVED) {
        return Err(FatError::Name);
    }
    for (to, byte) in label.iter_mut().zip(&text[..len]) {
        if *byte < b' ' || b"\"*+,.:;<=>?[]|\x7f".contains(byte) {
            return Err(FatError::Name);
        }
        *to = codepage::to_short(*byte);
    }
    Ok(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn short_names_follow_the_rules() {
        let cases = [
            ("grub", "GRUB       ", false, false, 0x08),
            ("grub.cfg", "GRUB    CFG", false, false, 0x18),
            ("UPPER.txt", "UPPER   TXT", false, false, 0x10),
            ("bzImage.a", "BZIMAGE A  ", false, true, 0),
            ("configuration.yaml", "CONFIGURYAM", true, true, 0),
            (".hidden", "        HID", true, true, 0),
            ("a.b.c.d", "ABC     D  ", true, true, 0),
            ("noext.", "NOEXT      ", false, false, 0x08),
            ("12345678.123", "12345678123", false, false, 0),
        ];
        for (text, short, lossy, needs_long, case) in cases {
            let name = name(text);
            assert_eq!(String::from_utf8_lossy(&name.short), short, "{text}");
            assert_eq!(
                (name.lossy, name.needs_long, name.case),
                (lossy, needs_long, case),
                "{text}"
            );
        }
        for bad in ["a*b", "...", "a:b", " "] {
            assert!(Name::new(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_go_behind_the_body_or_cut_it() {
        assert_eq!(&name("configuration.yaml").numbered(1), b"CONFIG~1YAM");
        assert_eq!(&name(".hidden").numbered(1), b"~1      HID");
        assert!(name("configuration.yaml").numbered(6).contains(&b'~'));
    }

    #[test]
    fn long_entries_round_trip() {
        let name = name("a rather long folder name");
        let mut long = Vec::new();
        for number in (1..name.entries()).rev() {
            collect_long(&mut long, &name.long_entry(number, &name.short));
        }
        assert!(name.is_long(&long));
    }

    #[test]
    fn paths_split_at_either_separator() {
        assert_eq!(path(b"/boot\\GRUB//x").unwrap().len(), 3);
        assert!(path(b"/").unwrap().is_empty());
    }
}
