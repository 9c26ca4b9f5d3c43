//! Making the patch of one resource: windows of the new one, and a view of the old one that moves along with them.

use std::{collections::VecDeque, io::Read, mem, num::NonZero, thread};

use crate::{
    apply::{resource::Resource, stream::Check},
    caps,
    error::Error,
    vcdiff::{Encoder, HEADER, Index, View},
    zip::ZipReader,
};

/// Hands out bytes: fills the front of a buffer and tells how much, 0 at the end.
pub(super) type Next<'a> = dyn FnMut(&mut [u8]) -> Result<usize, Error> + 'a;

/// A resource while its bytes come out of its archive; length and hash are checked at the end.
pub(super) struct Bytes<'a, R> {
    zip: &'a mut ZipReader<R>,
    check: Option<Check<'a>>,
}

impl<'a, R: Read> Bytes<'a, R> {
    pub(super) fn new(zip: &'a mut ZipReader<R>, resource: &'a Resource) -> Self {
        Self {
            zip,
            check: Some(Check::new(resource)),
        }
    }

    /// Fills a buffer; fewer bytes only at the end, where it is said whether they were the right ones.
    pub(super) fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while done < buf.len() && self.check.is_some() {
            let count = self.zip.read(&mut buf[done..])?;
            if let Some(check) = &mut self.check {
                check.update(&buf[done..done + count])?;
            }
            if count == 0
                && let Some(check) = self.check.take()
            {
                check.finish()?;
            }
            done += count;
        }
        Ok(done)
    }

    /// Reads what is left.
    pub(super) fn drain(&mut self) -> Result<(), Error> {
        let mut scratch = vec![0; caps::CHUNK];
        while self.fill(&mut scratch)? > 0 {}
        Ok(())
    }
}

/// The part of the old resource that copies may come from.
pub(super) struct Old<'a> {
    next: &'a mut Next<'a>,
    view: Vec<u8>,
    begin: u64,
    index: Index,
    ended: bool,
}

impl<'a> Old<'a> {
    /// Of what `next` hands out in whole buffers, `len` bytes in all.
    pub(super) fn new(next: &'a mut Next<'a>, len: u64) -> Self {
        Self {
            next,
            view: Vec::with_capacity(len.min(caps::DELTA_VIEW as u64) as usize),
            begin: 0,
            index: Index::default(),
            ended: false,
        }
    }

    /// Makes the view hold what lies around a part of the new resource, unless it does.
    fn follow(&mut self, position: u64, len: usize) -> Result<(), Error> {
        let wanted = position + (len + caps::DELTA_REACH) as u64;
        if self.ended || wanted <= self.begin + self.view.len() as u64 {
            return Ok(());
        }
        // never more than is there: what comes next must follow what is held
        let first = position.saturating_sub(caps::DELTA_REACH as u64);
        let gone = first.saturating_sub(self.begin).min(self.view.len() as u64);
        self.view.drain(..gone as usize);
        self.begin += gone;
        while !self.ended && self.view.len() < caps::DELTA_VIEW {
            let have = self.view.len();
            self.view
                .resize(have + caps::DELTA_WINDOW.min(caps::DELTA_VIEW - have), 0);
            let count = (self.next)(&mut self.view[have..])?;
            self.ended = have + count < self.view.len();
            self.view.truncate(have + count);
        }
        // the old index goes first, so that both are never held
        self.index = Index::default();
        self.index = Index::new(&self.view);
        Ok(())
    }
}

/// A patch while it is made. As many windows as there are cores are made at a time, and meanwhile the next are read.
pub(super) struct PatchMaker<'a> {
    old: Old<'a>,
    new: &'a mut Next<'a>,
    encoders: Vec<Encoder>,
    /// Windows that were read ahead.
    ahead: Vec<Vec<u8>>,
    /// Where they begin in the new resource.
    position: u64,
    ended: bool,
    made: VecDeque<u8>,
}

