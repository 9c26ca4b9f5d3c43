//! The functions that tasks call (format §4.2): what each is called, what it takes, what it does.
//!
//! Everything about arguments is settled by [`compile`], before anything is written: a [`Function`] can only fail on what
//! the target holds. One file for each kind: `raw`, `fat`, `env`, `table`, `host`.

mod arguments;
mod env;
mod fat;
mod host;
mod raw;
mod table;
#[cfg(test)]
mod tests;

use super::{ApplyOptions, progress::Progress, work::Work};
use crate::{
    caps,
    error::Error,
    metaconf::{Bytes, Section, text},
    target::BLOCK,
};
use arguments::Arguments;
pub(crate) use env::{env_place, read_env};

/// Takes a resource's bytes in order.
pub(super) trait Sink {
    /// Takes bytes that belong at an offset of the resource, behind those taken before.
    fn write(&mut self, work: &mut Work<'_>, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Ends the data; `len` is the resource's length with the `hole` at its end.
    fn finish(self: Box<Self>, work: &mut Work<'_>, len: u64, hole: u64) -> Result<(), Error>;
}

/// Where a function puts a resource's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination<'f> {
    /// Blocks of the target from this byte on.
    Blocks(u64),
    /// A file: the volume's first block, and the path.
    File(u64, &'f [u8]),
    /// Nowhere, or outside of the target.
    Elsewhere,
}

/// Where a function stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Init,
    Resource,
    Finish,
    Error,
}

/// A function with checked arguments.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// Its name, as tasks call it.
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Raw(raw::Raw),
    Fat(fat::Fat),
    Env(env::EnvFunction),
    Table(table::Table),
    Host(host::HostFunction),
    Error(String),
    Info(String),
}

