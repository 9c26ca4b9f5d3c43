//! `--sparse-check`: whether files at a path can have holes.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use nix::unistd::{Whence, lseek};

/// Makes a file at a path, or in a folder, with a hole of `size` bytes, looks whether it has one, and removes it again.
///
/// # Errors
/// The file exists already, or cannot be made.
pub(crate) fn is_supported(path: &Path, size: u64) -> io::Result<bool> {
    let path = if path.is_dir() {
        path.join(".fwup-sparse-check")
    } else {
        path.to_owned()
    };
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    let found = has_hole(&file, size);
    fs::remove_file(&path)?;
    found
}

fn has_hole(file: &File, size: u64) -> io::Result<bool> {
    file.write_all_at(&[1], size)?;
    Ok(lseek(file, 0, Whence::SeekData)? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        is_supported(dir.path(), 1 << 20).unwrap();
        is_supported(&dir.path().join("x"), 1 << 20).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(dir.path().join("x"), "mine").unwrap();
        assert!(is_supported(&dir.path().join("x"), 1).is_err());
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"mine");
        // without room for a hole there is none
        assert!(!is_supported(&dir.path().join("y"), 0).unwrap());
    }
}
