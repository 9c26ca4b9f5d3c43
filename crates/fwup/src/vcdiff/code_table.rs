//! The default code table (RFC 3284 §5.6): what each byte of the instruction section stands for.

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nothing,
    /// Takes bytes from the data section.
    Add,
    /// Takes one byte from the data section and repeats it.
    Run,
    /// Copies from an address that is given in this mode.
    Copy(u8),
}

/// One of the two instructions of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Half {
    pub(super) kind: Kind,
    /// Bytes made; 0 when the size follows the code.
    pub(super) size: u8,
}

const NOTHING: Half = Half {
    kind: Kind::Nothing,
    size: 0,
};

/// Modes of addresses: plain, from here, 4 near, 3 same.
pub(super) const MODES: u8 = 9;
/// Modes below this stand in pairs with copies of up to six bytes, the others with four bytes alone.
const LONG_PAIR_MODES: u8 = 6;

const RUN: u8 = 0;
const ADD: u8 = 1;
const COPY: u8 = 19;
const ADD_COPY: u8 = 163;
const ADD_COPY_SAME: u8 = 235;
const COPY_ADD: u8 = 247;

/// The codes.
pub(super) static TABLE: [[Half; 2]; 256] = table();

const fn half(kind: Kind, size: u8) -> Half {
    Half { kind, size }
}

const fn table() -> [[Half; 2]; 256] {
    let mut table = [[NOTHING; 2]; 256];
    let mut code = 0;
    while code < 256 {
        let byte = code as u8;
        table[code] = if byte == RUN {
            [half(Kind::Run, 0), NOTHING]
        } else if byte < COPY {
            [half(Kind::Add, byte - ADD), NOTHING]
        } else if byte < ADD_COPY {
            let (mode, size) = ((byte - COPY) / 16, (byte - COPY) % 16);
            [half(Kind::Copy(mode), if size == 0 { 0 } else { size + 3 }), NOTHING]
        } else if byte < ADD_COPY_SAME {
            let (mode, rest) = ((byte - ADD_COPY) / 12, (byte - ADD_COPY) % 12);
            [half(Kind::Add, rest / 3 + 1), half(Kind::Copy(mode), rest % 3 + 4)]
        } else if byte < COPY_ADD {
            let rest = byte - ADD_COPY_SAME;
            [
                half(Kind::Add, rest % 4 + 1),
                half(Kind::Copy(LONG_PAIR_MODES + rest / 4), 4),
            ]
        } else {
            [half(Kind::Copy(byte - COPY_ADD), 4), half(Kind::Add, 1)]
        };
        code += 1;
    }
    table
}

/// The code of one instruction, and whether its size must follow.
pub(super) fn single(kind: Kind, size: u64) -> (u8, bool) {
    match kind {
        Kind::Add if (1..=17).contains(&size) => (ADD + size as u8, false),
        Kind::Add => (ADD, true),
        Kind::Copy(mode) if (4..=18).contains(&size) => (COPY + 16 * mode + size as u8 - 3, false),
        Kind::Copy(mode) => (COPY + 16 * mode, true),
        Kind::Run | Kind::Nothing => (RUN, true),
    }
}

/// The code of two instructions in a row, if there is one.
pub(super) fn pair(first: (Kind, u64), second: (Kind, u64)) -> Option<u8> {
    match (first, second) {
        ((Kind::Add, add @ 1..=4), (Kind::Copy(mode), copy @ 4..=6)) if mode < LONG_PAIR_MODES => {
            Some(ADD_COPY + 12 * mode + 3 * (add as u8 - 1) + (copy as u8 - 4))
        }
        ((Kind::Add, add @ 1..=4), (Kind::Copy(mode), 4)) => {
            Some(ADD_COPY_SAME + 4 * (mode - LONG_PAIR_MODES) + (add as u8 - 1))
        }
        ((Kind::Copy(mode), 4), (Kind::Add, 1)) => Some(COPY_ADD + mode),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_rfc() {
        let at = |code: usize| TABLE[code];
        assert_eq!(at(0), [half(Kind::Run, 0), NOTHING]);
        assert_eq!(at(1), [half(Kind::Add, 0), NOTHING]);
        assert_eq!(at(18), [half(Kind::Add, 17), NOTHING]);
        assert_eq!(at(19), [half(Kind::Copy(0), 0), NOTHING]);
        assert_eq!(at(34), [half(Kind::Copy(0), 18), NOTHING]);
        assert_eq!(at(162), [half(Kind::Copy(8), 18), NOTHING]);
        assert_eq!(at(163), [half(Kind::Add, 1), half(Kind::Copy(0), 4)]);
        assert_eq!(at(174), [half(Kind::Add, 4), half(Kind::Copy(0), 6)]);
        assert_eq!(at(234), [half(Kind::Add, 4), half(Kind::Copy(5), 6)]);
        assert_eq!(at(235), [half(Kind::Add, 1), half(Kind::Copy(6), 4)]);
        assert_eq!(at(246), [half(Kind::Add, 4), half(Kind::Copy(8), 4)]);
        assert_eq!(at(247), [half(Kind::Copy(0), 4), half(Kind::Add, 1)]);
        assert_eq!(at(255), [half(Kind::Copy(8), 4), half(Kind::Add, 1)]);
    }

    #[test]
    fn codes_are_found_again() {
        for (code, [first, second]) in TABLE.iter().enumerate() {
            let (a, b) = (u64::from(first.size), u64::from(second.size));
            if second.kind == Kind::Nothing {
                assert_eq!(single(first.kind, a), (code as u8, a == 0));
            } else {
                assert_eq!(pair((first.kind, a), (second.kind, b)), Some(code as u8));
            }
        }
        for mode in 0..MODES {
            assert_eq!(pair((Kind::Copy(mode), 5), (Kind::Add, 1)), None);
            assert_eq!(pair((Kind::Add, 5), (Kind::Copy(mode), 4)), None);
            assert_eq!(pair((Kind::Add, 1), (Kind::Copy(mode), 7)), None);
        }
    }
}
