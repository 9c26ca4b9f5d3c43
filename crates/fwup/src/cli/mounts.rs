//! Unmounting what is mounted from a device before it is written to.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, umount2};

/// Unmounts everything from a device and its partitions, the last mount first.
///
/// # Errors
/// A mount is busy, or may not be taken away.
pub(crate) fn unmount_all(device: &Path) -> Result<(), String> {
    let device = fs::canonicalize(device).map_err(|error| format!("{}: {error}", device.display()))?;
    let mounts = fs::read("/proc/self/mounts").map_err(|error| format!("/proc/self/mounts: {error}"))?;
    for place in places(&mounts, &device).into_iter().rev() {
        umount2(&place, MntFlags::empty()).map_err(|error| {
            let place = place.display();
            format!("cannot unmount {place}: {error}; close what uses it, or say --no-unmount")
        })?;
    }
    Ok(())
}

/// Where things are mounted from a device or its partitions, in the order of the table.
fn places(mounts: &[u8], device: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for line in mounts.split(|byte| *byte == b'\n') {
        let mut words = line.split(|byte| *byte == b' ');
        if let (Some(source), Some(place)) = (words.next(), words.next())
            && is_part_of(&unescaped(source), device.as_os_str().as_encoded_bytes())
        {
            places.push(OsString::from_vec(unescaped(place)).into());
        }
    }
    places
}

/// Whether a device is another one or a partition of it: `sda1` of `sda`, `mmcblk0p1` of `mmcblk0`; not `sdab` of `sda`.
fn is_part_of(source: &[u8], device: &[u8]) -> bool {
    let Some(rest) = source.strip_prefix(device) else {
        return false;
    };
    let number = if device.last().is_some_and(u8::is_ascii_digit) {
        rest.strip_prefix(b"p")
    } else {
        Some(rest)
    };
    rest.is_empty() || number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// Resolves `\040` and the like.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] =
        b"proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /media/My\\040Card vfat rw 0 0\n\
        /dev/sdb /mnt/whole ext4 rw 0 0\n/dev/sdbb1 /other ext4 rw 0 0\n/dev/mmcblk0p2 /data ext4 rw 0 0\n\
        /dev/mmcblk01 /no ext4 rw 0 0\n/dev/sdb12 /media/My\\040Card/inner ext4 rw 0 0\n\n/dev/sdbp1 /no2 x\nrubbish";

    #[test]
    fn only_the_device_and_its_partitions_are_meant() {
        let of = |device: &str| places(MOUNTS, Path::new(device));
        let want: Vec<PathBuf> = ["/media/My Card", "/mnt/whole", "/media/My Card/inner"]
            .map(PathBuf::from)
            .into();
        assert_eq!(of("/dev/sdb"), want);
        assert_eq!(of("/dev/mmcblk0"), [PathBuf::from("/data")]);
        assert_eq!(of("/dev/sdb1"), [PathBuf::from("/media/My Card")]);
        assert!(of("/dev/sdc").is_empty());
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescaped(br"a\040b\134\04\9"), br"a b\\04\9");
    }
}
