//! Tasks: choosing one, and checking everything it will do.

use super::{
    function::{Function, Place, compile, env_place},
    resource::Resource,
};
use crate::{
    caps,
    error::Error,
    fat::{FatError, Volumes},
    mbr::partition_offset,
    metaconf::{Bytes, Section, parse_u64, text},
    target::{BLOCK, Cache},
};

/// What is done with a resource.
#[derive(Debug)]
pub(super) struct OnResource {
    pub(super) resource: Resource,
    pub(super) functions: Vec<Function>,
}

/// A task whose functions have all been checked.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) name: String,
    pub(super) on_init: Vec<Function>,
    pub(super) on_resource: Vec<OnResource>,
    pub(super) on_finish: Vec<Function>,
    pub(super) on_error: Vec<Function>,
}

impl Task {
    /// Units of progress of the whole task.
    pub(super) fn units(&self) -> u64 {
        let plain = self
            .on_init
            .iter()
            .chain(&self.on_finish)
            .map(|function| function.units(0, 0));
        let streamed = self.on_resource.iter().flat_map(|on| {
            let (data, full) = (on.resource.data_len(), on.resource.full_len());
            on.functions.iter().map(move |function| function.units(data, full))
        });
        plain.chain(streamed).fold(0, u64::saturating_add)
    }
}

/// Splits a list `count, name, argument, ..., count, name, ...` into calls (format §2.3).
fn calls(list: &[Bytes]) -> Result<Vec<&[Bytes]>, String> {
    let mut calls = Vec::new();
    let mut rest = list;
    while let Some((count, words)) = rest.split_first() {
        let count = parse_u64(count).and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| (1..=caps::CALL_WORDS_MAX).contains(count) && *count <= words.len());
        let count = count.ok_or("the list of functions is damaged")?;
        let (call, after) = words.split_at(count);
        calls.push(call);
        rest = after;
    }
    Ok(calls)
}

/// Checks all functions of a task.
pub(super) fn check(section: &Section, config: &Section) -> Result<Task, Error> {
    let event = |kind: &'static str, place: Place| match section.find(kind, b"") {
        Some(event) => functions(event, kind, place, config),
        None => Ok(Vec::new()),
    };
    let mut task = Task {
        name: text(&section.title),
        on_init: event("on-init", Place::Init)?,
        on_resource: Vec::new(),
        on_finish: event("on-finish", Place::Finish)?,
        on_error: event("on-error", Place::Error)?,
    };
    for on in section.sections("on-resource") {
        let name = text(&on.title);
        let resource = config
            .find("file-resource", &on.title)
            .ok_or_else(|| Error::MissingResource {
                resource: name.clone(),
                reason: "is used by the task but has no file-resource section",
            })?;
        let resource = Resource::new(resource)?;
        let event = format!("on-resource {name}");
        let functions = functions(on, &event, Place::Resource, config)?;
        let takers = functions.iter().filter(|function| function.takes_data()).count();
        if takers > 1 {
            let reason = "only one function can take the resource's data".into();
            return Err(Error::BadFunction {
                event,
                function: "on-resource".into(),
                reason,
            });
        }
        if takers == 1 {
            resource.hash()?;
        }
        task.on_resource.push(OnResource { resource, functions });
    }
    Ok(task)
}

fn functions(event: &Section, name: &str, place: Place, config: &Section) -> Result<Vec<Function>, Error> {
    let bad = |function: String, reason: String| Error::BadFunction {
        event: name.to_owned(),
        function,
        reason,
    };
    let calls = calls(event.list("funlist")).map_err(|reason| bad("funlist".into(), reason))?;
    calls
        .into_iter()
        .map(|call| {
            let function = call.first().map(|name| text(name)).unwrap_or_default();
            compile(call, place, config).map_err(|reason| bad(function, reason))
        })
        .collect()
}

