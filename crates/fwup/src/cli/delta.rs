//! `--delta`: makes a delta and says what became of each resource.

use std::{fmt::Write as _, fs::File, path::Path};

use muster_fwup::{DeltaChoice, DeltaOptions, DeltaReport};

use super::{
    Failure,
    commands::{environment, into_file},
    options::Args,
};

/// Makes a delta; returns a table of the resources.
pub(crate) fn delta(args: &Args, old: &Path) -> Result<String, Failure> {
    let new = args.input.as_deref().ok_or("name the new archive behind the old one")?;
    let output = args.output.as_deref().ok_or("-o names the delta to write")?;
    let open = |path: &Path| File::open(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut options = DeltaOptions {
        compression: args.level.unwrap_or(9),
        drop_unused: args.drop_unused,
        env: environment(),
        ..DeltaOptions::default()
    };
    if let Some(task) = &args.task {
        options.tasks.clone_from(task);
    }
    let (old, new) = (open(old)?, open(new)?);
    let mut report = None;
    into_file(Some(output), |out| {
        report = Some(muster_fwup::delta(old, new, out, &options)?);
        Ok(())
    })?;
    Ok(report.as_ref().map(table).unwrap_or_default())
}

/// A line for each resource, and one for the whole.
fn table(report: &DeltaReport) -> String {
    let names = report.resources.iter().map(|resource| resource.name.chars().count());
    let width = names.max().unwrap_or(0).max("archive".len());
    let mut out = format!("{:width$} {:>12} {:>12}\n", "", "full", "delta");
    let mut line = |name: &str, full: u64, packed: u64, what: &str| {
        // writing to a string cannot fail
        let _ = writeln!(out, "{name:width$} {full:>12} {packed:>12}  {what}");
    };
    for resource in &report.resources {
        let what = match &resource.choice {
            DeltaChoice::Patch { size } => format!("patch of {size} bytes"),
            DeltaChoice::Whole { reason } => format!("whole: {reason}"),
            DeltaChoice::Dropped => "left out".to_owned(),
        };
        line(&resource.name, resource.full, resource.packed, &what);
    }
    let needs = format!("needs fwup {}", report.fwup_version);
    line("archive", report.full, report.packed, &needs);
    out
}
