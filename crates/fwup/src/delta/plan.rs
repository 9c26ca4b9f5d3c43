//! Which resources of an archive may be patches (format §10). Pure: only the two configs are looked at.
//!
//! A delta is applied by the tasks of the new firmware, on a device that the old firmware was written to. So a resource can
//! be a patch when every on-resource of every task that a device may run has a source for it, and when the old firmware
//! has written the same resource to that source.

use crate::{
    apply::{delta::DeltaPlace, functions::Destination, resource::Resource, task::calls},
    metaconf::{Bytes, Section, parse_u64, text},
    target::BLOCK,
};

/// Versions of fwup from which on a device applies a patch from blocks, from a file, from encrypted blocks.
const RAW: [u64; 3] = [1, 6, 0];
const FAT: [u64; 3] = [1, 10, 0];
const ENCRYPTED: [u64; 3] = [1, 13, 0];

/// What may be done with a resource of the new archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// A patch will do on devices from this version of fwup on.
    Patch([u64; 3]),
    /// It must stay whole, and why.
    Whole(String),
    /// No task that a device may run uses it.
    Unused,
}

/// What may be done with a resource. `tasks` is what the names of the tasks begin with that devices run.
pub(super) fn plan(name: &[u8], old: &Section, new: &Section, tasks: &str) -> Plan {
    match needs(name, old, new, tasks) {
        Ok(Some(version)) => Plan::Patch(version),
        Ok(None) => Plan::Unused,
        Err(reason) => Plan::Whole(reason),
    }
}

/// The version that a patch needs; None when no task uses the resource.
fn needs(name: &[u8], old: &Section, new: &Section, tasks: &str) -> Result<Option<[u64; 3]>, String> {
    let resource = declared(new, name).ok_or("it is not declared")?;
    let mut version = None;
    let upgrades = new
        .sections("task")
        .filter(|task| task.title.starts_with(tasks.as_bytes()));
    for (task, on) in upgrades.filter_map(|task| Some((task, task.find("on-resource", name)?))) {
        let reason = |reason: String| format!("{}: {reason}", text(&task.title));
        let needed = source(on, &resource, name, old).map_err(reason)?;
        version = version.max(Some(needed));
    }
    if version.is_some() && resource.is_sparse() {
        return Err("it has holes, or no length".into());
    }
    Ok(version)
}

fn declared(config: &Section, name: &[u8]) -> Option<Resource> {
    config
        .find("file-resource", name)
        .and_then(|section| Resource::new(section).ok())
}

/// Whether the source of an on-resource will hold the old resource; returns the version that can use it.
fn source(on: &Section, resource: &Resource, name: &[u8], old: &Section) -> Result<[u64; 3], String> {
    let place = DeltaPlace::new(on).map_err(|(key, reason)| format!("{key}: {reason}"))?;
    let place = place.ok_or("it names no source for a delta")?;
    let before = declared(old, name).ok_or("the old firmware does not have it")?;
    if before.is_sparse() {
        return Err("in the old firmware it has holes, or no length".into());
    }
    for call in calls(on.list("funlist"))? {
        if let Some(reason) = destination(call).and_then(|to| place.conflict(&to, resource.data_len())) {
            return Err(reason.into());
        }
    }
    let writes = |wanted: &dyn Fn(&[Bytes]) -> bool| {
        let uses = old.sections("task").filter_map(|task| task.find("on-resource", name));
        let mut lists = uses.filter_map(|on| calls(on.list("funlist")).ok());
        lists.any(|list| list.into_iter().any(wanted))
    };
    match &place {
        DeltaPlace::Raw { range, options, .. } => {
            if before.data_len() > range.end - range.start {
                return Err("its source is smaller than it is in the old firmware".into());
            }
            let encrypted = !options.is_empty();
            let there = |call: &[Bytes]| {
                destination(call) == Some(Destination::Blocks(range.start)) && (call.len() > 2) == encrypted
            };
            if !writes(&there) {
                let block = range.start / BLOCK as u64;
                let how = if encrypted { "encrypted" } else { "plainly" };
                return Err(format!("the old firmware does not write it {how} to block {block}"));
            }
            Ok(if encrypted { ENCRYPTED } else { RAW })
        }
        DeltaPlace::Fat { .. } => {
            let file = |call: &[Bytes]| matches!(destination(call), Some(Destination::File(..)));
            if !writes(&file) {
                return Err("the old firmware does not write it to a file".into());
            }
            Ok(FAT)
        }
    }
}

