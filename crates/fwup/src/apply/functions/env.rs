//! Functions on U-Boot environments: one block or two copies (format §6).

use super::{Arguments, Kind, failed};
use crate::{
    caps,
    error::Error,
    metaconf::{Bytes, Section, parse_u64},
    target::{BLOCK, Cache},
    uboot_env::{Layout, UbootEnv, UbootEnvError, parse, parse_redundant, second_is_newer},
};

/// The blocks of a U-Boot environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvPlace {
    pub(crate) block: u64,
    /// Bytes of one copy.
    pub(crate) len: usize,
    /// The block of the second copy.
    pub(crate) second: Option<u64>,
}

/// Reads a `uboot-environment` section.
pub(crate) fn env_place(section: &Section) -> Result<EnvPlace, String> {
    let block = |name: &str| match section.text(name).filter(|word| !word.is_empty()) {
        None => Ok(None),
        Some(word) => parse_u64(word)
            .filter(|block| *block <= caps::BLOCK_MAX)
            .map(Some)
            .ok_or_else(|| format!("uboot-environment: {name} must be a block number")),
    };
    let count = section
        .number("block-count")
        .and_then(|count| usize::try_from(count).ok());
    let len = count
        .and_then(|count| count.checked_mul(BLOCK))
        .filter(|len| (1..=caps::UBOOT_ENV_MAX).contains(len));
    let len = len.ok_or("uboot-environment: block-count is missing or too large")?;
    let first = block("block-offset")?.ok_or("uboot-environment: block-offset is missing")?;
    Ok(EnvPlace {
        block: first,
        len,
        second: block("block-offset-redund")?,
    })
}

#[derive(Clone, Debug)]
pub(super) struct EnvFunction {
    place: EnvPlace,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Clear,
    /// Clears what cannot be read.
    Recover,
    Set(Bytes, Bytes),
    Unset(Bytes),
}

fn function(args: &Arguments<'_>, change: Change) -> Result<Kind, String> {
    let place = env_place(args.section("uboot-environment")?)?;
    Ok(Kind::Env(EnvFunction { place, change }))
}

pub(super) fn clear(args: &Arguments<'_>) -> Result<Kind, String> {
    function(args, Change::Clear)
}

pub(super) fn recover(args: &Arguments<'_>) -> Result<Kind, String> {
    function(args, Change::Recover)
}

pub(super) fn set(args: &Arguments<'_>) -> Result<Kind, String> {
    function(args, Change::Set(args.word(1)?.clone(), args.word(2)?.clone()))
}

pub(super) fn unset(args: &Arguments<'_>) -> Result<Kind, String> {
    function(args, Change::Unset(args.word(1)?.clone()))
}

impl EnvFunction {
    pub(super) fn units(&self) -> u64 {
        self.place.len as u64 * if self.place.second.is_some() { 2 } else { 1 }
    }

    pub(super) fn run(&self, name: &str, cache: &mut Cache<'_>) -> Result<(), Error> {
        let place = &self.place;
        let wrong = |error: UbootEnvError| failed(name, place.block, &error);
        let current = match &self.change {
            Change::Clear => return clear_all(cache, place)?.map_err(wrong),
            _ => read_env(cache, place)?,
        };
        let (mut env, origin) = match (&self.change, current) {
            (Change::Recover, Ok(_)) => return Ok(()),
            (Change::Recover, Err(_)) => return clear_all(cache, place)?.map_err(wrong),
            (_, current) => current.map_err(wrong)?,
        };
        match &self.change {
            Change::Set(variable, value) => env.set(variable, value).map_err(wrong)?,
            Change::Unset(variable) => env.unset(variable),
            Change::Clear | Change::Recover => {}
        }
        update(cache, place, &env, origin)?.map_err(wrong)
    }
}

/// Where an environment was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Single,
    /// One of two copies: which one (0 or 1) and its flag.
    Copy(usize, u8),
}

/// Reads an environment. The outer error is the target's, the inner one says why there is no environment.
pub(crate) fn read_env(
    cache: &mut Cache<'_>,
    place: &EnvPlace,
) -> Result<Result<(UbootEnv, Origin), UbootEnvError>, Error> {
    let first = read_block(cache, place.block, place.len)?;
    let Some(second) = place.second else {
        return Ok(parse(&first).map(|env| (env, Origin::Single)));
    };
    let second = read_block(cache, second, place.len)?;
    Ok(match (parse_redundant(&first), parse_redundant(&second)) {
        (Ok((_, old)), Ok((env, new))) if second_is_newer(old, new) => Ok((env, Origin::Copy(1, new))),
        (Ok((env, flag)), _) => Ok((env, Origin::Copy(0, flag))),
        (Err(_), Ok((env, flag))) => Ok((env, Origin::Copy(1, flag))),
        (Err(error), Err(_)) => Err(error),
    })
}

fn read_block(cache: &mut Cache<'_>, block: u64, len: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len];
    cache.read(block * BLOCK as u64, &mut bytes)?;
    Ok(bytes)
}

/// Writes a changed environment: over the block it came from, or over the other copy.
fn update(
    cache: &mut Cache<'_>,
    place: &EnvPlace,
    env: &UbootEnv,
    origin: Origin,
) -> Result<Result<(), UbootEnvError>, Error> {
    let (Origin::Copy(copy, flag), Some(second)) = (origin, place.second) else {
        return write(cache, place.block, place.len, env, Layout::Single);
    };
    let (older, newer) = if copy == 0 {
        (place.block, second)
    } else {
        (second, place.block)
    };
    let next = Layout::Redundant {
        flag: flag.wrapping_add(1),
    };
    write_copies(cache, place.len, newer, older, (env, next), flag)
}

/// Writes an empty environment, into both copies if there are two.
fn clear_all(cache: &mut Cache<'_>, place: &EnvPlace) -> Result<Result<(), UbootEnvError>, Error> {
    let empty = UbootEnv::new();
    let Some(second) = place.second else {
        return write(cache, place.block, place.len, &empty, Layout::Single);
    };
    let counts = matches!(read_env(cache, place)?, Ok((_, Origin::Copy(1, _))));
    let (older, newer) = if counts {
        (second, place.block)
    } else {
        (place.block, second)
    };
    let layout = Layout::Redundant { flag: 1 };
    if let Err(error) = write(cache, older, place.len, &empty, layout)? {
        return Ok(Err(error));
    }
    write_copies(cache, place.len, newer, older, (&empty, layout), 1)
}

/// Writes the copy that counts from now on; `flag` is that of the other one.
fn write_copies(
    cache: &mut Cache<'_>,
    len: usize,
    newer: u64,
    older: u64,
    (env, layout): (&UbootEnv, Layout),
    flag: u8,
) -> Result<Result<(), UbootEnvError>, Error> {
    let stand_in = match env.to_bytes_as(len, Layout::Redundant { flag }) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = write(cache, newer, len, env, layout)? {
        return Ok(Err(error));
    }
    let range = |block: u64| block * BLOCK as u64..block * BLOCK as u64 + len as u64;
    cache.mark_copies(range(newer), range(older), stand_in);
    Ok(Ok(()))
}

fn write(
    cache: &mut Cache<'_>,
    block: u64,
    len: usize,
    env: &UbootEnv,
    layout: Layout,
) -> Result<Result<(), UbootEnvError>, Error> {
    let bytes = match env.to_bytes_as(len, layout) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Err(error)),
    };
    let offset = block * BLOCK as u64;
    cache.write(offset, &bytes, false)?;
    if layout == Layout::Single {
        cache.mark_critical(offset..offset + len as u64);
    }
    Ok(Ok(()))
}
