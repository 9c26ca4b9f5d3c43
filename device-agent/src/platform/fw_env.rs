//! The U-Boot environment where `fw_env.config` says it lies: one block, or two copies of which the newer counts.
//!
//! A line of `fw_env.config` is `DEVICE OFFSET SIZE`, further fields are ignored. As in U-Boot the size is always
//! hexadecimal, the offset only after `0x`. A relative device is looked for beside the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use muster_fwup::uboot_env::{self, Layout, UbootEnv, UbootEnvError};

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub enum FwEnvError {
    /// The description cannot be read.
    #[error("cannot read {path}: {cause}")]
    NoConfig {
        /// The description.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The description makes no sense.
    #[error("{path}: line {line}: {reason}")]
    BadConfig {
        /// The description.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The disk does not let itself be read or written.
    #[error("U-Boot environment in {path} at {offset:#x}: {cause}")]
    Io {
        /// The disk.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What the system said.
        cause: io::Error,
    },
    /// There is no environment where it should be.
    #[error("U-Boot environment in {path}, {size:#x} bytes at {offset:#x}, is damaged: {cause}")]
    Damaged {
        /// The disk.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// How many bytes.
        size: usize,
        /// What is wrong with it.
        cause: UbootEnvError,
    },
    /// A variable cannot be kept in it.
    #[error("the U-Boot environment cannot be changed: {0}")]
    NoRoom(UbootEnvError),
    /// The environment is whole and says nothing of slots.
    #[error("the U-Boot environment does not name an active slot (nerves_fw_active)")]
    NoActiveSlot,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    path: PathBuf,
    offset: u64,
    size: usize,
}

/// Where the environment lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FwEnv {
    first: Block,
    second: Option<Block>,
}

impl FwEnv {
    /// Reads the description.
    ///
    /// # Errors
    /// When it cannot be read or is not in U-Boot's form.
    pub fn read(path: &Path) -> Result<Self, FwEnvError> {
        let text = std::fs::read_to_string(path).map_err(|cause| FwEnvError::NoConfig {
            path: path.to_owned(),
            cause,
        })?;
        parse(&text, path.parent().unwrap_or(Path::new("/"))).map_err(|(line, reason)| FwEnvError::BadConfig {
            path: path.to_owned(),
            line,
            reason,
        })
    }

    /// Reads the environment.
    ///
    /// # Errors
    /// When it cannot be read, or no copy is whole.
    pub fn load(&self) -> Result<UbootEnv, FwEnvError> {
        let Some(second) = &self.second else {
            let bytes = self.first.read()?;
            return uboot_env::parse(&bytes).map_err(|cause| self.first.damaged(cause));
        };
        Ok(newer(&self.first, second)?.env)
    }

    /// Replaces the environment by one write; it is on disk when this returns. Of two copies the older is replaced.
    ///
    /// # Errors
    /// When the variables do not fit or the disk fails.
    pub fn save(&self, env: &UbootEnv) -> Result<(), FwEnvError> {
        let Some(second) = &self.second else {
            return self.first.write(env, Layout::Single);
        };
        match newer(&self.first, second) {
            Ok(Newer { flag, is_second, .. }) => {
                let older = if is_second { &self.first } else { second };
                let flag = flag.wrapping_add(1);
                older.write(env, Layout::Redundant { flag })
            }
            Err(FwEnvError::Damaged { .. }) => self.first.write(env, Layout::Redundant { flag: 1 }),
            Err(cause) => Err(cause),
        }
    }
}

struct Newer {
    env: UbootEnv,
    flag: u8,
    is_second: bool,
}

fn newer(first: &Block, second: &Block) -> Result<Newer, FwEnvError> {
    let read = |block: &Block| Ok::<_, FwEnvError>(uboot_env::parse_redundant(&block.read()?));
    let chosen = |(env, flag), is_second| Newer { env, flag, is_second };
    match (read(first)?, read(second)?) {
        (Ok(one), Ok(two)) if uboot_env::second_is_newer(one.1, two.1) => Ok(chosen(two, true)),
        (Ok(one), _) => Ok(chosen(one, false)),
        (Err(_), Ok(two)) => Ok(chosen(two, true)),
        (Err(cause), Err(_)) => Err(first.damaged(cause)),
    }
}

impl Block {
    fn io(&self, cause: io::Error) -> FwEnvError {
        FwEnvError::Io {
            path: self.path.clone(),
            offset: self.offset,
            cause,
        }
    }

    fn damaged(&self, cause: UbootEnvError) -> FwEnvError {
        FwEnvError::Damaged {
            path: self.path.clone(),
            offset: self.offset,
            size: self.size,
            cause,
        }
    }

    fn read(&self) -> Result<Vec<u8>, FwEnvError> {
        let mut bytes = vec![0; self.size];
        File::open(&self.path)
            .and_then(|file| file.read_exact_at(&mut bytes, self.offset))
            .map_err(|cause| self.io(cause))?;
        Ok(bytes)
    }

    fn write(&self, env: &UbootEnv, layout: Layout) -> Result<(), FwEnvError> {
        let bytes = env
            .to_bytes_as(self.size, layout)
            .map_err(|cause| self.damaged(cause))?;
        let written = OpenOptions::new().write(true).open(&self.path).and_then(|file| {
            file.write_all_at(&bytes, self.offset)?;
            file.sync_data()
        });
        written.map_err(|cause| self.io(cause))
    }
}

fn parse(text: &str, directory: &Path) -> Result<FwEnv, (usize, &'static str)> {
    let mut blocks = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            blocks.push(block(line, directory).map_err(|reason| (index + 1, reason))?);
        }
        if blocks.len() > 2 {
            return Err((index + 1, "more than two copies"));
        }
    }
    let mut blocks = blocks.into_iter();
    let first = blocks.next().ok_or((1, "describes no environment"))?;
    let second = blocks.next();
    if second.as_ref().is_some_and(|second| second.size != first.size) {
        return Err((1, "the two copies differ in size"));
    }
    Ok(FwEnv { first, second })
}

