//! The kiosk's firmware: the archives of the test set, and the same with a U-Boot environment in two copies.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use muster_fwup::{Archive, CreateOptions, Env, PrivateKey, create_from_str};

/// Block of the second copy, where there are two.
pub const SECOND_COPY: u64 = 32;

fn set() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/fwup")
}

/// An archive and what must be on a disk that boots it.
pub struct Firmware {
    pub archive: Vec<u8>,
    pub version: String,
    pub uuid: String,
    pub kernel: Vec<u8>,
    pub rootfs: Vec<u8>,
}

/// The kiosk's versions and its maintenance archive.
pub struct Kiosk {
    pub versions: Vec<Firmware>,
    pub ops: Vec<u8>,
    pub redundant: bool,
}

impl Kiosk {
    /// As the vendor made it.
    pub fn plain() -> Self {
        let versions =
            ["1.0.0", "1.1.0", "1.2.0"].map(|version| Firmware::new(archive(&format!("kiosk-{version}.fw"))));
        Self {
            versions: versions.into(),
            ops: archive("kiosk-ops.fw"),
            redundant: false,
        }
    }

    /// With two copies of the environment.
    pub fn redundant() -> Self {
        let made = Self::plain().versions.into_iter().map(|firmware| {
            let folder = tempfile::tempdir().unwrap();
            let put = |name: &str, bytes: &[u8]| {
                fs::write(folder.path().join(format!("kiosk-{}-{name}", firmware.version)), bytes).unwrap();
            };
            put("bzImage", &firmware.kernel);
            put("rootfs.img", &firmware.rootfs);
            fs::write(folder.path().join("kiosk-boot.bin"), [0x90; 440]).unwrap();
            Firmware::new(with_two_copies(
                &format!("kiosk-{}.conf", firmware.version),
                folder.path(),
            ))
        });
        Self {
            versions: made.collect(),
            ops: with_two_copies("kiosk-ops.conf", Path::new(".")),
            redundant: true,
        }
    }

    pub fn by_uuid(&self, uuid: &str) -> Option<&Firmware> {
        self.versions.iter().find(|firmware| firmware.uuid == uuid)
    }
}

fn private_key() -> PrivateKey {
    fs::read_to_string(set().join("keys/alpha.priv"))
        .unwrap()
        .parse()
        .unwrap()
}

pub fn archive(name: &str) -> Vec<u8> {
    fs::read(set().join("fw").join(name)).unwrap()
}

fn with_two_copies(config: &str, folder: &Path) -> Vec<u8> {
    let text = fs::read_to_string(set().join("conf").join(config)).unwrap();
    let section = text.lines().find(|line| line.starts_with("uboot-environment")).unwrap();
    let two = format!(
        "{} block-offset-redund = {SECOND_COPY} }}",
        section.trim_end_matches('}')
    );
    let key = private_key();
    let options = CreateOptions {
        signing_key: Some(&key),
        ..CreateOptions::default()
    };
    let mut archive = Vec::new();
    create_from_str(
        &text.replace(section, &two),
        folder,
        &Env::new(),
        &options,
        &mut archive,
    )
    .unwrap();
    archive
}

impl Firmware {
    /// Takes an archive apart, and checks that its contents are those that `meta.conf` states.
    fn new(archive: Vec<u8>) -> Self {
        let entries = unpack(&archive);
        let meta_conf = String::from_utf8(entries["meta.conf"].clone()).unwrap();
        let content = |name: &str| {
            let bytes = entries[&format!("data/{name}")].clone();
            let hash = blake2b_simd::Params::new().hash_length(32).hash(&bytes).to_hex();
            assert!(
                meta_conf.contains(&format!("blake2b-256=\"{hash}\""))
                    || meta_conf.contains(&format!("blake2b-256={hash}"))
            );
            bytes
        };
        let (kernel, rootfs) = (content("bzImage"), content("rootfs.img"));
        let metadata = Archive::open(&archive[..], &[], &Env::new())
            .unwrap()
            .metadata()
            .clone();
        Self {
            kernel,
            rootfs,
            version: metadata.version.unwrap(),
            uuid: metadata.uuid.to_string(),
            archive,
        }
    }
}

/// The entries of an archive in which all but the signature are deflated and followed by a descriptor.
fn unpack(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let number = |at: usize| usize::from(u16::from_le_bytes([archive[at], archive[at + 1]]));
    let mut entries = BTreeMap::new();
    let mut at = 0;
    while archive[at..].starts_with(b"PK\x03\x04") {
        let (method, name_len, extra_len) = (number(at + 8), number(at + 26), number(at + 28));
        let name = String::from_utf8(archive[at + 30..at + 30 + name_len].to_vec()).unwrap();
        let begin = at + 30 + name_len + extra_len;
        let len = number(at + 22) | number(at + 24) << 16;
        let (content, used) = if method == 0 {
            (archive[begin..begin + len].to_vec(), len)
        } else {
            let mut inflate = flate2::Decompress::new(false);
            let mut content = Vec::with_capacity(len + 1);
            inflate
                .decompress_vec(&archive[begin..], &mut content, flate2::FlushDecompress::Finish)
                .unwrap();
            (content, inflate.total_in() as usize)
        };
        assert_eq!(content.len(), len);
        entries.insert(name, content);
        at = begin + used + 16;
    }
    entries
}
