//! Reading and verifying archives.

use std::{collections::BTreeMap, io::Read};

use super::recipe::{Bytes, Style, entry};
use crate::{
    archive::{Archive, Verified},
    env::Env,
    error::{Error, ErrorKind},
    zip::ZipReader,
};

/// Hands out a few bytes at a time, other numbers each time.
struct Trickle<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.step = self.step * 5 % 61 + 1;
        let len = buf.len().min(self.step);
        Read::read(&mut self.rest, &mut buf[..len])
    }
}

/// An archive as it is when the data looks like one, else one made by the recipe that the data is.
pub(super) fn run(data: &[u8]) {
    if data.starts_with(b"PK") {
        read(data);
        return;
    }
    let (archive, want) = by_recipe(data);
    read(&archive);
    if let Some(want) = want {
        let got = entries(&archive);
        assert!(got == Ok(want), "{got:?}");
    }
}

/// Verifies an archive at once and in small pieces: the result must be the same.
fn read(data: &[u8]) {
    let whole = verified(data);
    let pieces = verified(Trickle {
        rest: data,
        step: data.len(),
    });
    assert_eq!(whole, pieces);
    let _ = entries(data);
}

fn verified(reader: impl Read + Send) -> Result<Verified, ErrorKind> {
    let archive = Archive::open(reader, &[], &Env::new()).map_err(told)?;
    let _ = (archive.tasks(), archive.metadata().listing(), archive.signature());
    archive.verify().map_err(told)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn told(error: Error) -> ErrorKind {
    assert!(!error.to_string().is_empty());
    error.kind()
}

/// The names and contents of the entries, of which none may be longer than the test's own recipes make them.
fn entries(archive: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, ErrorKind> {
    let mut zip = ZipReader::new(archive);
    let mut entries = BTreeMap::new();
    let mut total = 0;
    while let Some(entry) = zip.next_entry().map_err(told)? {
        let mut content = Vec::new();
        let mut buf = [0; 1000];
        loop {
            match zip.read(&mut buf).map_err(told)? {
                0 => break,
                count => content.extend_from_slice(&buf[..count]),
            }
            total += 1;
            if total > 4096 {
                return Err(ErrorKind::LengthMismatch);
            }
        }
        entries.insert(entry.name, content);
    }
    Ok(entries)
}

/// Makes an archive; also what must be read from it, when nothing in it is wrong on purpose.
fn by_recipe(data: &[u8]) -> (Vec<u8>, Option<BTreeMap<String, Vec<u8>>>) {
    let mut bytes = Bytes(data);
    let (mut archive, mut want) = (Vec::new(), BTreeMap::new());
    let mut good = true;
    while !bytes.0.is_empty() {
        let (style, kind) = (Style(bytes.byte()), bytes.byte());
        let name: &[u8] = match kind % 5 {
            0 => b"meta.conf",
            1 => b"data/a",
            2 => b"meta.conf.ed25519",
            3 => b"data/",
            _ => bytes.take(usize::from(kind / 5)),
        };
        let len = bytes.short();
        let content = bytes.take(len);
        entry(&mut archive, name, content, style);
        // names have rules of their own, and none may come twice
        good &= style.is_readable(content) && kind % 5 < 4;
        good &= want
            .insert(String::from_utf8_lossy(name).into_owned(), content.to_vec())
            .is_none();
    }
    archive.extend_from_slice(b"PK\x01\x02");
    (archive, good.then_some(want))
}
