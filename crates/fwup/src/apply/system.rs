//! What the running system says about its disks: the requirements on paths (format §4.1).

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::sys::stat::{major, minor};

use crate::{caps, metaconf::parse_u64};

/// A device's major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Device(u64, u64);

impl Device {
    /// Takes apart a number as Linux hands it out.
    fn new(number: u64) -> Self {
        Self(major(number), minor(number))
    }

    /// Reads `8:1`.
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// The kernel's description of devices.
#[derive(Clone, Debug)]
pub(super) struct System {
    /// Where sysfs is mounted.
    sysfs: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self { sysfs: "/sys".into() }
    }
}

impl System {
    /// Whether the file system that holds a path lies on a device, perhaps below a device mapper.
    pub(super) fn is_on_device(&self, path: &Path, device: &Path) -> bool {
        let (Ok(path), Ok(device)) = (fs::metadata(path), fs::metadata(device)) else {
            return false;
        };
        self.reaches(
            Device::new(path.dev()),
            Device::new(device.rdev()),
            caps::SLAVES_DEPTH_MAX,
        )
    }

    /// Whether a device is another one, or is made of it.
    fn reaches(&self, from: Device, to: Device, depth: usize) -> bool {
        if from == to {
            return true;
        }
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        let slaves = fs::read_dir(self.folder(from).join("slaves"));
        slaves
            .into_iter()
            .flatten()
            .flatten()
            .take(caps::SLAVES_MAX)
            .filter_map(|slave| Device::parse(&fs::read_to_string(slave.path().join("dev")).ok()?))
            .any(|slave| self.reaches(slave, to, depth))
    }

    fn folder(&self, device: Device) -> PathBuf {
        self.sysfs.join(format!("dev/block/{}:{}", device.0, device.1))
    }

    /// Whether the partition that holds a path begins at a block of its disk.
    pub(super) fn is_at_offset(&self, path: &Path, block: u64) -> bool {
        fs::metadata(path).is_ok_and(|path| self.start(Device::new(path.dev())) == Some(block))
    }

    fn start(&self, device: Device) -> Option<u64> {
        let text = fs::read_to_string(self.folder(device).join("start")).ok()?;
        parse_u64(text.trim().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system with a device 254:0 on 254:1 on 254:2 on 254:3 on 8:2, which begins at block 2048.
    fn system() -> (tempfile::TempDir, System) {
        let sysfs = tempfile::tempdir().unwrap();
        let chain = ["254:0", "254:1", "254:2", "254:3", "8:2"];
        for pair in chain.windows(2) {
            let slave = sysfs.path().join("dev/block").join(pair[0]).join("slaves/below");
            fs::create_dir_all(&slave).unwrap();
            fs::write(slave.join("dev"), format!("{}\n", pair[1])).unwrap();
        }
        let partition = sysfs.path().join("dev/block/8:2");
        fs::create_dir_all(&partition).unwrap();
        fs::write(partition.join("start"), "2048\n").unwrap();
        let system = System {
            sysfs: sysfs.path().to_owned(),
        };
        (sysfs, system)
    }

    #[test]
    fn devices_are_followed_down_three_levels() {
        let (_sysfs, system) = system();
        let reaches = |from, to| system.reaches(Device(254, from), to, caps::SLAVES_DEPTH_MAX);
        assert!(reaches(0, Device(254, 0)));
        assert!(reaches(0, Device(254, 3)));
        assert!(!reaches(0, Device(8, 2)), "four levels down");
        assert!(reaches(1, Device(8, 2)));
        assert!(!reaches(3, Device(254, 2)), "upwards");
        assert!(!reaches(9, Device(8, 2)));
        assert_eq!(caps::SLAVES_DEPTH_MAX, 3);
    }

    #[test]
    fn a_device_mapper_that_goes_in_circles_ends() {
        let (sysfs, system) = system();
        for number in 0..20 {
            let slave = sysfs.path().join(format!("dev/block/9:9/slaves/{number}"));
            fs::create_dir_all(&slave).unwrap();
            fs::write(slave.join("dev"), "9:9\n").unwrap();
        }
        assert!(!system.reaches(Device(9, 9), Device(8, 2), caps::SLAVES_DEPTH_MAX));
    }

    #[test]
    fn a_partition_begins_where_sysfs_says() {
        let (sysfs, system) = system();
        assert_eq!(system.start(Device(8, 2)), Some(2048));
        assert_eq!(system.start(Device(8, 1)), None);
        // the file system of the test itself
        let device = Device::new(fs::metadata(sysfs.path()).unwrap().dev());
        let folder = system.folder(device);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("start"), "0x40").unwrap();
        assert!(system.is_at_offset(sysfs.path(), 64));
        assert!(!system.is_at_offset(sysfs.path(), 65));
        assert!(!system.is_at_offset(&sysfs.path().join("nothing"), 64));
    }

    #[test]
    fn numbers_are_read_as_sysfs_writes_them() {
        assert_eq!(Device::new(0x802), Device(8, 2));
        assert_eq!(Device::parse("8:17\n"), Some(Device(8, 17)));
        for bad in ["", "8", "8:x", ":"] {
            assert_eq!(Device::parse(bad), None);
        }
    }

    #[test]
    fn paths_are_on_no_device_that_is_not_there() {
        let system = System::default();
        assert!(!system.is_on_device(Path::new("/"), Path::new("/dev/null")));
        assert!(!system.is_on_device(Path::new("/nothing"), Path::new("/dev/null")));
        assert!(!system.is_on_device(Path::new("/"), Path::new("/nothing")));
    }
}
