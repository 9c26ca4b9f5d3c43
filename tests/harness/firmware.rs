//! Firmware of a kiosk: signed, with a real MBR, a FAT boot partition, two slots and a U-Boot environment.

use std::path::Path;

use anyhow::Context as _;
use muster_agent::platform::slot::{self, Behaviour};
use muster_fwup::{ApplyOptions, Archive, CreateOptions, Env, FileTarget, PrivateKey, PublicKey, create_from_str};

/// First block of the U-Boot environment.
const ENV_BLOCK: u64 = 16;
/// Its blocks.
const ENV_BLOCKS: u64 = 16;
/// First block of the boot partition.
const BOOT_BLOCK: u64 = 63;
/// Its blocks.
const BOOT_BLOCKS: u64 = 1025;
/// First block of slot A.
const SLOT_A: u64 = 2048;
/// Blocks that a board has.
const KERNEL_BYTES: usize = 100_000;

/// One version of the kiosk's firmware.
#[derive(Debug, Clone)]
pub struct Kiosk<'a> {
    /// The product that it is for.
    pub product: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What the virtual board does when it boots.
    pub behaviour: Behaviour,
    /// Bytes of the root file system, which do not compress.
    pub root_bytes: usize,
}

impl<'a> Kiosk<'a> {
    /// A good version with a small root file system.
    pub fn new(product: &'a str, version: &'a str) -> Self {
        Self {
            product,
            version,
            behaviour: Behaviour::Ok,
            root_bytes: 200_000,
        }
    }

    /// The archive, signed.
    ///
    /// # Errors
    /// When the archive cannot be made.
    pub fn build(&self, key: &PrivateKey) -> anyhow::Result<Vec<u8>> {
        self.archive(Some(key))
    }

    /// The archive, not signed.
    ///
    /// # Errors
    /// When the archive cannot be made.
    pub fn build_unsigned(&self) -> anyhow::Result<Vec<u8>> {
        self.archive(None)
    }

