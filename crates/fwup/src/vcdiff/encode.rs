//! Writing patches.

use std::ops::Range;

use super::{
    WINDOW_ADLER32, WINDOW_SOURCE,
    address::AddressCache,
    adler::Adler32,
    code_table::{Kind, pair, single},
    decode::MAGIC,
    index::Index,
    matcher::{Match, Place, Scratch, find},
    varint,
};

/// What comes before the first window: no secondary compressor, no code table, nothing for an application.
pub(crate) const HEADER: [u8; 5] = [MAGIC[0], MAGIC[1], MAGIC[2], 0, 0];

/// The bytes of a source that a patch may copy from, or the part of it that is at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where in the source they begin.
    pub(crate) begin: u64,
    pub(crate) index: &'a Index,
}

/// Makes windows of a patch.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    scratch: Scratch,
}

impl Encoder {
    /// Makes the window for the bytes of the target that stand at `position`, and appends it.
    pub(crate) fn window(&mut self, view: &View<'_>, position: u64, target: &[u8], out: &mut Vec<u8>) {
        let expected = usize::try_from(position.saturating_sub(view.begin)).unwrap_or(usize::MAX);
        let matches = find(view.bytes, view.index, expected, target, &mut self.scratch);
        let segment = segment(&matches);
        let sections = Sections::of(target, &matches, &segment);

        let mut checksum = Adler32::new();
        checksum.update(target);
        let mut head = Vec::with_capacity(32);
        varint::write(&mut head, target.len() as u64);
        head.push(0);
        for section in [&sections.data, &sections.instructions, &sections.addresses] {
            varint::write(&mut head, section.len() as u64);
        }
        head.extend_from_slice(&checksum.value().to_be_bytes());

        if segment.is_empty() {
            out.push(WINDOW_ADLER32);
        } else {
            out.push(WINDOW_ADLER32 | WINDOW_SOURCE);
            varint::write(out, segment.len() as u64);
            varint::write(out, view.begin + segment.start as u64);
        }
        varint::write(out, (head.len() + sections.len()) as u64);
        for part in [&head, &sections.data, &sections.instructions, &sections.addresses] {
            out.extend_from_slice(part);
        }
    }
}

/// The part of the source that matches lie in.
fn segment(matches: &[Match]) -> Range<usize> {
    let used = matches.iter().filter_map(|found| match found.from {
        Place::Source(offset) => Some(offset..offset + found.len),
        _ => None,
    });
    used.reduce(|all, one| all.start.min(one.start)..all.end.max(one.end))
        .unwrap_or(0..0)
}

/// The sections of a window while they are written.
#[derive(Debug)]
struct Sections {
    data: Vec<u8>,
    instructions: Vec<u8>,
    addresses: Vec<u8>,
    cache: AddressCache,
    /// The instruction that may still become the first of a pair.
    waiting: Option<(Kind, u64)>,
}

impl Sections {
    fn of(target: &[u8], matches: &[Match], segment: &Range<usize>) -> Self {
        let mut sections = Self {
            data: Vec::new(),
            instructions: Vec::new(),
            addresses: Vec::new(),
            cache: AddressCache::new(),
            waiting: None,
        };
        let mut at = 0;
        for found in matches {
            sections.add(&target[at..found.at]);
            sections.take(found, segment);
            at = found.at + found.len;
        }
        sections.add(&target[at..]);
        sections.flush();
        sections
    }

    fn len(&self) -> usize {
        self.data.len() + self.instructions.len() + self.addresses.len()
    }

    fn add(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.data.extend_from_slice(bytes);
            self.instruction(Kind::Add, bytes.len() as u64);
        }
    }

    fn take(&mut self, found: &Match, segment: &Range<usize>) {
        let address = match found.from {
            Place::Source(offset) => offset - segment.start,
            Place::Window(position) => segment.len() + position,
            Place::Byte(byte) => {
                self.data.push(byte);
                return self.instruction(Kind::Run, found.len as u64);
            }
        };
        let here = segment.len() + found.at;
        let mode = self.cache.write(address as u64, here as u64, &mut self.addresses);
        self.instruction(Kind::Copy(mode), found.len as u64);
    }

    fn instruction(&mut self, kind: Kind, size: u64) {
        if let Some(code) = self.waiting.and_then(|first| pair(first, (kind, size))) {
            self.instructions.push(code);
            self.waiting = None;
        } else {
            self.flush();
            self.waiting = Some((kind, size));
        }
    }

    fn flush(&mut self) {
        if let Some((kind, size)) = self.waiting.take() {
            let (code, sized) = single(kind, size);
            self.instructions.push(code);
            if sized {
                varint::write(&mut self.instructions, size);
            }
        }
    }
}