/// Chooses the first task whose name begins with `wanted` and whose requirements hold.
pub(super) fn select<'a>(config: &'a Section, wanted: &str, cache: &mut Cache<'_>) -> Result<&'a Section, Error> {
    let mut reasons = Vec::new();
    for task in config
        .sections("task")
        .filter(|task| task.title.starts_with(wanted.as_bytes()))
    {
        match unmet(task, config, cache)? {
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
fn unmet(task: &Section, config: &Section, cache: &mut Cache<'_>) -> Result<Option<String>, Error> {
    if let Some(offset) = task.number("require-partition1-offset").filter(|offset| *offset >= 0)
        && partition(cache, 1)? != u64::try_from(offset).ok()
    {
        return Ok(Some("require-partition1-offset does not hold".into()));
    }
    let calls = match calls(task.list("reqlist")) {
        Ok(calls) => calls,
        Err(reason) => return Ok(Some(reason)),
    };
    let mut volumes = Volumes::default();
    for call in calls {
        if !holds(call, config, cache, &mut volumes)? {
            let words: Vec<_> = call.iter().map(|word| text(word)).collect();
            return Ok(Some(format!("{} does not hold", words.join(" "))));
        }
    }
    Ok(None)
}

fn partition(cache: &mut Cache<'_>, index: u64) -> Result<Option<u64>, Error> {
    let mut block = [0; BLOCK];
    cache.read(0, &mut block)?;
    Ok(partition_offset(&block, index))
}

/// Whether a requirement holds; one that is unknown or has bad arguments does not (format §4.1).
fn holds(call: &[Bytes], config: &Section, cache: &mut Cache<'_>, volumes: &mut Volumes) -> Result<bool, Error> {
    let (name, args) = match call.split_first() {
        Some((name, args)) => (text(name), args),
        None => return Ok(false),
    };
    match (name.as_str(), args) {
        ("require-partition-offset", [index, block]) => {
            let (Some(index), Some(block)) = (parse_u64(index), parse_u64(block)) else {
                return Ok(false);
            };
            Ok(partition(cache, index)? == Some(block))
        }
        ("require-uboot-variable", [env, variable, value]) => {
            let place = config
                .find("uboot-environment", env)
                .and_then(|section| env_place(section).ok());
            let Some(place) = place else { return Ok(false) };
            let env = super::uboot::read(cache, &place)?;
            Ok(env.is_ok_and(|(env, _)| env.get_bytes(variable) == Some(value.as_slice())))
        }
        ("require-fat-file-exists", [block, path]) => fat_file(cache, volumes, block, path, b""),
        ("require-fat-file-match", [block, path, pattern]) => fat_file(cache, volumes, block, path, pattern),
        _ => Ok(false),
    }
}

/// Whether a file is there and contains some bytes.
fn fat_file(
    cache: &mut Cache<'_>,
    volumes: &mut Volumes,
    block: &[u8],
    path: &[u8],
    pattern: &[u8],
) -> Result<bool, Error> {
    let Some(block) = parse_u64(block) else {
        return Ok(false);
    };
    if pattern.len() >= caps::FAT_PATTERN_MAX {
        return Ok(false);
    }
    let found = volumes
        .at(cache, block)
        .and_then(|volume| volume.contains(cache, path, pattern));
    match found {
        Ok(found) => Ok(found),
        Err(FatError::Target(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_lists_are_refused() {
        let list = |text: &str| {
            text.split(',')
                .map(|word| word.as_bytes().to_vec())
                .collect::<Vec<Bytes>>()
        };
        assert_eq!(calls(&list("2,a,b,1,c")).unwrap().len(), 2);
        for bad in [
            "2,a",
            "0",
            "11,a,a,a,a,a,a,a,a,a,a,a",
            "x,a",
            "1,a,5,b",
            "18446744073709551615,a",
        ] {
            assert!(calls(&list(bad)).is_err(), "{bad}");
        }
    }
}
