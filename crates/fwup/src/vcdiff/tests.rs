//! Patches made and undone, by hand and by chance.

use std::io::Read as _;

use proptest::prelude::*;

use super::{decode::MAGIC, *};
use crate::caps;

/// Undoes a patch with buffers of a size; the patch comes in pieces of 7 bytes.
fn undo(patch: &[u8], mut source: &[u8], piece: usize) -> Result<Vec<u8>, VcdiffError> {
    let (mut rest, mut decoder) = (patch, Decoder::default());
    let (mut buf, mut out) = (vec![0; piece], Vec::new());
    loop {
        let mut input = |buf: &mut [u8]| {
            let most = buf.len().min(if patch.len() > 10_000 { buf.len() } else { 7 });
            Ok(rest.read(&mut buf[..most]).unwrap())
        };
        let count = decoder.read(&mut input, &mut source, &mut buf)?;
        out.extend_from_slice(&buf[..count]);
        if count < piece {
            return Ok(out);
        }
    }
}

fn patch_of(source: &[u8], target: &[u8], window: usize) -> Vec<u8> {
    let index = Index::new(source);
    let view = View {
        bytes: source,
        begin: 0,
        index: &index,
    };
    let (mut patch, mut encoder) = (HEADER.to_vec(), Encoder::default());
    for (number, part) in target.chunks(window).enumerate() {
        encoder.window(&view, (number * window) as u64, part, &mut patch);
    }
    patch
}

/// A window by hand.
#[derive(Clone, Default)]
struct Parts {
    indicator: u8,
    segment: (u64, u64),
    size: u64,
    sections: [Vec<u8>; 3],
    compressed: u8,
    checksum: Option<u32>,
    /// Added to the length of the whole.
    wrong: u64,
}

impl Parts {
    fn bytes(&self) -> Vec<u8> {
        let mut head = Vec::new();
        varint::write(&mut head, self.size);
        head.push(self.compressed);
        for section in &self.sections {
            varint::write(&mut head, section.len() as u64);
        }
        head.extend(self.checksum.iter().flat_map(|sum| sum.to_be_bytes()));
        let mut out = vec![self.indicator];
        if self.indicator & (WINDOW_SOURCE | WINDOW_TARGET) != 0 {
            varint::write(&mut out, self.segment.0);
            varint::write(&mut out, self.segment.1);
        }
        let sections = self.sections.concat();
        varint::write(&mut out, (head.len() + sections.len()) as u64 + self.wrong);
        [out, head, sections].concat()
    }

    fn patch(&self) -> Vec<u8> {
        [&HEADER[..], &self.bytes()].concat()
    }
}

const SOURCE: &[u8] = b"abcdefghijklmnop";

/// The example of RFC 3284 §3, here with the instructions written out.
fn example() -> Parts {
    Parts {
        indicator: WINDOW_SOURCE,
        segment: (16, 0),
        size: 28,
        // COPY 4 at 0, ADD 4, COPY 4 at 4, COPY 12 at 24, RUN 4
        sections: [b"wxyzz".to_vec(), vec![20, 5, 20, 28, 0, 4], vec![0, 4, 24]],
        ..Parts::default()
    }
}

#[test]
fn the_example_of_the_rfc_comes_out() {
    for piece in [1, 3, 28, 100] {
        assert_eq!(
            undo(&example().patch(), SOURCE, piece).unwrap(),
            b"abcdwxyzefghefghefghefghzzzz"
        );
    }
}

#[test]
fn copies_may_run_out_of_the_source_into_the_window() {
    let parts = Parts {
        indicator: WINDOW_SOURCE,
        segment: (4, 2),
        size: 12,
        // ADD 2, COPY 10 at 2: "ef", then the window from its beginning
        sections: [b"XY".to_vec(), vec![3, 26], vec![2]],
        ..Parts::default()
    };
    for piece in [1, 5, 100] {
        assert_eq!(undo(&parts.patch(), SOURCE, piece).unwrap(), b"XYefXYefXYef");
    }
}

