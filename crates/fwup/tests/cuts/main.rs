//! Power cuts at every write of the kiosk's upgrades: the disk boots the old or the new firmware, never neither, and the
//! upgrade can be done again.
//!
//! A cut may come between two writes or within one, at any sector; and of what was written since the last flush any part
//! may be lost. A U-Boot environment of one copy is the exception: its checksum covers all of it, so that whoever writes
//! it, U-Boot included, needs it to be written in one piece. With two copies nothing is taken for granted.

#![cfg(test)]

mod boot;
mod firmware;
mod power;

use boot::{Booted, ENV, boot};
use firmware::Kiosk;
use muster_fwup::{ApplyOptions, Archive, BlockTarget, Env, Error, MemoryTarget};
use power::{Chance, Count, Cut, Recorder, every_cut};

const DISK: usize = 2400 * 512;
/// Most times that an upgrade is done again after a cut, for each act.
const AGAIN: u64 = 400;

fn apply(archive: &[u8], target: &mut dyn BlockTarget, task: &str) -> Result<String, Error> {
    let mut target = target;
    let archive = Archive::open(archive, &[], &Env::new())?;
    let options = ApplyOptions::default();
    Ok(archive.apply(&mut target, task, &options, &mut |_| ())?.task)
}

/// Something that is done to a disk.
struct Act<'a> {
    archive: &'a [u8],
    task: &'a str,
    /// What boots before and after; None where nothing does.
    before: Option<Booted>,
    after: Booted,
}

struct Run<'a> {
    kiosk: &'a Kiosk,
    disk: Vec<u8>,
    count: Count,
    again: u64,
}

impl<'a> Run<'a> {
    fn new(kiosk: &'a Kiosk) -> Self {
        Self {
            kiosk,
            disk: vec![0; DISK],
            count: Count::default(),
            again: 0,
        }
    }

    /// Does something, trying every cut; `task` is the one that must be chosen.
    fn act(&mut self, archive: &'a [u8], task: &'a str, after: (&'static str, &str, bool)) {
        let (slot, version, validated) = after;
        let act = Act {
            archive,
            task,
            before: boot(&self.disk, self.kiosk).ok(),
            after: Booted {
                slot,
                version: version.to_owned(),
                validated,
            },
        };
        let mut recorder = Recorder::new(self.disk.clone());
        let chosen = apply(archive, &mut recorder, task.split('.').next().unwrap()).unwrap();
        assert_eq!(chosen, task);
        assert!(recorder.windows.last().unwrap().is_empty(), "all is durable at the end");
        assert_eq!(boot(&recorder.disk.bytes, self.kiosk).as_ref(), Ok(&act.after));

        let atomic: &[usize] = if self.kiosk.redundant { &[] } else { &[ENV] };
        let (kiosk, mut chance, mut again, mut seen) = (self.kiosk, Chance(1), 0, (0, 0));
        let count = every_cut(&self.disk, &recorder.windows, atomic, &mut |disk, cut| {
            let now = survives(disk, kiosk, &act, cut);
            if now.as_ref() == Some(&act.after) {
                seen.1 += 1;
            } else {
                seen.0 += 1;
            }
            // every cut between writes, and others by chance
            if matches!(cut, Cut::Between { .. }) || (again < AGAIN && chance.next() % 16 == 0) {
                once_more(disk, kiosk, &act, now.as_ref(), cut);
                again += 1;
            }
        });
        assert!(seen.0 > 0 && seen.1 > 0, "both sides of the switch were seen");
        println!(
            "{task} to {version}: {count:?}, {} old and {} new, {again} done again",
            seen.0, seen.1
        );
        self.count += count;
        self.again += again;
        self.disk = recorder.disk.bytes;
    }

    /// The life of a kiosk: installed, upgraded into either slot, validated, reverted, the way back closed.
    fn life(&mut self) {
        let [first, second, third] = &self.kiosk.versions[..] else {
            panic!("three versions")
        };
        let ops = &self.kiosk.ops[..];
        self.act(&first.archive, "complete", ("a", "1.0.0", true));
        self.act(&second.archive, "upgrade.b", ("b", "1.1.0", false));
        self.act(ops, "validate", ("b", "1.1.0", true));
        self.act(&third.archive, "upgrade.a", ("a", "1.2.0", false));
        self.act(ops, "revert.b", ("b", "1.1.0", true));
        self.act(&third.archive, "upgrade.a", ("a", "1.2.0", false));
        self.act(ops, "validate", ("a", "1.2.0", true));
        println!(
            "{} writes, {} cuts ({} between writes, {} within one, {} with writes lost), {} upgrades done again",
            self.count.writes,
            self.count.total(),
            self.count.between,
            self.count.torn,
            self.count.lost,
            self.again
        );
    }
}

/// Checks that what was there before boots, or what is there afterwards.
fn survives(disk: &[u8], kiosk: &Kiosk, act: &Act<'_>, cut: &Cut) -> Option<Booted> {
    let booted = boot(disk, kiosk);
    let good = match (&booted, &act.before) {
        (Ok(booted), _) if *booted == act.after => true,
        (Ok(booted), Some(before)) => booted == before,
        (Err(_), None) => true,
        _ => false,
    };
    assert!(good, "{} cut at {cut:?}: {booted:?}", act.task);
    booted.ok()
}

/// After a cut: what was not done is done again, what was done is validated and followed by one more upgrade.
fn once_more(disk: &[u8], kiosk: &Kiosk, act: &Act<'_>, now: Option<&Booted>, cut: &Cut) {
    let mut disk = MemoryTarget { bytes: disk.to_vec() };
    let failed = |error: &Error| format!("{} again after {cut:?}: {error}", act.task);
    if now != Some(&act.after) {
        let task = act.task.split('.').next().unwrap();
        apply(act.archive, &mut disk, task).unwrap_or_else(|error| panic!("{}", failed(&error)));
        assert_eq!(boot(&disk.bytes, kiosk).as_ref(), Ok(&act.after), "{cut:?}");
        return;
    }
    if !act.after.validated {
        apply(&kiosk.ops, &mut disk, "validate").unwrap_or_else(|error| panic!("{}", failed(&error)));
    }
    let newest = kiosk.versions.last().unwrap();
    apply(&newest.archive, &mut disk, "upgrade").unwrap_or_else(|error| panic!("{}", failed(&error)));
    let booted = boot(&disk.bytes, kiosk).unwrap();
    assert!(booted.slot != act.after.slot && booted.version == newest.version && !booted.validated);
}

#[test]
fn kiosk_boots_after_a_cut_at_any_write() {
    Run::new(&Kiosk::plain()).life();
}

#[test]
fn kiosk_with_two_environments_boots_after_a_cut_at_any_write() {
    Run::new(&Kiosk::redundant()).life();
}
