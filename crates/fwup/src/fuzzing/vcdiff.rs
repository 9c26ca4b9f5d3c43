//! Patches of any bytes, and patches that are made of two rows of bytes and undone.

use super::recipe::Bytes;
use crate::vcdiff::{Decoder, Encoder, HEADER, Index, VcdiffError, View};

/// A patch of a few bytes may make gigabytes; so much of them is enough.
const MADE_MAX: usize = 1 << 20;

pub(super) fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let (mode, piece, window, cut) = (input.byte(), input.byte(), input.byte(), input.byte());
    let piece = 1 + usize::from(piece) * 37;
    let (old, rest) = input.0.split_at(input.0.len() * usize::from(cut) / 256);
    match mode % 3 {
        0 => drop(undone(rest, old, piece)),
        1 => drop(undone(&[&HEADER, rest].concat(), old, piece)),
        _ => {
            let patch = patch(old, rest, 1 + usize::from(window) * 61);
            let made = undone(&patch, old, piece);
            assert!(
                made.is_ok_and(|made| made == rest),
                "a patch does not make what it was made of"
            );
        }
    }
}

fn undone(mut patch: &[u8], mut old: &[u8], piece: usize) -> Result<Vec<u8>, VcdiffError> {
    let (mut decoder, mut buf, mut out) = (Decoder::default(), vec![0; piece], Vec::new());
    while out.len() < MADE_MAX {
        let mut input = |buf: &mut [u8]| {
            let count = buf.len().min(patch.len()).min(piece);
            buf[..count].copy_from_slice(&patch[..count]);
            patch = &patch[count..];
            Ok(count)
        };
        let count = decoder.read(&mut input, &mut old, &mut buf)?;
        out.extend_from_slice(&buf[..count]);
        if count < piece {
            break;
        }
    }
    Ok(out)
}

fn patch(old: &[u8], new: &[u8], window: usize) -> Vec<u8> {
    let index = Index::new(old);
    let view = View {
        bytes: old,
        begin: 0,
        index: &index,
    };
    let (mut patch, mut encoder) = (HEADER.to_vec(), Encoder::default());
    for (number, part) in new.chunks(window).enumerate() {
        encoder.window(&view, (number * window) as u64, part, &mut patch);
    }
    patch
}