#[test]
fn headers_and_windows_of_all_accepted_kinds() {
    let mut patch = MAGIC.to_vec();
    patch.extend([0, HEADER_APPLICATION, 130, 44]);
    patch.extend([9; 300]);
    let mut sum = adler::Adler32::new();
    sum.update(b"abcdwxyzefghefghefghefghzzzz");
    let checked = Parts {
        indicator: WINDOW_SOURCE | WINDOW_ADLER32,
        checksum: Some(sum.value()),
        ..example()
    };
    let plain = Parts {
        size: 3,
        sections: [b"abc".to_vec(), vec![4], vec![]],
        ..Parts::default()
    };
    let empty = Parts::default();
    patch.extend([example().bytes(), checked.bytes(), empty.bytes(), plain.bytes()].concat());
    let want = b"abcdwxyzefghefghefghefghzzzzabcdwxyzefghefghefghefghzzzzabc";
    assert_eq!(undo(&patch, SOURCE, 10).unwrap(), want);
    assert_eq!(undo(&HEADER, SOURCE, 10).unwrap(), b"");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let header = |indicator: u8| [&MAGIC[..], &[0, indicator, 2, 0]].concat();
    let window = |indicator: u8| Parts { indicator, ..example() }.patch();
    let compressed = Parts {
        compressed: 1,
        ..example()
    };
    let cases = [
        (header(HEADER_SECONDARY), "secondary compressor"),
        (header(HEADER_CODE_TABLE), "code table"),
        (header(0x10), "kind of header"),
        (window(WINDOW_TARGET), "VCD_TARGET"),
        (window(WINDOW_SOURCE | 8), "kind of window"),
        (compressed.patch(), "compressed sections"),
    ];
    for (patch, name) in cases {
        let error = undo(&patch, SOURCE, 10).unwrap_err();
        assert!(
            matches!(error, VcdiffError::Unsupported(_)) && error.to_string().contains(name),
            "{error}"
        );
    }
    for bad in [
        &b""[..],
        b"\xd6\xc3",
        b"\xd6\xc3\xc5\0\0",
        b"\xd6\xc3\xc4S\0",
        b"hello world",
    ] {
        assert!(matches!(undo(bad, SOURCE, 10), Err(VcdiffError::NotVcdiff)));
    }
}

#[test]
fn what_does_not_fit_together_is_refused_before_a_byte_is_made() {
    let good = example();
    let with = |change: &dyn Fn(&mut Parts)| {
        let mut parts = good.clone();
        change(&mut parts);
        parts.patch()
    };
    let cases = [
        with(&|parts| parts.size = 27),
        with(&|parts| parts.size = 29),
        with(&|parts| parts.wrong = 1),
        with(&|parts| parts.sections[0].push(b'x')),
        with(&|parts| parts.sections[0].truncate(4)),
        with(&|parts| parts.sections[1].push(3)),
        with(&|parts| parts.sections[1].truncate(5)),
        with(&|parts| parts.sections[2].push(1)),
        with(&|parts| parts.sections[2].truncate(2)),
        with(&|parts| parts.sections[2][2] = 28),
        with(&|parts| parts.sections[2][0] = 16),
        with(&|parts| parts.sections[1][5] = 0x84),
    ];
    for (number, patch) in cases.iter().enumerate() {
        let error = undo(patch, SOURCE, 1).unwrap_err();
        assert!(matches!(error, VcdiffError::Corrupt(_)), "{number}: {error}");
    }
    for cut in HEADER.len() + 1..good.patch().len() {
        assert!(matches!(
            undo(&good.patch()[..cut], SOURCE, 9),
            Err(VcdiffError::Corrupt(_))
        ));
    }
    for segment in [(17, 0), (16, 1), (1 << 61, 1 << 61), (u64::MAX >> 1, u64::MAX >> 1)] {
        let error = undo(&with(&|parts| parts.segment = segment), SOURCE, 1).unwrap_err();
        assert!(matches!(error, VcdiffError::SourceTooShort), "{error}");
    }
    let checked = with(&|parts| (parts.indicator, parts.checksum) = (WINDOW_SOURCE | WINDOW_ADLER32, Some(1)));
    assert!(matches!(undo(&checked, SOURCE, 10), Err(VcdiffError::WrongSource)));
}

