//! Which task applies: the first one whose name fits and whose requirements hold (format §4.1).

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use super::{
    Host,
    functions::{env_place, read_env},
    system::System,
    task::calls,
};
use crate::{
    caps,
    error::Error,
    fat::{FatError, Volumes},
    mbr::partition_offset,
    metaconf::{Bytes, Section, parse_u64, text},
    target::{BLOCK, Cache},
};

/// What requirements are held against.
pub(super) struct Facts<'a, 't> {
    config: &'a Section,
    cache: &'a mut Cache<'t>,
    volumes: Volumes,
    host: Option<&'a dyn Host>,
    system: System,
}

impl<'a, 't> Facts<'a, 't> {
    pub(super) fn new(config: &'a Section, cache: &'a mut Cache<'t>, host: Option<&'a dyn Host>) -> Self {
        Self {
            config,
            cache,
            volumes: Volumes::default(),
            host,
            system: System::default(),
        }
    }

    /// Chooses the first task whose name begins with `wanted` and whose requirements hold.
    ///
    /// # Errors
    /// [`Error::NoApplicableTask`], or the target cannot be read.
    pub(super) fn select(mut self, wanted: &str) -> Result<&'a Section, Error> {
        let mut reasons = Vec::new();
        for task in self.config.sections("task") {
            if !task.title.starts_with(wanted.as_bytes()) {
                continue;
            }
            match self.unmet(task)? {
                None => return Ok(task),
                Some(reason) => reasons.push(format!("{}: {reason}", text(&task.title))),
            }
        }
        let reason = if reasons.is_empty() {
            "the firmware has no such task".to_owned()
        } else {
            reasons.join("; ")
        };
        Err(Error::NoApplicableTask {
            task: wanted.to_owned(),
            reason,
        })
    }

    /// The first requirement of a task that does not hold. Only a failing target is an error.
    fn unmet(&mut self, task: &Section) -> Result<Option<String>, Error> {
        if let Some(offset) = task.number("require-partition1-offset").filter(|offset| *offset >= 0)
            && self.partition(1)? != u64::try_from(offset).ok()
        {
            return Ok(Some("require-partition1-offset does not hold".into()));
        }
        let calls = match calls(task.list("reqlist")) {
            Ok(calls) => calls,
            Err(reason) => return Ok(Some(reason)),
        };
        for call in calls {
            if !self.holds(call)? {
                let words: Vec<_> = call.iter().map(|word| text(word)).collect();
                let unsafe_needed = self.host.is_none() && call.first().is_some_and(|name| name == b"require-execute");
                let why = if unsafe_needed {
                    "was not allowed (--unsafe)"
                } else {
                    "does not hold"
                };
                return Ok(Some(format!("{} {why}", words.join(" "))));
            }
        }
        Ok(None)
    }

    fn partition(&mut self, index: u64) -> Result<Option<u64>, Error> {
        let mut block = [0; BLOCK];
        self.cache.read(0, &mut block)?;
        Ok(partition_offset(&block, index))
    }

    /// Whether a requirement holds; one that is unknown or has bad arguments does not.
    fn holds(&mut self, call: &[Bytes]) -> Result<bool, Error> {
        let Some((name, args)) = call.split_first() else {
            return Ok(false);
        };
        match (name.as_slice(), args) {
            (b"require-partition-offset", [index, block]) => {
                let (Some(index), Some(block)) = (parse_u64(index), parse_u64(block)) else {
                    return Ok(false);
                };
                Ok(self.partition(index)? == Some(block))
            }
            (b"require-uboot-variable", [env, variable, value]) => {
                let section = self.config.find("uboot-environment", env);
                let Some(place) = section.and_then(|section| env_place(section).ok()) else {
                    return Ok(false);
                };
                let env = read_env(self.cache, &place)?;
                Ok(env.is_ok_and(|(env, _)| env.get_bytes(variable) == Some(value.as_slice())))
            }
            (b"require-path-on-device", [path, device]) => Ok(self.system.is_on_device(as_path(path), as_path(device))),
            (b"require-path-at-offset", [path, block]) => {
                Ok(parse_u64(block).is_some_and(|block| self.system.is_at_offset(as_path(path), block)))
            }
            (b"require-fat-file-exists", [block, path]) => self.fat_file(block, path, b""),
            (b"require-fat-file-match", [block, path, pattern]) => self.fat_file(block, path, pattern),
            (b"require-execute", [command]) => {
                let command = OsStr::from_bytes(command);
                Ok(self.host.is_some_and(|host| host.execute(command).is_ok()))
            }
            _ => Ok(false),
        }
    }

    /// Whether a file is there and contains some bytes.
    fn fat_file(&mut self, block: &[u8], path: &[u8], pattern: &[u8]) -> Result<bool, Error> {
        let Some(block) = parse_u64(block).filter(|block| *block <= caps::BLOCK_MAX) else {
            return Ok(false);
        };
        if pattern.len() >= caps::FAT_PATTERN_MAX {
            return Ok(false);
        }
        let volume = self.volumes.at(self.cache, block);
        match volume.and_then(|volume| volume.contains(self.cache, path, pattern)) {
            Ok(found) => Ok(found),
            Err(FatError::Target(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }
}

fn as_path(word: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(word))
}