    fn archive(&self, key: Option<&PrivateKey>) -> anyhow::Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        let root = slot::image(self.version, self.behaviour, &noise(self.version, self.root_bytes));
        std::fs::write(folder.path().join("rootfs.img"), root)?;
        std::fs::write(folder.path().join("kernel"), noise("kernel", KERNEL_BYTES))?;
        let options = CreateOptions {
            compression: 1,
            source_date_epoch: None,
            signing_key: key,
        };
        let mut archive = Vec::new();
        create_from_str(&self.config(), folder.path(), &Env::new(), &options, &mut archive)
            .with_context(|| format!("firmware {}", self.version))?;
        Ok(archive)
    }

    fn slot_blocks(&self) -> u64 {
        ((self.root_bytes + 512).div_ceil(512) as u64).next_multiple_of(256)
    }

    fn config(&self) -> String {
        let blocks = self.slot_blocks();
        let (slot_b, end) = (SLOT_A + blocks, SLOT_A + 2 * blocks);
        let Self { product, version, .. } = self;
        let head = format!(
            "meta-product = \"{product}\"\nmeta-version = \"{version}\"\nmeta-platform = \"generic\"\n\
             meta-architecture = \"x86_64\"\nmeta-author = \"Muster\"\nrequire-fwup-version = \"1.0.0\"\n\
             file-resource kernel {{ host-path = \"kernel\" }}\nfile-resource rootfs.img {{ host-path = \"rootfs.img\" }}\n\
             mbr table {{\n  partition 0 {{ block-offset = {BOOT_BLOCK} block-count = {BOOT_BLOCKS} type = 0x0c boot = true }}\n\
             \x20 partition 1 {{ block-offset = {SLOT_A} block-count = {blocks} type = 0x83 }}\n\
             \x20 partition 2 {{ block-offset = {slot_b} block-count = {blocks} type = 0x83 }}\n\
             \x20 partition 3 {{ block-offset = {end} block-count = 256 type = 0x83 expand = true }}\n}}\n\
             uboot-environment env {{ block-offset = {ENV_BLOCK} block-count = {ENV_BLOCKS} }}\n"
        );
        [
            head,
            self.complete(),
            self.upgrade("a", "b", SLOT_A),
            self.upgrade("b", "a", slot_b),
            refusals(),
        ]
        .concat()
    }

    fn complete(&self) -> String {
        let slot = self.slot_variables("a");
        format!(
            "task complete {{\n  on-init {{\n    mbr_write(table)\n    fat_mkfs({BOOT_BLOCK}, {BOOT_BLOCKS})\n\
             \x20   fat_setlabel({BOOT_BLOCK}, \"BOOT\")\n    uboot_clearenv(env)\n{slot}\
             \x20   uboot_setenv(env, \"nerves_fw_active\", \"a\")\n    uboot_setenv(env, \"nerves_fw_booted\", \"1\")\n\
             \x20   uboot_setenv(env, \"nerves_fw_validated\", \"1\")\n    uboot_setenv(env, \"nerves_fw_devpath\", \"/dev/sda\")\n  }}\n\
             \x20 on-resource kernel {{ fat_write({BOOT_BLOCK}, \"kernel.a\") }}\n\
             \x20 on-resource rootfs.img {{ raw_write({SLOT_A}) }}\n}}\n"
        )
    }

    fn upgrade(&self, to: &str, from: &str, block: u64) -> String {
        let slot = self.slot_variables(to);
        let blocks = self.slot_blocks();
        format!(
            "task upgrade.{to} {{\n  require-uboot-variable(env, \"nerves_fw_active\", \"{from}\")\n\
             \x20 require-uboot-variable(env, \"nerves_fw_validated\", \"1\")\n  require-partition-offset(1, {SLOT_A})\n\
             \x20 on-init {{\n    info(\"Upgrading slot {to}\")\n    uboot_unsetenv(env, \"{to}.nerves_fw_uuid\")\n\
             \x20   fat_rm({BOOT_BLOCK}, \"kernel.{to}\")\n    trim({block}, {blocks})\n  }}\n\
             \x20 on-resource kernel {{ fat_write({BOOT_BLOCK}, \"kernel.{to}\") }}\n\
             \x20 on-resource rootfs.img {{ raw_write({block}) }}\n  on-finish {{\n{slot}\
             \x20   uboot_setenv(env, \"nerves_fw_active\", \"{to}\")\n    uboot_setenv(env, \"nerves_fw_booted\", \"0\")\n\
             \x20   uboot_setenv(env, \"nerves_fw_validated\", \"0\")\n  }}\n\
             \x20 on-error {{ info(\"Upgrade of slot {to} failed\") }}\n}}\n"
        )
    }

    fn slot_variables(&self, slot: &str) -> String {
        let Self { product, version, .. } = self;
        let set = |name: &str, value: &str| format!("    uboot_setenv(env, \"{slot}.{name}\", \"{value}\")\n");
        [
            set("nerves_fw_product", product),
            set("nerves_fw_version", version),
            set("nerves_fw_platform", "generic"),
            set("nerves_fw_architecture", "x86_64"),
            set("nerves_fw_author", "Muster"),
            set("nerves_fw_uuid", "\\${FWUP_META_UUID}"),
        ]
        .concat()
    }
}

fn refusals() -> String {
    "task upgrade.unvalidated {\n  require-uboot-variable(env, \"nerves_fw_validated\", \"0\")\n\
     \x20 on-init { error(\"The running firmware is not validated yet.\") }\n}\n\
     task upgrade.unexpected {\n  on-init { error(\"nerves_fw_active is neither a nor b, or the disk is another.\") }\n}\n"
        .to_owned()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: &str, size: usize) -> Vec<u8> {
    use rand::{Rng as _, SeedableRng as _};
    let mut state = [0; 32];
    for (place, byte) in state.iter_mut().zip(seed.bytes()) {
        *place = byte;
    }
    let mut bytes = vec![0; size];
    rand::rngs::SmallRng::from_seed(state).fill_bytes(&mut bytes);
    bytes
}

/// Makes a disk that runs this firmware, and the `fw_env.config` that describes its environment.
///
/// # Errors
/// When the archive does not apply.
pub fn flash(archive: &[u8], key: &PublicKey, disk: &Path, fw_env_config: &Path) -> anyhow::Result<()> {
    let mut target = FileTarget::create(disk)?;
    Archive::open(archive, std::slice::from_ref(key), &Env::new())?.apply(
        &mut target,
        "complete",
        &ApplyOptions::default(),
        &mut |_| {},
    )?;
    let name = disk
        .file_name()
        .and_then(|name| name.to_str())
        .context("the disk's name")?;
    let line = format!("{name} {:#x} {:#x}\n", ENV_BLOCK * 512, ENV_BLOCKS * 512);
    Ok(std::fs::write(fw_env_config, line)?)
}