#[test]
fn windows_sections_and_what_is_kept_are_bounded() {
    let run = |size: usize, then: &[(u8, usize)], addresses: &[usize]| {
        let mut parts = Parts {
            size: size as u64,
            ..Parts::default()
        };
        for (code, len) in then {
            parts.sections[1].push(*code);
            varint::write(&mut parts.sections[1], *len as u64);
            if *code == 0 {
                parts.sections[0].push(b'x');
            }
        }
        for address in addresses {
            varint::write(&mut parts.sections[2], *address as u64);
        }
        parts.patch()
    };
    // the first byte is only made when the window is accepted
    let too_large = |mut patch: &[u8]| {
        let mut input = |buf: &mut [u8]| Ok(patch.read(buf).unwrap());
        match Decoder::default().read(&mut input, &mut { SOURCE }, &mut [0]) {
            Err(VcdiffError::TooLarge { max, .. }) => Some(max),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        }
    };
    let most = caps::VCDIFF_WINDOW_MAX;
    assert_eq!(too_large(&run(most, &[(0, most)], &[])), None);
    assert_eq!(too_large(&run(most + 1, &[(0, most + 1)], &[])), Some(most));

    // a run of which all is copied once more
    let most = caps::VCDIFF_HISTORY_MAX;
    assert_eq!(too_large(&run(2 * most, &[(0, most), (19, most)], &[0])), None);
    let more = most + caps::VCDIFF_PAGE;
    assert_eq!(too_large(&run(2 * more, &[(0, more), (19, more)], &[0])), Some(most));
    // one byte that is copied again and again is no more than a run
    let most = caps::VCDIFF_WINDOW_MAX;
    assert_eq!(too_large(&run(most, &[(0, 1), (19, most - 1)], &[0])), None);

    let most = caps::VCDIFF_SECTIONS_MAX;
    let mut parts = Parts {
        size: most as u64,
        sections: [vec![b'x'; most - 5], vec![1], vec![]],
        ..Parts::default()
    };
    varint::write(&mut parts.sections[1], most as u64 - 5);
    parts.size = most as u64 - 5;
    assert_eq!(parts.sections.concat().len(), most);
    assert_eq!(too_large(&parts.patch()), None);
    parts.sections[0].push(b'x');
    assert_eq!(too_large(&parts.patch()), Some(most));
}

/// Makes a target out of a source by random changes.
fn edited(source: &[u8], edits: &[(u8, prop::sample::Index, prop::sample::Index, Vec<u8>)]) -> Vec<u8> {
    let mut target = source.to_vec();
    for (kind, at, len, new) in edits {
        let at = at.index(target.len() + 1);
        let len = len.index(target.len() - at + 1);
        match kind % 5 {
            0 => drop(target.splice(at..at, new.iter().copied())),
            1 => drop(target.drain(at..at + len)),
            2 => {
                let moved: Vec<u8> = target.drain(at..at + len).collect();
                let to = target.len() / 2;
                target.splice(to..to, moved);
            }
            3 => {
                let again = target[at..at + len.min(500)].repeat(3);
                target.splice(at..at, again);
            }
            _ => {
                let end = target.len().min(at + new.len());
                target[at..end].copy_from_slice(&new[..end - at]);
            }
        }
        target.truncate(200_000);
    }
    target
}

fn edits() -> impl Strategy<Value = Vec<(u8, prop::sample::Index, prop::sample::Index, Vec<u8>)>> {
    let new = proptest::collection::vec(any::<u8>(), 0..300);
    proptest::collection::vec(
        (
            any::<u8>(),
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
            new,
        ),
        0..12,
    )
}

