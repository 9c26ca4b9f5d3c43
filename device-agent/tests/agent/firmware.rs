//! Signed firmware in the kiosk's layout, and disks that run it.

use std::path::Path;

use muster_agent::platform::slot::{self, Behaviour};
use muster_fwup::{ApplyOptions, Archive, CreateOptions, Env, FileTarget, PrivateKey, PublicKey, create_from_str};
use muster_link::{FirmwareMeta, ToDevice, Update};

const CONFIG: &str = include_str!("kiosk.conf");
/// Incompressible, so that a download has a middle.
const CONTENT_BYTES: usize = 200_000;

pub(crate) struct Firmware {
    pub(crate) uuid: String,
    pub(crate) version: String,
    pub(crate) bytes: Vec<u8>,
}

/// Bytes that do not compress and are the same each time.
fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

impl Firmware {
    pub(crate) fn new(key: &PrivateKey, version: &str, behaviour: Behaviour) -> Self {
        let rootfs = slot::image(version, behaviour, &noise(version, CONTENT_BYTES));
        Self::with_rootfs(key, version, &rootfs)
    }

    /// Firmware of several parts.
    pub(crate) fn large(key: &PrivateKey, version: &str) -> Self {
        let rootfs = slot::image(version, Behaviour::Ok, &noise(version, 3_000_000));
        Self::with_rootfs(key, version, &rootfs)
    }

    /// Firmware whose slot is not what its first block says, rightly signed.
    pub(crate) fn flipped(key: &PrivateKey, version: &str) -> Self {
        let mut rootfs = slot::image(version, Behaviour::Ok, &noise(version, CONTENT_BYTES));
        rootfs[100_000] ^= 1;
        Self::with_rootfs(key, version, &rootfs)
    }

    fn with_rootfs(key: &PrivateKey, version: &str, rootfs: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("rootfs.img"), rootfs).unwrap();
        std::fs::write(directory.path().join("bzImage"), noise("kernel", 20_000)).unwrap();
        let options = CreateOptions {
            signing_key: Some(key),
            ..CreateOptions::default()
        };
        let mut bytes = Vec::new();
        let config = CONFIG.replace("@VERSION@", version);
        let metadata = create_from_str(&config, directory.path(), &Env::new(), &options, &mut bytes).unwrap();
        Self {
            uuid: metadata.uuid.to_string(),
            version: version.to_owned(),
            bytes,
        }
    }

    /// Writes a whole disk that runs this firmware.
    pub(crate) fn flash(&self, key: &PublicKey, disk: &Path) {
        std::fs::write(disk, b"").unwrap();
        let archive = Archive::open(&self.bytes[..], std::slice::from_ref(key), &Env::new()).unwrap();
        let mut target = FileTarget::open(disk).unwrap();
        archive
            .apply(&mut target, "complete", &ApplyOptions::default(), &mut |_| ())
            .unwrap();
    }

    /// The update with every checksum that a server may tell.
    pub(crate) fn checked_update(&self, url: &str) -> ToDevice {
        use sha2::Digest;
        let hex = |bytes: &[u8]| {
            let sum = sha2::Sha256::digest(bytes);
            let digits = |text: String, byte: &u8| text + &format!("{byte:02X}");
            sum.iter().fold(String::new(), digits)
        };
        let ToDevice::Update(mut update) = self.update(url) else {
            unreachable!();
        };
        update.checksum = Some(hex(&self.bytes));
        update.partials_checksums = Some(self.bytes.chunks(1 << 20).map(hex).collect());
        ToDevice::Update(update)
    }

    pub(crate) fn update(&self, url: &str) -> ToDevice {
        ToDevice::Update(Box::new(Update {
            update_available: true,
            firmware_url: Some(url.to_owned()),
            firmware_meta: Some(FirmwareMeta {
                uuid: self.uuid.clone(),
                version: self.version.clone(),
                ..FirmwareMeta::default()
            }),
            size: Some(self.bytes.len() as u64),
            checksum: None,
            partials_checksums: None,
            deployment_id: None,
        }))
    }
}
