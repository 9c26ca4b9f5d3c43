//! Applying a task to a target (format §4).
//!
//! Everything that the chosen task will do is checked before the first byte is written. Then on-init runs, the archive's
//! entries stream through the on-resource functions, and on-finish runs. What decides what is booted stays in the cache
//! until all the rest is durable.

pub(crate) mod function;
mod progress;
pub(crate) mod resource;
mod run;
mod sink;
pub(crate) mod stream;
mod task;
#[cfg(test)]
mod tests;
mod uboot;

use std::io::Read;

use crate::{
    error::Error,
    fat::Volumes,
    metaconf::Section,
    metadata::Metadata,
    target::{BlockTarget, Cache, WriteMode},
    zip::{Entry, ZipReader, resource_name},
};
use progress::Progress;
use run::{Work, fat_error};
use sink::Sink;
use stream::{consume, read_full};
use task::{OnResource, Task};

/// How an archive is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyOptions {
    /// The first percentage to be reported.
    pub progress_low: u8,
    /// The percentage reported when everything is durable.
    pub progress_high: u8,
    /// Read back every segment after writing it.
    pub verify_writes: bool,
    /// Read before writing, and skip what is the same already.
    pub minimize_writes: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            progress_low: 0,
            progress_high: 100,
            verify_writes: false,
            minimize_writes: false,
        }
    }
}

/// What happens while an archive is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A percentage. It only rises; the last one is reported when everything is durable.
    Progress(u8),
    /// What the firmware's `info()` says.
    Info(String),
}

/// What was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Name of the task that was chosen.
    pub task: String,
    /// The archive's metadata.
    pub metadata: Metadata,
}

/// Applies a task; returns the name of the one that was chosen.
pub(crate) fn apply<R: Read + Send>(
    zip: &mut ZipReader<R>,
    config: &Section,
    target: &mut dyn BlockTarget,
    wanted: &str,
    options: &ApplyOptions,
    beside: bool,
    observer: &mut dyn FnMut(Event),
) -> Result<String, Error> {
    let mut progress = Progress::start(options, observer);
    let mode = WriteMode {
        verify: options.verify_writes,
        minimize: options.minimize_writes,
    };
    let mut work = Work {
        cache: Cache::new(target, mode)?,
        volumes: Volumes::default(),
        beside,
    };
    let task = task::check(task::select(config, wanted, &mut work.cache)?, config)?;
    progress.set_total(task.units());
    match run_task(zip, &task, &mut work, &mut progress) {
        Ok(()) => {
            progress.finish();
            Ok(task.name)
        }
        Err(error) => {
            rescue(&task, &mut work, &mut progress, &error);
            Err(error.after_write(work.cache.written()))
        }
    }
}

/// Checks all functions of all tasks.
pub(crate) fn check_tasks(config: &Section) -> Result<(), Error> {
    config
        .sections("task")
        .try_for_each(|section| task::check(section, config).map(|_| ()))
}

fn run_task<R: Read + Send>(
    zip: &mut ZipReader<R>,
    task: &Task,
    work: &mut Work<'_>,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    work.run_all(&task.on_init, progress)?;
    let mut missing: Vec<&OnResource> = task.on_resource.iter().collect();
    while let Some(entry) = zip.next_entry()? {
        let name = resource_name(&entry.name);
        if let Some(at) = missing.iter().position(|on| on.resource.name == name) {
            let on = missing.remove(at);
            run_resource(zip, &entry, on, work, progress)?;
        }
    }
    if let Some(on) = missing.first() {
        let reason = "is used by the task but not in the archive";
        return Err(Error::MissingResource {
            resource: on.resource.name.clone(),
            reason,
        });
    }
    work.cache.begin_late();
    work.run_all(&task.on_finish, progress)?;
    work.cache.flush()
}

/// Forgets what was not written and runs on-error. Its own failures change nothing any more.
fn rescue(task: &Task, work: &mut Work<'_>, progress: &mut Progress<'_>, error: &Error) {
    work.cache.discard();
    work.volumes = Volumes::default();
    let broken_target = matches!(error, Error::Target { .. } | Error::VerifyWrite { .. });
    if work.run_all(&task.on_error, progress).is_err() || broken_target {
        work.cache.discard();
    }
    // the first error is the one to be told
    let _ = work.cache.flush();
}

fn run_resource<R: Read + Send>(
    zip: &mut ZipReader<R>,
    entry: &Entry,
    on: &OnResource,
    work: &mut Work<'_>,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    for function in &on.functions {
        if !function.takes_data() {
            work.run(function, progress)?;
            continue;
        }
        refuse_other_size(zip, entry, on)?;
        let failed = |error| fat_error(function, error);
        let sink = Sink::open(function, &mut work.cache, &mut work.volumes).map_err(failed)?;
        let Some(mut sink) = sink else { continue };
        let resource = &on.resource;
        let beside = work.beside;
        let (cache, volumes) = (&mut work.cache, &mut work.volumes);
        let counts_holes = function.units(0, 1) == 1;
        let mut counted = 0;
        consume(zip, resource, beside, &mut |start, bytes| {
            for (offset, part) in resource.place(start, bytes.len()) {
                let end = offset + part.len() as u64;
                let units = if counts_holes { end - counted } else { part.len() as u64 };
                counted = end;
                sink.write(cache, volumes, offset, &bytes[part]).map_err(failed)?;
                progress.add(units);
            }
            Ok(())
        })?;
        sink.finish(cache, volumes, resource.full_len(), resource.final_hole())
            .map_err(failed)?;
    }
    Ok(())
}

/// An entry that says beforehand that it has another length than the resource is a delta or wrong.
fn refuse_other_size<R: Read + Send>(zip: &mut ZipReader<R>, entry: &Entry, on: &OnResource) -> Result<(), Error> {
    let expected = on.resource.data_len();
    let Some(size) = entry.size.filter(|size| *size != expected) else {
        return Ok(());
    };
    let resource = on.resource.name.clone();
    let mut magic = [0; 3];
    let count = read_full(zip, &mut magic)?;
    Err(if magic[..count] == [0xd6, 0xc3, 0xc4] {
        Error::DeltaUnsupported {
            resource,
            size,
            expected,
        }
    } else {
        Error::LengthMismatch {
            resource,
            expected,
            found: size,
        }
    })
}
