//! U-Boot environments on the target: one block or two copies (format §6).

use super::function::EnvPlace;
use crate::{
    error::Error,
    target::{BLOCK, Cache},
    uboot_env::{Layout, UbootEnv, UbootEnvError, parse, parse_redundant, second_is_newer},
};

/// Where an environment was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Single,
    /// One of two copies: which one (0 or 1) and its flag.
    Copy(usize, u8),
}

/// Reads an environment. The outer error is the target's, the inner one says why there is no environment.
pub(super) fn read(
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
pub(super) fn update(
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
pub(super) fn clear(cache: &mut Cache<'_>, place: &EnvPlace) -> Result<Result<(), UbootEnvError>, Error> {
    let empty = UbootEnv::new();
    let Some(second) = place.second else {
        return write(cache, place.block, place.len, &empty, Layout::Single);
    };
    let counts = matches!(read(cache, place)?, Ok((_, Origin::Copy(1, _))));
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