/// Bytes with some order in them, as many as asked for.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state % 8 {
            0 => out.extend([0; 40]),
            1 => out.extend_from_within(out.len().saturating_sub(90)..),
            _ => out.extend(state.to_le_bytes()),
        }
    }
    out.truncate(len);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_delta_applied_to_the_old_gives_the_new(
        seed: u64, len in 0_usize..100_000, edits in edits(), window in 1_usize..60_000, piece in 1_usize..70_000
    ) {
        let source = bytes(seed, len);
        let target = edited(&source, &edits);
        let patch = patch_of(&source, &target, window.max(target.len() / 50 + 1));
        prop_assert!(undo(&patch, &source, piece).unwrap() == target);
    }

    #[test]
    fn arbitrary_bytes_never_panic(patch in proptest::collection::vec(any::<u8>(), 0..200), source in proptest::collection::vec(any::<u8>(), 0..50)) {
        let _ = undo(&[&HEADER[..], &patch].concat(), &source, 1000);
        let _ = undo(&patch, &source, 1000);
    }

    #[test]
    fn arbitrary_sections_never_panic(
        data in proptest::collection::vec(any::<u8>(), 0..50),
        instructions in proptest::collection::vec(any::<u8>(), 0..20),
        addresses in proptest::collection::vec(0_u8..60, 0..20),
        size in 0_u64..300,
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let parts = Parts { indicator: WINDOW_SOURCE, segment: (16, 0), size, sections: [data, instructions, addresses], ..Parts::default() };
        let mut patch = parts.patch();
        let _ = undo(&patch, SOURCE, 10);
        let at = flip.0.index(patch.len());
        patch[at] ^= flip.1;
        let _ = undo(&patch, SOURCE, 10);
    }

    #[test]
    fn a_changed_patch_never_gives_something_else_unseen(
        seed: u64, len in 1_usize..5000, edits in edits(), at in any::<prop::sample::Index>(), bit in 0_u32..8
    ) {
        let source = bytes(seed, len);
        let target = edited(&source, &edits);
        let mut patch = patch_of(&source, &target, 1000);
        let at = at.index(patch.len());
        patch[at] ^= 1 << bit;
        if let Ok(out) = undo(&patch, &source, 1000) {
            // every window has its checksum: only whole windows may be missing, or say that they have none
            prop_assert!(out == target || out.len() != target.len() || patch[at] & WINDOW_ADLER32 == 0);
        }
    }
}

#[test]
fn a_small_change_in_much_data_makes_a_small_patch() {
    let source: Vec<u8> = (0..500_000_u32)
        .flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let mut target = source.clone();
    target.splice(1_000_000..1_000_000, *b"twenty new bytes here");
    target.drain(300_000..300_100);
    target[700_000] ^= 1;
    let patch = patch_of(&source, &target, 2 << 20);
    assert!(patch.len() < 150, "{}", patch.len());
    assert!(undo(&patch, &source, 1 << 16).unwrap() == target);
    // nothing in common: hardly more than the target itself
    let other: Vec<u8> = (0..500_000_u32)
        .flat_map(|at| (at + 7).wrapping_mul(2_246_822_519).to_le_bytes())
        .collect();
    let patch = patch_of(&source, &other, 1 << 20);
    assert!(patch.len() < other.len() + 100, "{}", patch.len());
    // zeros that the source does not have
    assert!(patch_of(&source, &vec![0; 100_000], 1 << 20).len() < 40);
}

/// How long a decoder may work on a few bytes is bounded by what it makes.
#[test]
fn nothing_is_made_out_of_nothing() {
    let parts = Parts {
        size: 0,
        sections: [vec![], [1, 0].repeat(5000), vec![]],
        ..Parts::default()
    };
    assert_eq!(undo(&parts.patch(), SOURCE, 10).unwrap(), b"");
}
