//! Applying a task to a target (format §4).
//!
//! Everything that the chosen task will do is checked before the first byte is written. Then on-init runs, the archive's
//! entries stream through the on-resource functions, and on-finish runs. What decides what is booted stays in the cache
//! until all the rest is durable.

pub(crate) mod delta;
pub(crate) mod functions;
mod host;
mod progress;
mod requirements;
pub(crate) mod resource;
pub(crate) mod stream;
mod system;
pub(crate) mod task;
#[cfg(test)]
mod tests;
mod work;

use std::{io::Read, path::PathBuf};

use crate::{
    caps,
    error::Error,
    metaconf::Section,
    metadata::Metadata,
    target::{BlockTarget, Cache, WriteMode},
    zip::{Entry, ZipReader, resource_name},
};
use delta::Patch;
use functions::{Function, Sink};
pub use host::{Host, HostSink, Outlet};
use progress::Progress;
use requirements::Facts;
use resource::Resource;
use stream::{Check, consume};
use task::{OnResource, Task};
use work::Work;

/// How an archive is applied.
#[derive(Clone, Debug)]
pub struct ApplyOptions<'h> {
    /// The first percentage to be reported.
    pub progress_low: u8,
    /// The percentage reported when everything is durable.
    pub progress_high: u8,
    /// Read back every segment after writing it.
    pub verify_writes: bool,
    /// Read before writing, and skip what is the same already.
    pub minimize_writes: bool,
    /// Does what reaches outside of the target. Without it tasks that ask for such things are refused.
    pub host: Option<&'h dyn Host>,
    /// The file that `reboot_param` writes, when everything else is durable. Without it tasks that call it are refused.
    pub reboot_param: Option<PathBuf>,
}

impl Default for ApplyOptions<'_> {
    fn default() -> Self {
        Self {
            progress_low: 0,
            progress_high: 100,
            verify_writes: false,
            minimize_writes: false,
            host: None,
            reboot_param: None,
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
    options: &ApplyOptions<'_>,
    beside: bool,
    observer: &mut dyn FnMut(Event),
) -> Result<String, Error> {
    let mut progress = Progress::start(options, observer);
    let mode = WriteMode {
        verify: options.verify_writes,
        minimize: options.minimize_writes,
    };
    let mut work = Work::new(Cache::new(target, mode)?, options, beside);
    let chosen = Facts::new(config, &mut work.cache, options.host).select(wanted)?;
    let task = task::check(chosen, config)?;
    task.allow(options, work.cache.size_blocks())?;
    progress.set_total(task.units());
    match run_task(zip, config, &task, &mut work, &mut progress) {
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
    config: &Section,
    task: &Task,
    work: &mut Work<'_>,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    work.run_all("on-init", &task.on_init, zip.offset(), progress)?;
    let mut missing: Vec<&OnResource> = task.on_resource.iter().collect();
    while let Some(entry) = zip.next_entry()? {
        let name = resource_name(&entry.name);
        if let Some(at) = missing.iter().position(|on| on.resource.name == name) {
            let on = missing.remove(at);
            let begin = zip.offset();
            for function in &on.functions {
                let done = run_resource(zip, &entry, on, function, work, progress);
                done.map_err(|error| error.at_function(&format!("on-resource {name}"), function.name, begin))?;
            }
        } else {
            zip.pass_over(unused_max(config, &name)?)?;
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
    work.run_all("on-finish", &task.on_finish, zip.offset(), progress)?;
    work.finish()
}

/// Most bytes of an entry that the task does not use: its declared length, or a limit when nothing declares it.
fn unused_max(config: &Section, name: &str) -> Result<u64, Error> {
    match config.find("file-resource", name.as_bytes()) {
        Some(section) => Ok(Resource::new(section)?.data_len()),
        None => Ok(caps::UNDECLARED_MAX),
    }
}

/// Forgets what was not written and runs on-error. Its own failures change nothing any more.
fn rescue(task: &Task, work: &mut Work<'_>, progress: &mut Progress<'_>, error: &Error) {
    work.discard();
    let broken_target = matches!(error.cause(), Error::Target { .. } | Error::VerifyWrite { .. });
    if work.run_all("on-error", &task.on_error, 0, progress).is_err() || broken_target {
        work.discard();
    }
    // the first error is the one to be told
    let _ = work.finish();
}

/// Runs a function of on-resource.
fn run_resource<R: Read + Send>(
    zip: &mut ZipReader<R>,
    entry: &Entry,
    on: &OnResource,
    function: &Function,
    work: &mut Work<'_>,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let resource = &on.resource;
    let patch = delta::patch_len(entry, resource).filter(|_| function.takes_data());
    let patch = patch.map(|len| Patch::open(resource, len, on.delta.as_ref(), function, work));
    let patch = patch.transpose()?;
    let Some(mut sink) = function.sink(resource.full_len(), work)? else {
        return function.run(work, progress);
    };
    if let Some(patch) = patch {
        run_patch(zip, patch, resource, &mut *sink, work, progress)?;
        return sink.finish(work, resource.full_len(), 0);
    }
    let beside = work.beside;
    let mut counted = 0;
    consume(zip, resource, beside, &mut |start, bytes| {
        for (offset, part) in resource.place(start, bytes.len()) {
            let end = offset + part.len() as u64;
            let units = if function.takes_holes() {
                end - counted
            } else {
                part.len() as u64
            };
            counted = end;
            sink.write(work, offset, &bytes[part])?;
            progress.add(units);
        }
        Ok(())
    })?;
    sink.finish(work, resource.full_len(), resource.final_hole())
}

/// Hands on what a patch makes; checked are the length and the hash of that.
fn run_patch<R: Read>(
    zip: &mut ZipReader<R>,
    mut patch: Patch<'_>,
    resource: &Resource,
    sink: &mut dyn Sink,
    work: &mut Work<'_>,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let (mut check, mut buf) = (Check::new(resource), vec![0; caps::CHUNK]);
    loop {
        let count = patch.read(zip, work, &mut buf)?;
        let offset = check.update(&buf[..count])?;
        sink.write(work, offset, &buf[..count])?;
        progress.add(count as u64);
        if count < buf.len() {
            return check.finish();
        }
    }
}
