//! Deflating in blocks, as many at a time as there are cores. The result is the same however many there are.
//!
//! Each block begins with the 32 KiB before it as its dictionary and ends on a byte boundary (a sync flush), so that blocks
//! can be made apart and still form one stream, of which a decoder notices nothing.

use std::{
    collections::VecDeque,
    io::{self, Write},
    iter::Peekable,
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::{caps, error::Error};

/// How far back deflate may reach.
const WINDOW: usize = 32 * 1024;

/// Hands out the bytes to be deflated; returns 0 at their end.
pub(super) type Next<'a> = dyn FnMut(&mut [u8]) -> Result<usize, Error> + 'a;

/// As many threads as are worth having.
pub(super) fn workers() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores.min(caps::DEFLATE_WORKERS_MAX)
}

/// Deflates what `next` hands out. With one worker, or when one block is all, no thread is started.
pub(super) fn deflate(
    level: Compression,
    workers: usize,
    next: &mut Next<'_>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut blocks = Blocks::new(next).peekable();
    let only_one = matches!(blocks.peek(), Some(Ok(block)) if block.last);
    if workers > 1 && !only_one {
        return share(level, workers, blocks, out);
    }
    let mut compress = Compress::new(level, false);
    for block in blocks {
        let packed = block?.pack(&mut compress).map_err(Error::Output)?;
        out.write_all(&packed).map_err(Error::Output)?;
    }
    Ok(())
}

/// A part of the data.
struct Block {
    /// What a match may reach back to, then the block's own bytes.
    bytes: Vec<u8>,
    /// Where its own begin.
    begin: usize,
    last: bool,
}

impl Block {
    fn pack(&self, compress: &mut Compress) -> io::Result<Vec<u8>> {
        let (window, mut data) = self.bytes.split_at(self.begin);
        compress.reset();
        if !window.is_empty() {
            compress.set_dictionary(window)?;
        }
        let flush = if self.last {
            FlushCompress::Finish
        } else {
            FlushCompress::Sync
        };
        let mut packed = Vec::with_capacity(data.len() + data.len() / 1000 + 100);
        loop {
            let before = compress.total_in();
            let status = compress.compress_vec(data, &mut packed, flush)?;
            data = &data[(compress.total_in() - before) as usize..];
            let room = packed.len() < packed.capacity();
            match status {
                Status::StreamEnd => return Ok(packed),
                Status::Ok | Status::BufError if room && data.is_empty() && !self.last => return Ok(packed),
                Status::Ok | Status::BufError if room => return Err(io::Error::other("deflate does not go on")),
                Status::Ok | Status::BufError => packed.reserve(WINDOW),
            }
        }
    }
}

/// Cuts what is handed out into blocks; the last one is shorter than the others, or empty.
struct Blocks<'a, 'n> {
    next: &'a mut Next<'n>,
    window: Vec<u8>,
    ended: bool,
}

impl<'a, 'n> Blocks<'a, 'n> {
    fn new(next: &'a mut Next<'n>) -> Self {
        Self {
            next,
            window: Vec::new(),
            ended: false,
        }
    }

    fn read(&mut self) -> Result<Block, Error> {
        let begin = self.window.len();
        let mut bytes = std::mem::take(&mut self.window);
        bytes.resize(begin + caps::DEFLATE_BLOCK, 0);
        let mut end = begin;
        while end < bytes.len() && !self.ended {
            let count = (self.next)(&mut bytes[end..])?;
            self.ended = count == 0;
            end += count;
        }
        bytes.truncate(end);
        self.window = bytes[end.saturating_sub(WINDOW)..].to_vec();
        Ok(Block {
            bytes,
            begin,
            last: self.ended,
        })
    }
}

impl Iterator for Blocks<'_, '_> {
    type Item = Result<Block, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let block = self.read();
        self.ended |= block.is_err();
        Some(block)
    }
}

/// A block for whoever is free, and where the result is waited for.
struct Job {
    block: Block,
    done: SyncSender<io::Result<Vec<u8>>>,
}

