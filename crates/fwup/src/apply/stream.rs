//! A resource's bytes on their way from the archive to whoever takes them.
//!
//! With two cores one thread reads and inflates while the caller's hashes and writes; a few buffers go round between them.
//! The bytes that are hashed are those that are handed on: both read the same buffer, which nobody writes meanwhile.

use std::{
    io::Read,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use super::resource::Resource;
use crate::{caps, error::Error, zip::ZipReader};

/// Takes bytes that belong at an offset of a resource's data.
pub(crate) type Take<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Error> + 'a;

/// Whether a second thread has a core to run on.
pub(crate) fn two_cores() -> bool {
    thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

/// Counts and hashes a resource's bytes as they pass.
pub(crate) struct Check<'a> {
    resource: &'a Resource,
    hash: blake2b_simd::State,
    done: u64,
}

impl<'a> Check<'a> {
    pub(crate) fn new(resource: &'a Resource) -> Self {
        Self {
            resource,
            hash: blake2b_simd::Params::new().hash_length(32).to_state(),
            done: 0,
        }
    }

    /// Takes the next bytes; returns the offset of the first.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let at = self.done;
        self.done += bytes.len() as u64;
        if self.done > self.resource.data_len() {
            return Err(self.wrong_length());
        }
        self.hash.update(bytes);
        Ok(at)
    }

    /// Whether these were all bytes, and the right ones.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.done != self.resource.data_len() {
            return Err(self.wrong_length());
        }
        if self.hash.finalize().as_bytes() != self.resource.hash()? {
            return Err(Error::HashMismatch {
                resource: self.resource.name.clone(),
            });
        }
        Ok(())
    }

    fn wrong_length(&self) -> Error {
        Error::LengthMismatch {
            resource: self.resource.name.clone(),
            expected: self.resource.data_len(),
            found: self.done,
        }
    }
}

/// Hands a resource's bytes on, in pieces that begin at multiples of the block size, and checks length and hash. Large
/// resources are inflated `beside` the calling thread if that is wanted.
pub(crate) fn consume<R: Read + Send>(
    zip: &mut ZipReader<R>,
    resource: &Resource,
    beside: bool,
    take: &mut Take<'_>,
) -> Result<(), Error> {
    let mut check = Check::new(resource);
    let mut hand_on = |bytes: &[u8]| {
        let at = check.update(bytes)?;
        take(at, bytes)
    };
    let large = resource.data_len() >= caps::BESIDE_MIN;
    if !(beside && large && inflate_beside(zip, &mut hand_on)?) {
        let len = if large { caps::PIECE } else { caps::CHUNK };
        inflate_here(zip, len, &mut hand_on)?;
    }
    check.finish()
}

type HandOn<'a> = dyn FnMut(&[u8]) -> Result<(), Error> + 'a;

fn inflate_here<R: Read>(zip: &mut ZipReader<R>, len: usize, hand_on: &mut HandOn<'_>) -> Result<(), Error> {
    let mut buf = vec![0; len];
    loop {
        let count = read_full(zip, &mut buf)?;
        hand_on(&buf[..count])?;
        if count < buf.len() {
            return Ok(());
        }
    }
}

/// Inflates in another thread; false when there can be none, and then nothing was read.
///
/// What is taken, and in which order, is the same as without: an error of the archive comes behind all pieces before it.
fn inflate_beside<R: Read + Send>(zip: &mut ZipReader<R>, hand_on: &mut HandOn<'_>) -> Result<bool, Error> {
    let (full, fulls) = sync_channel(caps::PIECES);
    let (empty, empties) = sync_channel(caps::PIECES);
    thread::scope(|scope| {
        let inflate = move || inflate(zip, &empties, &full);
        if thread::Builder::new().spawn_scoped(scope, inflate).is_err() {
            return Ok(false);
        }
        hand_round(fulls, empty, hand_on)
    })
}

/// A buffer and how much of it is filled, or why there is none.
type Piece = Result<(Vec<u8>, usize), Error>;

/// Takes the pieces as they come. When it returns, the other side finds the channels closed and ends too.
fn hand_round(fulls: Receiver<Piece>, empty: SyncSender<Vec<u8>>, hand_on: &mut HandOn<'_>) -> Result<bool, Error> {
    for _ in 0..caps::PIECES {
        // it fails when the other side has ended already: then there is no use for the buffer
        let _ = empty.send(vec![0; caps::PIECE]);
    }
    for piece in fulls {
        let (buf, count) = piece?;
        hand_on(&buf[..count])?;
        let _ = empty.send(buf);
    }
    drop(empty);
    Ok(true)
}

