//! A disk that remembers what was written and when it was made durable, and the states in which a power cut can leave it.

use std::io;

use muster_fwup::{BlockTarget, MemoryTarget};

/// Bytes that a disk writes or does not write, never a part of them.
pub const SECTOR: usize = 512;
/// Of so many writes between two flushes every choice is tried.
const ALL_CHOICES: usize = 10;
/// Choices by chance, where there are more.
const CHOICES: usize = 300;
/// Choices by chance, sector by sector, for each write.
const SCATTERED: usize = 8;

/// A write.
#[derive(Clone, Debug)]
pub struct Write {
    pub offset: usize,
    pub bytes: Vec<u8>,
}

impl Write {
    fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }

    fn apply(&self, disk: &mut Vec<u8>) {
        self.apply_part(disk, 0, self.bytes.len());
    }

    fn apply_part(&self, disk: &mut Vec<u8>, from: usize, to: usize) {
        if disk.len() < self.offset + to {
            disk.resize(self.offset + to, 0);
        }
        disk[self.offset + from..self.offset + to].copy_from_slice(&self.bytes[from..to]);
    }
}

/// A disk that keeps a log: the writes between flushes.
#[derive(Debug, Default)]
pub struct Recorder {
    pub disk: MemoryTarget,
    /// The writes before each flush; the last list is of those that no flush followed.
    pub windows: Vec<Vec<Write>>,
}

impl Recorder {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            disk: MemoryTarget { bytes },
            windows: vec![Vec::new()],
        }
    }
}

impl BlockTarget for Recorder {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.windows.last_mut().unwrap().push(Write {
            offset: usize::try_from(offset).unwrap(),
            bytes: buf.to_vec(),
        });
        self.disk.write_at(offset, buf)
    }

    fn size(&self) -> io::Result<Option<u64>> {
        self.disk.size()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.windows.push(Vec::new());
        Ok(())
    }
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub writes: usize,
    /// Cuts between two writes.
    pub between: usize,
    /// Cuts within a write.
    pub torn: usize,
    /// Writes since the last flush that were lost, or came in another order.
    pub lost: usize,
}

impl Count {
    pub fn total(&self) -> usize {
        self.between + self.torn + self.lost
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.between += other.between;
        self.torn += other.torn;
        self.lost += other.lost;
    }
}

/// How a cut came about, for messages.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "what is read is how it prints")]
pub enum Cut {
    /// So many windows and writes of the next one were done.
    Between { window: usize, done: usize },
    /// So many sectors of that write were.
    Torn {
        window: usize,
        write: usize,
        sectors: usize,
    },
    /// These writes of a window landed, in this order.
    Landed { window: usize, order: Vec<usize> },
    /// Sectors of the first writes of a window landed by chance.
    Scattered { window: usize, writes: usize, seed: u64 },
}

/// Chance that is the same in every run.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Shows every state in which a cut can leave the disk that was `start` before the windows were written. A write whose
/// place is among `atomic` is never torn.
pub fn every_cut(start: &[u8], windows: &[Vec<Write>], atomic: &[usize], see: &mut dyn FnMut(&[u8], &Cut)) -> Count {
    let mut count = Count::default();
    let mut durable = start.to_vec();
    for (window, writes) in windows.iter().enumerate() {
        count.writes += writes.len();
        let pieces = |write: &Write| {
            if atomic.contains(&write.offset) {
                write.bytes.len()
            } else {
                SECTOR
            }
        };
        let mut disk = durable.clone();
        for (at, write) in writes.iter().enumerate() {
            see(&disk, &Cut::Between { window, done: at });
            count.between += 1;
            let piece = pieces(write);
            for end in (piece..write.bytes.len()).step_by(piece) {
                write.apply_part(&mut disk, end - piece, end);
                see(
                    &disk,
                    &Cut::Torn {
                        window,
                        write: at,
                        sectors: end / SECTOR,
                    },
                );
                count.torn += 1;
            }
            write.apply(&mut disk);
        }
        for order in orders(writes) {
            let mut disk = durable.clone();
            for at in &order {
                writes[*at].apply(&mut disk);
            }
            see(&disk, &Cut::Landed { window, order });
            count.lost += 1;
        }
        for done in 1..=writes.len() {
            for seed in 0..SCATTERED as u64 {
                let mut chance = Chance(seed * 7919 + done as u64);
                let mut disk = durable.clone();
                for write in &writes[..done] {
                    let piece = pieces(write);
                    for begin in (0..write.bytes.len()).step_by(piece) {
                        if chance.next().is_multiple_of(2) {
                            write.apply_part(&mut disk, begin, (begin + piece).min(write.bytes.len()));
                        }
                    }
                }
                see(
                    &disk,
                    &Cut::Scattered {
                        window,
                        writes: done,
                        seed,
                    },
                );
                count.lost += 1;
            }
        }
        for write in writes {
            write.apply(&mut durable);
        }
    }
    see(
        &durable,
        &Cut::Between {
            window: windows.len(),
            done: 0,
        },
    );
    count.between += 1;
    count
}

/// Which writes of a window land, and in which order: every choice of few, else every single loss, every end of the
/// window, and choices by chance. Where writes overlap, each choice backwards too.
fn orders(writes: &[Write]) -> Vec<Vec<usize>> {
    let len = writes.len();
    let mut orders: Vec<Vec<usize>> = Vec::new();
    if len <= ALL_CHOICES {
        let chosen = |mask: usize| (0..len).filter(|at| mask >> at & 1 == 1).collect();
        orders.extend((0..1 << len).map(chosen));
    } else {
        orders.extend((0..len).map(|lost| (0..len).filter(|at| *at != lost).collect::<Vec<_>>()));
        orders.extend((0..len).map(|begin| (begin..len).rev().collect::<Vec<_>>()));
        let mut chance = Chance(len as u64);
        for _ in 0..CHOICES {
            orders.push((0..len).filter(|_| chance.next().is_multiple_of(2)).collect());
        }
    }
    let overlap = |a: &Write, b: &Write| a.offset < b.end() && b.offset < a.end();
    if (0..len).any(|b| (0..b).any(|a| overlap(&writes[a], &writes[b]))) {
        let backwards: Vec<Vec<usize>> = orders
            .iter()
            .map(|order| order.iter().rev().copied().collect())
            .collect();
        orders.extend(backwards);
    }
    orders
}