/// Hands blocks to threads and writes what they made in the order of the blocks.
fn share(
    level: Compression,
    workers: usize,
    blocks: Peekable<Blocks<'_, '_>>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    // enough that nobody has to wait while this thread reads or writes
    let ahead = workers + 2;
    let (jobs, queue) = sync_channel(ahead);
    let queue = Mutex::new(queue);
    let work = || work(level, &queue);
    thread::scope(|scope| {
        for _ in 0..workers {
            thread::Builder::new()
                .spawn_scoped(scope, work)
                .map_err(Error::Output)?;
        }
        write_in_order(blocks, jobs, ahead, out)
    })
}

fn write_in_order(
    blocks: Peekable<Blocks<'_, '_>>,
    jobs: SyncSender<Job>,
    ahead: usize,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let gone = || Error::Output(io::Error::other("a thread has ended"));
    let mut waiting: VecDeque<Receiver<io::Result<Vec<u8>>>> = VecDeque::new();
    let mut write_first = |waiting: &mut VecDeque<Receiver<_>>| match waiting.pop_front() {
        Some(first) => {
            let packed: io::Result<Vec<u8>> = first.recv().map_err(|_| gone())?;
            out.write_all(&packed.map_err(Error::Output)?).map_err(Error::Output)
        }
        None => Ok(()),
    };
    for block in blocks {
        let (done, result) = sync_channel(1);
        jobs.send(Job { block: block?, done }).map_err(|_| gone())?;
        waiting.push_back(result);
        if waiting.len() == ahead {
            write_first(&mut waiting)?;
        }
    }
    while !waiting.is_empty() {
        write_first(&mut waiting)?;
    }
    drop(jobs);
    Ok(())
}

/// Deflates until there are no more blocks.
fn work(level: Compression, queue: &Mutex<Receiver<Job>>) {
    let mut compress = Compress::new(level, false);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, done }) = job else { return };
        // nobody waits for it when the writing failed
        let _ = done.send(block.pack(&mut compress));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn text(len: usize) -> Vec<u8> {
        (0..)
            .flat_map(|n: u32| format!("{n} ").into_bytes())
            .take(len)
            .collect()
    }

    fn made(data: &[u8], workers: usize) -> Vec<u8> {
        let (mut rest, mut out) = (data, Vec::new());
        // a source that hands out odd amounts
        let mut next = |buf: &mut [u8]| {
            let count = buf.len().min(10_007);
            Ok(rest.read(&mut buf[..count]).unwrap())
        };
        deflate(Compression::best(), workers, &mut next, &mut out).unwrap();
        out
    }

    #[test]
    fn the_result_is_one_stream_and_the_same_for_any_number_of_workers() {
        let block = caps::DEFLATE_BLOCK;
        for len in [0, 1, block - 1, block, block + 1, 5 * block, 5 * block + 70_000] {
            let data = text(len);
            let one = made(&data, 1);
            let mut back = Vec::new();
            flate2::read::DeflateDecoder::new(&one[..])
                .read_to_end(&mut back)
                .unwrap();
            assert!(back == data, "{len}");
            assert!([2, 3, 7].iter().all(|workers| made(&data, *workers) == one), "{len}");
        }
    }

    #[test]
    fn blocks_cost_less_than_half_a_percent() {
        let data = text(6 * caps::DEFLATE_BLOCK);
        let mut whole = flate2::read::DeflateEncoder::new(&data[..], Compression::best());
        let mut bytes = Vec::new();
        whole.read_to_end(&mut bytes).unwrap();
        let (ours, theirs) = (made(&data, 2).len(), bytes.len());
        assert!(ours * 200 < theirs * 201, "{ours} {theirs}");
    }

    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("full"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn failures_of_either_side_end_it() {
        let mut left = 4 * caps::DEFLATE_BLOCK;
        let mut next = |buf: &mut [u8]| {
            left = left
                .checked_sub(buf.len())
                .ok_or_else(|| Error::Output(io::Error::other("no more")))?;
            Ok(buf.len())
        };
        let error = deflate(Compression::fast(), 2, &mut next, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("no more"), "{error}");

        let mut endless = |buf: &mut [u8]| Ok(buf.len());
        let error = deflate(Compression::fast(), 2, &mut endless, &mut Full).unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
    }
}