fn inflate<R: Read>(zip: &mut ZipReader<R>, empties: &Receiver<Vec<u8>>, full: &SyncSender<Piece>) {
    while let Ok(mut buf) = empties.recv() {
        let read = read_full(zip, &mut buf);
        let more = matches!(read, Ok(count) if count == buf.len());
        if full.send(read.map(|count| (buf, count))).is_err() || !more {
            return;
        }
    }
}

/// Fills a buffer; fewer bytes only at the entry's end.
pub(crate) fn read_full<R: Read>(zip: &mut ZipReader<R>, buf: &mut [u8]) -> Result<usize, Error> {
    let mut done = 0;
    while done < buf.len() {
        match zip.read(&mut buf[done..])? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::io;

    use crate::{Applied, ApplyOptions, Archive, BlockTarget, CreateOptions, Env, Error, create_from_str};

    /// Remembers its writes, and fails at the last that it has room for.
    struct Log {
        writes: Vec<(u64, Vec<u8>)>,
        room: usize,
    }

    impl BlockTarget for Log {
        fn read_at(&mut self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn write_at(&mut self, offset: u64, buf: &[u8]) -> io::Result<()> {
            if self.writes.len() == self.room {
                return Err(io::Error::other("full"));
            }
            self.writes.push((offset, buf.to_vec()));
            Ok(())
        }
        fn size(&self) -> io::Result<Option<u64>> {
            Ok(None)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An archive of 3,000,001 bytes that begin in the middle of a segment.
    fn archive() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let mut number = 1_u32;
        let noise = std::iter::repeat_with(|| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (number >> 24) as u8
        });
        std::fs::write(dir.path().join("r"), noise.take(3_000_001).collect::<Vec<u8>>()).unwrap();
        let config = "file-resource r { host-path = r } task t { on-resource r { raw_write(63) } }";
        let mut made = Vec::new();
        create_from_str(config, dir.path(), &Env::new(), &CreateOptions::default(), &mut made).unwrap();
        made
    }

    fn applied(bytes: &[u8], beside: bool, room: usize) -> (Result<Applied, String>, Log) {
        let mut log = Log {
            writes: Vec::new(),
            room,
        };
        let mut archive = Archive::open(bytes, &[], &Env::new()).unwrap();
        archive.beside = beside;
        let result = archive.apply(&mut log, "t", &ApplyOptions::default(), &mut |_| ());
        (result.map_err(|error: Error| error.cause().to_string()), log)
    }

    #[test]
    fn two_threads_write_what_one_writes_in_the_same_order() {
        let whole = archive();
        let mut wrong = whole.clone();
        let middle = wrong.len() / 2;
        wrong[middle] ^= 1;
        let cut = &whole[..middle];
        for (bytes, room) in [
            (&whole[..], 1000),
            (&wrong, 1000),
            (cut, 1000),
            (&whole, 0),
            (&whole, 11),
        ] {
            let (one, one_log) = applied(bytes, false, room);
            let (two, two_log) = applied(bytes, true, room);
            assert_eq!(one, two);
            assert_eq!(one.is_ok(), room == 1000 && bytes == whole);
            assert!(one_log.writes == two_log.writes);
        }
    }

    #[test]
    fn verifying_beside_finds_what_one_thread_finds() {
        let whole = archive();
        for at in (0..whole.len()).step_by(whole.len() / 20) {
            let mut wrong = whole.clone();
            wrong[at] ^= 0x10;
            let [one, two] = [false, true].map(|beside| {
                let mut archive = Archive::open(&wrong[..], &[], &Env::new()).map_err(|error| error.to_string())?;
                archive.beside = beside;
                archive.verify().map_err(|error| error.to_string())
            });
            assert_eq!(one, two);
        }
    }

    #[test]
    fn each_byte_is_written_once_and_whole_segments_at_a_time() {
        let (_, log) = applied(&archive(), true, 1000);
        let mut offsets: Vec<(u64, usize)> = log.writes.iter().map(|(at, bytes)| (*at, bytes.len())).collect();
        offsets.sort_unstable();
        let segments = (63 * 512 + 3_000_001_u64).div_ceil(crate::caps::SEGMENT as u64);
        let want: Vec<(u64, usize)> = (0..segments).map(|n| (n * 131_072, 131_072)).collect();
        assert_eq!(offsets, want);
    }
}
