//! Postgres' programs on this machine, and the wrappers through which they are started.

use std::path::{Path, PathBuf};

use super::ClusterError;
use super::place::{self, FileError, Owner};

/// Where Debian puts them: a folder for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The folder that holds initdb, pg_ctl and postgres.
#[derive(Debug)]
pub(super) struct Programs(PathBuf);

impl Programs {
    /// The programs for the cluster at `data`: those in the folder `given`, else of the version that made the cluster, else
    /// the newest.
    pub(super) fn find(data: &Path, given: Option<&Path>) -> Result<Self, ClusterError> {
        if let Some(folder) = given {
            return complete(folder).ok_or_else(|| ClusterError::NoPrograms {
                looked: format!("--postgres-bin {} holds no initdb and pg_ctl", folder.display()),
            });
        }
        let version = std::fs::read_to_string(data.join("PG_VERSION")).ok();
        let found = installed();
        let Some(version) = version.as_deref().map(str::trim) else {
            return newest(found).ok_or_else(|| ClusterError::NoPrograms {
                looked: format!("no initdb in {DEBIAN}/*/bin nor on the PATH"),
            });
        };
        let fits = found
            .into_iter()
            .filter(|(has, _)| has.is_none_or(|has| has.to_string() == version));
        newest(fits.collect()).ok_or_else(|| ClusterError::OtherVersion {
            data: data.display().to_string(),
            version: version.to_owned(),
        })
    }

    /// Writes the wrappers anew and returns the folder whose `bin` they are in. They run the programs as the owner, with
    /// nothing of our environment, in a folder that the owner may read.
    pub(super) fn wrap(&self, folder: &Path, owner: &Owner) -> Result<PathBuf, FileError> {
        let bin = folder.join("bin");
        place::make_dirs(&bin)?;
        for program in ["initdb", "pg_ctl", "postgres"] {
            let real = quoted(&self.0.join(program));
            let script = format!(
                "#!/bin/sh\n# Written anew at every start.\ncd / && exec env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 {}{real} \"$@\"\n",
                owner.prefix()
            );
            place::write_program(&bin.join(program), &script)?;
        }
        Ok(folder.to_path_buf())
    }
}

/// Every folder of programs, with its version where its path says it.
fn installed() -> Vec<(Option<u32>, Programs)> {
    let debian = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut found: Vec<(Option<u32>, Programs)> = debian
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((Some(version), complete(&entry.path().join("bin"))?))
        })
        .collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find_map(|folder| {
        let real = folder.join("initdb").canonicalize().ok()?;
        complete(real.parent()?)
    });
    found.extend(on_path.map(|programs| (None, programs)));
    found
}

fn newest(found: Vec<(Option<u32>, Programs)>) -> Option<Programs> {
    found
        .into_iter()
        .max_by_key(|(version, _)| *version)
        .map(|(_, programs)| programs)
}

fn complete(folder: &Path) -> Option<Programs> {
    let all = ["initdb", "pg_ctl", "postgres"];
    let folder = folder.canonicalize().ok()?;
    all.iter()
        .all(|program| folder.join(program).is_file())
        .then_some(Programs(folder))
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_made_the_cluster_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("PG_VERSION"), "9\n").unwrap();
        let bin = dir.path().join("bin");
        let text = Programs::find(dir.path(), Some(&bin)).unwrap_err().to_string();
        assert!(
            text.contains("--postgres-bin") && text.contains("holds no initdb"),
            "{text}"
        );
        if std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join("initdb").exists()) {
            return;
        }
        let text = Programs::find(dir.path(), None).unwrap_err().to_string();
        assert!(text.contains("apt-get install postgresql-9"), "{text}");
    }
}
