//! Doing what functions say.

use super::{function::Function, progress::Progress, uboot};
use crate::{
    caps,
    error::Error,
    fat::{FatError, Volumes, copy_across, format},
    target::{BLOCK, Cache},
    uboot_env::UbootEnvError,
};

const BLOCK64: u64 = BLOCK as u64;

/// What functions work on.
pub(super) struct Work<'t> {
    pub(super) cache: Cache<'t>,
    pub(super) volumes: Volumes,
    /// Resources may be inflated in a thread beside this one.
    pub(super) beside: bool,
}

impl Work<'_> {
    /// Runs functions that take no data.
    pub(super) fn run_all(&mut self, functions: &[Function], progress: &mut Progress<'_>) -> Result<(), Error> {
        functions.iter().try_for_each(|function| self.run(function, progress))
    }

    /// Runs a function that takes no data, and counts its progress.
    pub(super) fn run(&mut self, function: &Function, progress: &mut Progress<'_>) -> Result<(), Error> {
        match function {
            Function::Info(text) => progress.info(text.clone()),
            Function::Error(text) => return Err(Error::Refused(text.clone())),
            Function::RawMemset { block, count, value } => {
                return self.memset(*block, *count, *value, progress);
            }
            Function::Trim { block, count } => self.cache.trim(block * BLOCK64..(block + count) * BLOCK64),
            Function::MbrWrite(mbr) => {
                for (block, bytes) in mbr.blocks(self.cache.size_blocks()).into_iter().rev() {
                    self.cache.write(block * BLOCK64, &bytes, false)?;
                }
                self.cache.mark_critical(0..BLOCK64);
            }
            Function::EnvClear(_) | Function::EnvRecover(_) | Function::EnvSet { .. } | Function::EnvUnset { .. } => {
                self.environment(function)?;
            }
            _ => self.fat(function).map_err(|error| fat_error(function, error))?,
        }
        progress.add(function.units(0, 0));
        Ok(())
    }

    fn memset(&mut self, block: u64, count: u64, value: u8, progress: &mut Progress<'_>) -> Result<(), Error> {
        let chunk = vec![value; caps::CHUNK];
        let (mut offset, end) = (block * BLOCK64, (block + count) * BLOCK64);
        while offset < end {
            let len = (end - offset).min(chunk.len() as u64);
            self.cache.write(offset, &chunk[..len as usize], true)?;
            offset += len;
            progress.add(len);
        }
        Ok(())
    }

    fn environment(&mut self, function: &Function) -> Result<(), Error> {
        let (place, name) = match function {
            Function::EnvClear(env) => (env, "uboot_clearenv"),
            Function::EnvRecover(env) => (env, "uboot_recover"),
            Function::EnvSet { env, .. } => (env, "uboot_setenv"),
            Function::EnvUnset { env, .. } => (env, "uboot_unsetenv"),
            _ => return Ok(()),
        };
        let failed = |error: UbootEnvError| Error::FunctionFailed {
            function: name.to_owned(),
            offset: place.block * BLOCK64,
            reason: error.to_string(),
        };
        let cache = &mut self.cache;
        if let Function::EnvClear(_) = function {
            return uboot::clear(cache, place)?.map_err(failed);
        }
        let current = uboot::read(cache, place)?;
        if let Function::EnvRecover(_) = function {
            return if current.is_ok() {
                Ok(())
            } else {
                uboot::clear(cache, place)?.map_err(failed)
            };
        }
        let (mut env, origin) = current.map_err(failed)?;
        match function {
            Function::EnvSet { name, value, .. } => env.set(name, value).map_err(failed)?,
            Function::EnvUnset { name, .. } => env.unset(name),
            _ => {}
        }
        uboot::update(cache, place, &env, origin)?.map_err(failed)
    }

    fn fat(&mut self, function: &Function) -> Result<(), FatError> {
        let (cache, volumes) = (&mut self.cache, &mut self.volumes);
        match function {
            Function::FatMkfs { block, count } => {
                volumes.forget(*block);
                format(cache, *block, *count)
            }
            Function::FatMkdir { path: (block, path) } => match volumes.at(cache, *block)?.make_folder(cache, path) {
                Err(FatError::Exists) => Ok(()),
                other => other,
            },
            Function::FatRemove {
                path: (block, path),
                must_exist,
            } => match volumes.at(cache, *block)?.remove(cache, path) {
                Err(FatError::NoFile | FatError::NoPath) if !must_exist => Ok(()),
                other => other,
            },
            Function::FatLabel { block, label } => volumes.at(cache, *block)?.set_label(cache, label),
            Function::FatTouch { path: (block, path) } => volumes.at(cache, *block)?.touch(cache, path),
            Function::FatAttributes {
                path: (block, path),
                bits,
            } => volumes.at(cache, *block)?.set_attributes(cache, path, *bits),
            Function::FatMove {
                block,
                from,
                to,
                replace,
            } => volumes.at(cache, *block)?.rename(cache, from, to, *replace),
            Function::FatCopy { from, to } if from.0 == to.0 => volumes.at(cache, from.0)?.copy(cache, &from.1, &to.1),
            Function::FatCopy { from, to } => copy_across(cache, volumes, (from.0, &from.1), (to.0, &to.1)),
            _ => Ok(()),
        }
    }
}

/// A failure in a FAT volume, with the function and the place it is about.
pub(super) fn fat_error(function: &Function, error: FatError) -> Error {
    let named = |name: &str, path: &[u8]| format!("{name}({})", String::from_utf8_lossy(path));
    let (block, function) = match function {
        Function::FatMkfs { block, .. } => (*block, "fat_mkfs".to_owned()),
        Function::FatMkdir { path } => (path.0, named("fat_mkdir", &path.1)),
        Function::FatRemove { path, .. } => (path.0, named("fat_rm", &path.1)),
        Function::FatLabel { block, label } => (*block, named("fat_setlabel", label)),
        Function::FatTouch { path } => (path.0, named("fat_touch", &path.1)),
        Function::FatAttributes { path, .. } => (path.0, named("fat_attrib", &path.1)),
        Function::FatMove { block, from, .. } => (*block, named("fat_mv", from)),
        Function::FatCopy { from, .. } => (from.0, named("fat_cp", &from.1)),
        Function::FatWrite { to } => (to.0, named("fat_write", &to.1)),
        _ => (0, "raw_write".to_owned()),
    };
    match error {
        FatError::Target(error) => error,
        other => Error::FunctionFailed {
            function,
            offset: block * BLOCK64,
            reason: other.to_string(),
        },
    }
}
