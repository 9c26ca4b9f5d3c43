//! Tasks: checking everything that one will do.

use super::{
    ApplyOptions,
    delta::DeltaSource,
    functions::{Function, Place, compile},
    resource::Resource,
};
use crate::{
    caps,
    error::Error,
    metaconf::{Bytes, Section, parse_u64, text},
};

/// What is done with a resource.
#[derive(Debug)]
pub(super) struct OnResource {
    pub(super) resource: Resource,
    pub(super) functions: Vec<Function>,
    /// What a delta is applied to.
    pub(super) delta: Option<DeltaSource>,
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

    /// Refuses functions that the caller does not allow, or whose work cannot fit on a target of `disk` blocks.
    pub(super) fn allow(&self, options: &ApplyOptions<'_>, disk: Option<u64>) -> Result<(), Error> {
        let events = [
            ("on-init", &self.on_init),
            ("on-finish", &self.on_finish),
            ("on-error", &self.on_error),
        ];
        let events = events
            .into_iter()
            .map(|(event, functions)| (event.to_owned(), functions));
        let streamed = self.on_resource.iter();
        let streamed = streamed.map(|on| (format!("on-resource {}", on.resource.name), &on.functions));
        for (event, functions) in events.chain(streamed) {
            for function in functions {
                if let Some(reason) = function.refused(options, disk) {
                    return Err(Error::NotAllowed {
                        event,
                        function: function.name,
                        reason,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Splits a list `count, name, argument, ..., count, name, ...` into calls (format §2.3).
pub(crate) fn calls(list: &[Bytes]) -> Result<Vec<&[Bytes]>, String> {
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
        let delta = DeltaSource::new(on).map_err(|(key, reason)| Error::BadFunction {
            event,
            function: key.to_owned(),
            reason,
        })?;
        task.on_resource.push(OnResource {
            resource,
            functions,
            delta,
        });
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