/// A function's name, least and most arguments, whether it takes a resource's data, and what reads its arguments.
struct Shape(
    &'static str,
    usize,
    usize,
    bool,
    fn(&Arguments<'_>) -> Result<Kind, String>,
);

const SHAPES: &[Shape] = &[
    Shape("raw_write", 1, 9, true, raw::write),
    Shape("raw_memset", 3, 3, false, raw::memset),
    Shape("trim", 2, 2, false, raw::trim),
    Shape("fat_mkfs", 2, 2, false, fat::mkfs),
    Shape("fat_write", 2, 2, true, fat::write),
    Shape("fat_cp", 3, 4, false, fat::copy),
    Shape("fat_mv", 3, 3, false, |args| fat::rename(args, false)),
    Shape("fat_mv!", 3, 3, false, |args| fat::rename(args, true)),
    Shape("fat_rm", 2, 2, false, |args| fat::remove(args, false)),
    Shape("fat_rm!", 2, 2, false, |args| fat::remove(args, true)),
    Shape("fat_mkdir", 2, 2, false, fat::mkdir),
    Shape("fat_setlabel", 2, 2, false, fat::label),
    Shape("fat_touch", 2, 2, false, fat::touch),
    Shape("fat_attrib", 3, 3, false, fat::attributes),
    Shape("mbr_write", 1, 1, false, table::mbr),
    Shape("gpt_write", 1, 1, false, table::gpt),
    Shape("uboot_clearenv", 1, 1, false, env::clear),
    Shape("uboot_recover", 1, 1, false, env::recover),
    Shape("uboot_setenv", 3, 3, false, env::set),
    Shape("uboot_unsetenv", 2, 2, false, env::unset),
    Shape("path_write", 1, 1, true, host::path_write),
    Shape("pipe_write", 1, 1, true, host::pipe_write),
    Shape("ubi_volume_write", 1, 1, true, host::ubi_volume_write),
    Shape("execute", 1, 1, false, host::execute),
    Shape("reboot_param", 1, 1, false, host::reboot_param),
    Shape("error", 1, 1, false, |args| Ok(Kind::Error(text(args.word(0)?)))),
    Shape("info", 1, 1, false, |args| Ok(Kind::Info(text(args.word(0)?)))),
];

/// Checks a call and takes its arguments apart. `config` holds the sections that arguments name.
///
/// # Errors
/// What is wrong with the call, as a sentence.
pub(crate) fn compile(call: &[Bytes], place: Place, config: &Section) -> Result<Function, String> {
    let (name, words) = call.split_first().ok_or("an empty call")?;
    let shape = SHAPES.iter().find(|shape| shape.0.as_bytes() == name);
    let Some(Shape(name, least, most, takes_data, read)) = shape else {
        return Err("no such function".into());
    };
    if !(*least..=*most).contains(&words.len()) || call.len() > caps::CALL_WORDS_MAX {
        return Err(format!(
            "{} arguments were given, {least} to {most} are needed",
            words.len()
        ));
    }
    if *takes_data && place != Place::Resource {
        return Err("only on-resource has data for it".into());
    }
    let kind = read(&Arguments { words, config })?;
    Ok(Function { name, kind })
}

impl Function {
    /// Whether the function takes the resource's data.
    pub(crate) fn takes_data(&self) -> bool {
        SHAPES.iter().any(|shape| shape.0 == self.name && shape.3)
    }

    /// Whether holes are handed to the function as zeros, so that they count as progress.
    pub(super) fn takes_holes(&self) -> bool {
        self.units(0, 1) == 1
    }

    /// Units of progress; `data` and `full` are the resource's lengths without and with holes.
    pub(crate) fn units(&self, data: u64, full: u64) -> u64 {
        match &self.kind {
            Kind::Raw(raw) => raw.units(data),
            Kind::Fat(fat) => fat.units(full),
            Kind::Env(env) => env.units(),
            Kind::Table(table) => table.units(),
            Kind::Host(host) => host.units(data, full),
            Kind::Error(_) | Kind::Info(_) => 0,
        }
    }

    /// Why the function may not run with these options on a target of this many blocks; None when it may.
    pub(super) fn refused(&self, options: &ApplyOptions<'_>, disk: Option<u64>) -> Option<String> {
        match &self.kind {
            Kind::Host(host) => host.refused(options),
            Kind::Table(table) => table.refused(disk),
            Kind::Raw(raw) => raw.refused(),
            _ => None,
        }
    }

    /// Where the function puts the resource's data.
    pub(crate) fn destination(&self) -> Destination<'_> {
        match &self.kind {
            Kind::Raw(raw) => raw.destination(),
            Kind::Fat(fat) => fat.destination(),
            _ => Destination::Elsewhere,
        }
    }

    /// What takes the resource's data; None for a function that takes none. `len` is the resource's length with its holes.
    pub(super) fn sink(&self, len: u64, work: &mut Work<'_>) -> Result<Option<Box<dyn Sink + '_>>, Error> {
        match &self.kind {
            Kind::Raw(raw) => Ok(raw.sink()),
            Kind::Fat(fat) => fat.sink(self.name, work),
            Kind::Host(host) => host.sink(self.name, len, work),
            _ => Ok(None),
        }
    }

    /// Runs a function that takes no data, and counts its progress.
    pub(super) fn run(&self, work: &mut Work<'_>, progress: &mut Progress<'_>) -> Result<(), Error> {
        match &self.kind {
            // counts on its own, because it may take long
            Kind::Raw(raw) => return raw.run(self, &mut work.cache, progress),
            Kind::Fat(fat) => fat.run(self.name, work)?,
            Kind::Env(env) => env.run(self.name, &mut work.cache)?,
            Kind::Table(table) => table.run(self.name, &mut work.cache)?,
            Kind::Host(host) => host.run(self.name, work)?,
            Kind::Error(text) => return Err(Error::Refused(text.clone())),
            Kind::Info(text) => progress.info(text.clone()),
        }
        progress.add(self.units(0, 0));
        Ok(())
    }
}

/// A failure of a function on what a block of the target holds.
fn failed(function: impl Into<String>, block: u64, reason: &dyn std::fmt::Display) -> Error {
    Error::FunctionFailed {
        function: function.into(),
        offset: block * BLOCK as u64,
        reason: reason.to_string(),
    }
}