impl<'a> PatchMaker<'a> {
    pub(super) fn new(old: Old<'a>, new: &'a mut Next<'a>) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            old,
            new,
            encoders: (0..cores.min(caps::DELTA_THREADS_MAX))
                .map(|_| Encoder::default())
                .collect(),
            ahead: Vec::new(),
            position: 0,
            ended: false,
            made: VecDeque::from(HEADER),
        }
    }

    /// Hands out the patch.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        while self.made.is_empty() {
            if self.ahead.is_empty() {
                self.ahead = read_windows(self.new, self.encoders.len(), &mut self.ended)?;
            }
            if self.ahead.is_empty() {
                return Ok(0);
            }
            self.make()?;
        }
        let count = self.made.read(buf).map_err(Error::Output)?;
        if self.made.is_empty() {
            // what a poor window took is not kept
            self.made = VecDeque::new();
        }
        Ok(count)
    }

    /// Makes the windows that were read, and reads the next ones.
    fn make(&mut self) -> Result<(), Error> {
        let windows = mem::take(&mut self.ahead);
        let len = windows.iter().map(Vec::len).sum();
        self.old.follow(self.position, len)?;
        let view = View {
            bytes: &self.old.view,
            begin: self.old.begin,
            index: &self.old.index,
        };
        let mut position = self.position;
        let mut jobs = Vec::with_capacity(windows.len());
        for (encoder, window) in self.encoders.iter_mut().zip(windows) {
            let at = position;
            position += window.len() as u64;
            jobs.push(move || {
                let mut made = Vec::new();
                encoder.window(&view, at, &window, &mut made);
                made
            });
        }
        let (new, ended, count) = (&mut *self.new, &mut self.ended, jobs.len());
        let (made, ahead) = beside(jobs, || read_windows(new, count, ended))?;
        self.ahead = ahead?;
        self.position = position;
        for made in made {
            self.made.extend(made);
        }
        Ok(())
    }
}

/// Runs jobs in threads of their own, and meanwhile something else in this one.
fn beside<J: FnOnce() -> T + Send, T: Send, U>(jobs: Vec<J>, here: impl FnOnce() -> U) -> Result<(Vec<T>, U), Error> {
    let gone = |_| Error::Output(std::io::Error::other("a thread has ended"));
    thread::scope(|scope| {
        let spawn = |job| thread::Builder::new().spawn_scoped(scope, job).map_err(Error::Output);
        let threads = jobs.into_iter().map(spawn).collect::<Result<Vec<_>, _>>()?;
        let done = here();
        let made = threads.into_iter().map(|thread| thread.join().map_err(gone));
        Ok((made.collect::<Result<_, _>>()?, done))
    })
}

/// Reads as many windows as asked for, fewer at the end.
fn read_windows(new: &mut Next<'_>, count: usize, ended: &mut bool) -> Result<Vec<Vec<u8>>, Error> {
    let mut windows = Vec::with_capacity(count);
    while windows.len() < count && !*ended {
        let mut window = vec![0; caps::DELTA_WINDOW];
        let len = new(&mut window)?;
        *ended = len < window.len();
        window.truncate(len);
        if len > 0 {
            windows.push(window);
        }
    }
    Ok(windows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vcdiff::Decoder;

    /// Bytes in which no two places are alike.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        words.take(len / 8).flatten().collect()
    }

    fn fill(mut from: &[u8]) -> impl FnMut(&mut [u8]) -> Result<usize, Error> {
        move |buf| from.read(buf).map_err(Error::Output)
    }

    #[test]
    fn an_old_resource_that_is_larger_than_the_view_is_seen_in_parts() {
        let old = noise(caps::DELTA_VIEW + (40 << 20));
        // all moves by a megabyte, and what was at the end is at the front as well, too far away to be found
        let far = old.len() - (1 << 20);
        let new = [&old[far..], &old].concat();
        let (mut next_old, mut next_new) = (fill(&old), fill(&new));
        let source = Old::new(&mut next_old, old.len() as u64);
        let mut maker = PatchMaker::new(source, &mut next_new);
        let mut patch = Vec::new();
        let mut buf = vec![0; 1 << 20];
        while let count @ 1.. = maker.read(&mut buf).unwrap() {
            assert!(maker.old.view.len() <= caps::DELTA_VIEW && maker.old.view.capacity() <= caps::DELTA_VIEW);
            patch.extend_from_slice(&buf[..count]);
        }
        assert!(maker.old.begin > 0);
        assert!((1 << 20..(1 << 20) + 20_000).contains(&patch.len()), "{}", patch.len());

        let (mut decoder, mut input, mut made) = (Decoder::default(), fill(&patch), 0);
        while let count @ 1.. = decoder.read(&mut input, &mut old.as_slice(), &mut buf).unwrap() {
            assert!(buf[..count] == new[made..made + count]);
            made += count;
        }
        assert_eq!(made, new.len());
    }
}
