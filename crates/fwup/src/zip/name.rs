//! Names of entries and of resources (format §1.1).

use crate::{caps, error::Error};

/// Checks an entry's name: relative, no way up, nothing that a shell or a terminal could take for something else.
/// A folder's name ends with a slash.
pub(super) fn check(bytes: Vec<u8>) -> Result<String, Error> {
    let name = String::from_utf8(bytes).map_err(|e| bad(&e.into_bytes(), "it is not UTF-8"))?;
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > caps::ENTRY_NAME_MAX {
        "it is too long"
    } else if name.starts_with('/') {
        "it is an absolute path"
    } else if name.chars().any(|c| c.is_control() || c == '\\') {
        "it contains a control character or a backslash"
    } else if name.split('/').any(|part| part == "..") {
        "it leads out of its folder"
    } else if name
        .strip_suffix('/')
        .unwrap_or(&name)
        .split('/')
        .any(|part| part.is_empty() || part == ".")
    {
        "it has an empty component"
    } else {
        return Ok(name);
    };
    Err(bad(name.as_bytes(), reason))
}

fn bad(name: &[u8], reason: &'static str) -> Error {
    let end = name.len().min(caps::ENTRY_NAME_MAX);
    Error::BadEntryName {
        name: String::from_utf8_lossy(&name[..end]).escape_debug().to_string(),
        reason,
    }
}

/// The resource that an entry holds.
pub(crate) fn resource_name(entry: &str) -> String {
    entry
        .strip_prefix("data/")
        .map_or_else(|| format!("/{entry}"), str::to_owned)
}

/// The entry that holds a resource.
///
/// # Errors
/// Why the resource cannot have that name.
pub(crate) fn entry_name(resource: &str) -> Result<String, &'static str> {
    match resource.strip_prefix('/') {
        Some("meta.conf" | "meta.conf.ed25519") => Err("this name is taken by the archive itself"),
        Some("" | "data") => Err("this name is a folder of the archive"),
        Some(rest) if rest.starts_with("data/") => Err("a resource in data/ is named without a leading /data/"),
        Some(rest) => checked(rest),
        None if resource.is_empty() => Err("a resource needs a name"),
        None => checked(&format!("data/{resource}")),
    }
}

fn checked(entry: &str) -> Result<String, &'static str> {
    match check(entry.as_bytes().to_vec()) {
        Ok(name) if name.ends_with('/') => Err("a resource's name cannot end with a slash"),
        Ok(name) => Ok(name),
        Err(Error::BadEntryName { reason, .. }) => Err(reason),
        Err(_) => Err("not a name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            "/x",
            "../x",
            "data/../../x",
            "data//x",
            "a/./b",
            "a\\b",
            "a\0b",
            "x\n",
        ] {
            assert!(
                matches!(check(name.into()), Err(Error::BadEntryName { .. })),
                "{name:?}"
            );
        }
        assert!(check(vec![b'a'; caps::ENTRY_NAME_MAX + 1]).is_err());
        assert!(check(vec![0xff]).is_err());
        assert_eq!(check(b"data/".to_vec()).unwrap(), "data/");
        assert_eq!(check(b"data/..x".to_vec()).unwrap(), "data/..x");
    }

    #[test]
    fn resources_and_entries_map_both_ways() {
        for resource in ["rootfs.img", "/at-root", "sub/file"] {
            assert_eq!(resource_name(&entry_name(resource).unwrap()), resource);
        }
        for resource in ["", "/", "/data", "/data/x", "/meta.conf", "x/", "../x"] {
            assert!(entry_name(resource).is_err(), "{resource}");
        }
    }
}