/// Where a call puts a resource's data. The words are enough: a secret need not be known here.
fn destination(call: &[Bytes]) -> Option<Destination<'_>> {
    let block = |word: &Bytes| parse_u64(word).filter(|block| *block < 1 << 53);
    match call {
        [name, first, ..] if name == b"raw_write" => Some(Destination::Blocks(block(first)? * BLOCK as u64)),
        [name, first, path] if name == b"fat_write" => Some(Destination::File(block(first)?, path)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Env, metaconf};

    const RESOURCE: &str = "file-resource r { length=1000 }";

    fn planned(old_on: &str, on: &str) -> Plan {
        planned_with(RESOURCE, old_on, RESOURCE, on)
    }

    /// The tasks of the old firmware write its resource as `old_on` says; those of the new one as `on` says.
    fn planned_with(old_resource: &str, old_on: &str, resource: &str, on: &str) -> Plan {
        let config = |resource: &str, tasks: &str| {
            let text = format!("{resource} {tasks}");
            metaconf::read(text.as_bytes(), &Env::new()).unwrap()
        };
        let old = format!("task complete {{ on-resource r {{ {old_on} }} }}");
        plan(b"r", &config(old_resource, &old), &config(resource, on), "upgrade")
    }

    fn upgrade(on: &str) -> String {
        format!(
            "task complete {{ on-resource r {{ funlist={{2,raw_write,9}} }} }} task upgrade.a {{ on-resource r {{ {on} }} }}"
        )
    }

    const OLD: &str = "funlist={2,raw_write,100}";
    const RAW_ON: &str = "delta-source-raw-offset=100 delta-source-raw-count=50 funlist={2,raw_write,200}";

    #[test]
    fn blocks_and_files_that_the_old_firmware_wrote_will_do() {
        assert_eq!(planned(OLD, &upgrade(RAW_ON)), Plan::Patch(RAW));
        let fat = "delta-source-fat-offset=63 delta-source-fat-path=a funlist={3,fat_write,63,b}";
        assert_eq!(planned("funlist={3,fat_write,63,x}", &upgrade(fat)), Plan::Patch(FAT));
        let cipher = "cipher=aes-cbc-plain,secret=";
        let secret = RAW_ON.to_owned() + &format!(" delta-source-raw-options=\"{cipher}\"");
        let old = format!("funlist={{3,raw_write,100,\"{cipher}\"}}");
        assert_eq!(planned(&old, &upgrade(&secret)), Plan::Patch(ENCRYPTED));
        // one task needs more than the other
        let both = upgrade(RAW_ON) + &format!(" task upgrade.b {{ on-resource r {{ {fat} }} }}");
        let old = "funlist={2,raw_write,100,3,fat_write,63,x}";
        assert_eq!(planned(old, &both), Plan::Patch(FAT));
    }

    #[test]
    fn what_no_device_would_use_is_unused() {
        assert_eq!(
            planned(OLD, "task complete { on-resource r { funlist={2,raw_write,9} } }"),
            Plan::Unused
        );
        assert_eq!(planned(OLD, "task upgrade { on-init { } }"), Plan::Unused);
    }

    #[test]
    fn everything_else_stays_whole() {
        let reason = |plan: Plan| match plan {
            Plan::Whole(reason) => reason,
            other => panic!("{other:?}"),
        };
        let cases = [
            // one of two tasks has no source
            (
                OLD,
                upgrade(RAW_ON) + " task upgrade.b { on-resource r { funlist={2,raw_write,9} } }",
                "names no source",
            ),
            (OLD, upgrade("delta-source-raw-offset=x"), "no number"),
            (
                OLD,
                upgrade("delta-source-raw-offset=100 delta-source-raw-count=0"),
                "names no source",
            ),
            (OLD, upgrade("delta-source-fat-offset=63"), "names no source"),
            (
                "funlist={2,raw_write,101}",
                upgrade(RAW_ON),
                "does not write it plainly to block 100",
            ),
            ("funlist={3,raw_write,100,\"cipher=x\"}", upgrade(RAW_ON), "plainly"),
            (
                OLD,
                upgrade(&(RAW_ON.to_owned() + " delta-source-raw-options=\"cipher=x\"")),
                "encrypted",
            ),
            (OLD, upgrade(&RAW_ON.replace("200", "148")), "overwrite the blocks"),
            (OLD, upgrade(&RAW_ON.replace("count=50", "count=1")), "smaller"),
            (
                OLD,
                upgrade("delta-source-fat-offset=63 delta-source-fat-path=a funlist={3,fat_write,63,b}"),
                "to a file",
            ),
            (
                "funlist={3,fat_write,63,x}",
                upgrade("delta-source-fat-offset=63 delta-source-fat-path=A funlist={3,fat_write,63,a}"),
                "overwrite the file",
            ),
            (OLD, upgrade(&RAW_ON.replace("{2,", "{9,")), "damaged"),
        ];
        for (old, new, why) in cases {
            let reason = reason(planned(old, &new));
            assert!(reason.contains(why), "{reason}, not {why}");
        }
        let sparse = "file-resource r { length={500,100,500} }";
        for (old, new, why) in [
            ("", RESOURCE, "does not have it"),
            (sparse, RESOURCE, "has holes"),
            (RESOURCE, sparse, "has holes"),
            (RESOURCE, "file-resource r { }", "no length"),
            (RESOURCE, "", "not declared"),
        ] {
            let reason = reason(planned_with(old, OLD, new, &upgrade(RAW_ON)));
            assert!(reason.contains(why), "{reason}, not {why}");
        }
    }
}