fn block(line: &str, directory: &Path) -> Result<Block, &'static str> {
    let mut fields = line.split_whitespace();
    let mut field = || fields.next().ok_or("needs DEVICE OFFSET SIZE");
    let (device, offset, size) = (field()?, field()?, field()?);
    let offset = match offset.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => offset.parse(),
    };
    let size = usize::from_str_radix(size.trim_start_matches("0x"), 16).map_err(|_| "SIZE is no hexadecimal number")?;
    if !(16..=muster_fwup::caps::UBOOT_ENV_MAX).contains(&size) {
        return Err("SIZE cannot be that of an environment (it is read as hexadecimal)");
    }
    Ok(Block {
        path: directory.join(device),
        offset: offset.map_err(|_| "OFFSET is no number")?,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<FwEnv, (usize, &'static str)> {
        parse(text, Path::new("/etc"))
    }

    fn block(path: &str, offset: u64, size: usize) -> Block {
        Block {
            path: path.into(),
            offset,
            size,
        }
    }

    #[test]
    fn description_is_read_as_u_boot_reads_it() {
        let text = "# device offset size\n\n/dev/mmcblk0 0x2000 0x2000 # one\ndisk.img 8192 2000 0x1000 2\n";
        assert_eq!(
            parsed(text),
            Ok(FwEnv {
                first: block("/dev/mmcblk0", 0x2000, 0x2000),
                second: Some(block("/etc/disk.img", 8192, 0x2000)),
            })
        );
    }

    #[test]
    fn odd_descriptions_are_refused_with_their_line() {
        for (text, line) in [
            ("", 1),
            ("\n/dev/sda 0", 2),
            ("/dev/sda x 0x2000", 1),
            ("/dev/sda 0 zzz", 1),
            ("/dev/sda 0 0", 1),
            ("/dev/sda 0 0xffffffffff", 1),
            ("d 0 0x2000\nd 0 0x2000\nd 0 0x2000", 3),
            ("d 0 0x2000\nd 0 0x4000", 1),
        ] {
            assert_eq!(parsed(text).unwrap_err().0, line, "{text}");
        }
    }

    fn on_disk(config: &str) -> (tempfile::TempDir, FwEnv) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("disk.img"), vec![0; 0x8000]).unwrap();
        let path = directory.path().join("fw_env.config");
        std::fs::write(&path, config).unwrap();
        let fw_env = FwEnv::read(&path).unwrap();
        (directory, fw_env)
    }

    fn version(version: u32) -> UbootEnv {
        let mut env = UbootEnv::new();
        env.set("version", version.to_string()).unwrap();
        env
    }

    #[test]
    fn damaged_environment_is_told() {
        let (_directory, fw_env) = on_disk("disk.img 0x2000 0x2000");
        assert!(matches!(fw_env.load(), Err(FwEnvError::Damaged { .. })));
        fw_env.save(&version(1)).unwrap();
        assert_eq!(fw_env.load().unwrap(), version(1));
    }

    #[test]
    fn of_two_copies_the_older_is_replaced_and_one_damaged_copy_is_survived() {
        let (directory, fw_env) = on_disk("disk.img 0x2000 0x2000\ndisk.img 0x4000 0x2000");
        for round in 0..300 {
            fw_env.save(&version(round)).unwrap();
            assert_eq!(fw_env.load().unwrap(), version(round));
        }
        let path = directory.path().join("disk.img");
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0xaa; 64], 0x2000).unwrap();
        assert!([version(298), version(299)].contains(&fw_env.load().unwrap()));
        file.write_all_at(&[0xaa; 64], 0x4000).unwrap();
        assert!(matches!(fw_env.load(), Err(FwEnvError::Damaged { .. })));
    }
}
