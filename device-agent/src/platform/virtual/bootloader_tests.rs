use std::fs::OpenOptions;

use super::*;

/// A disk with 1.0.0 in slot a and 1.1.0 in slot b.
struct Disk {
    directory: tempfile::TempDir,
    fw_env: FwEnv,
}

const SLOT_A: u64 = 100;
const SLOT_B: u64 = 200;

impl Disk {
    fn new(variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        std::fs::write(&path, vec![0; 300 * 512]).unwrap();
        std::fs::write(directory.path().join("fw_env.config"), "disk.img 0x2000 0x2000\n").unwrap();
        let disk = Self {
            fw_env: FwEnv::read(&directory.path().join("fw_env.config")).unwrap(),
            directory,
        };
        disk.write(510, &[0x55, 0xaa]);
        for (partition, start) in [(1, SLOT_A), (2, SLOT_B)] {
            disk.write(446 + 16 * partition + 8, &(start as u32).to_le_bytes());
            disk.write(446 + 16 * partition + 12, &100u32.to_le_bytes());
        }
        disk.write(SLOT_A * 512, &slot::image("1.0.0", Behaviour::Ok, b"old"));
        disk.write(SLOT_B * 512, &slot::image("1.1.0", Behaviour::NoNetwork, b"new"));
        let mut env = UbootEnv::new();
        let slots = [
            ("a.nerves_fw_version", "1.0.0"),
            ("b.nerves_fw_version", "1.1.0"),
            ("b.nerves_fw_uuid", "new"),
        ];
        for (name, value) in slots.iter().chain(variables) {
            env.set(name, value).unwrap();
        }
        disk.fw_env.save(&env).unwrap();
        disk
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("disk.img")
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.path()).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    fn boot(&self) -> Result<Boot, BootError> {
        boot(&self.path(), &self.fw_env)
    }

    fn get(&self, name: &str) -> String {
        self.fw_env.load().unwrap().get(name).unwrap_or_default().to_owned()
    }
}

fn freshly_updated() -> Disk {
    Disk::new(&[
        ("nerves_fw_active", "b"),
        ("nerves_fw_validated", "0"),
        ("nerves_fw_booted", "0"),
    ])
}

#[test]
fn validated_slot_is_started_as_often_as_one_likes() {
    let disk = Disk::new(&[
        ("nerves_fw_active", "a"),
        ("nerves_fw_validated", "1"),
        ("nerves_fw_booted", "0"),
    ]);
    for _ in 0..3 {
        let boot = disk.boot().unwrap();
        assert_eq!((boot.behaviour, boot.on_trial), (Behaviour::Ok, false));
        assert_eq!(boot.revert, None);
    }
}

#[test]
fn new_slot_gets_one_boot_and_then_the_old_one_is_back_for_good() {
    let disk = freshly_updated();
    let first = disk.boot().unwrap();
    assert_eq!((first.behaviour, first.on_trial), (Behaviour::NoNetwork, true));
    assert_eq!(disk.get("nerves_fw_booted"), "1");
    let second = disk.boot().unwrap();
    let revert = second.revert.unwrap();
    assert_eq!((second.behaviour, revert.uuid.as_str()), (Behaviour::Ok, "new"));
    assert_eq!(disk.get("nerves_fw_active"), "a");
    let third = disk.boot().unwrap();
    assert_eq!(third.revert, None);
}

#[test]
fn new_slot_that_is_validated_stays() {
    let disk = freshly_updated();
    disk.boot().unwrap();
    crate::platform::facts::validate(&disk.fw_env).unwrap();
    let boot = disk.boot().unwrap();
    assert_eq!((boot.behaviour, boot.on_trial), (Behaviour::NoNetwork, false));
    assert_eq!(boot.revert, None);
}

#[test]
fn slot_with_a_flipped_byte_never_starts() {
    let disk = freshly_updated();
    disk.write(SLOT_B * 512 + 512, b"N");
    let boot = disk.boot().unwrap();
    assert!(boot.revert.unwrap().reason.contains("refused"));
    assert_eq!(disk.get("nerves_fw_active"), "a");
}

#[test]
fn version_in_the_environment_alone_starts_nothing() {
    let disk = freshly_updated();
    disk.write(SLOT_B * 512, &slot::image("1.0.0", Behaviour::Ok, b"new"));
    assert!(
        disk.boot()
            .unwrap()
            .revert
            .unwrap()
            .reason
            .contains("holds version 1.0.0")
    );
}

#[test]
fn two_bad_slots_are_a_clear_error() {
    let disk = freshly_updated();
    disk.write(SLOT_B * 512 + 512, b"N");
    disk.write(SLOT_A * 512 + 512, b"O");
    let text = disk.boot().unwrap_err().to_string();
    assert!(text.contains("slot b") && text.contains("slot a"), "{text}");
    assert_eq!(disk.get("nerves_fw_active"), "b");
}

#[test]
fn disk_without_a_partition_table_or_environment_is_a_clear_error() {
    let disk = freshly_updated();
    disk.write(510, &[0, 0]);
    assert!(matches!(disk.boot(), Err(BootError::NothingBoots { .. })));
    disk.write(0x2000, &[0; 64]);
    assert!(disk.boot().unwrap_err().to_string().contains("damaged"));
}
