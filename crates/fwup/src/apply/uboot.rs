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
    let (block, layout) = match (origin, place.second) {
        (Origin::Copy(0, flag), Some(second)) => (
            second,
            Layout::Redundant {
                flag: flag.wrapping_add(1),
            },
        ),
        (Origin::Copy(_, flag), _) => (
            place.block,
            Layout::Redundant {
                flag: flag.wrapping_add(1),
            },
        ),
        (Origin::Single, _) => (place.block, Layout::Single),
    };
    write(cache, block, place.len, env, layout)
}

/// Writes an empty environment, into both copies if there are two.
pub(super) fn clear(cache: &mut Cache<'_>, place: &EnvPlace) -> Result<Result<(), UbootEnvError>, Error> {
    let layout = if place.second.is_some() {
        Layout::Redundant { flag: 1 }
    } else {
        Layout::Single
    };
    for block in [Some(place.block), place.second].into_iter().flatten() {
        if let Err(error) = write(cache, block, place.len, &UbootEnv::new(), layout)? {
            return Ok(Err(error));
        }
    }
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
    cache.mark_critical(offset..offset + len as u64);
    Ok(Ok(()))
}
