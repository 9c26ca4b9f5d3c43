//! The functions that tasks call: their names, places and arguments (format §4.2).

use crate::{
    caps,
    fat::attribute_bits,
    mbr::Mbr,
    metaconf::{Bytes, Section, parse_u64, text},
    target::BLOCK,
};

/// Where a function stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Init,
    Resource,
    Finish,
    Error,
}

/// A place in a FAT volume: the volume's first block and a path.
pub(crate) type FatPath = (u64, Bytes);

/// The blocks of a U-Boot environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvPlace {
    pub(crate) block: u64,
    /// Bytes of one copy.
    pub(crate) len: usize,
    /// The block of the second copy.
    pub(crate) second: Option<u64>,
}

/// A function with checked arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    RawWrite {
        block: u64,
    },
    RawMemset {
        block: u64,
        count: u64,
        value: u8,
    },
    FatMkfs {
        block: u64,
        count: u64,
    },
    FatWrite {
        to: FatPath,
    },
    FatCopy {
        from: FatPath,
        to: FatPath,
    },
    FatMove {
        block: u64,
        from: Bytes,
        to: Bytes,
        replace: bool,
    },
    FatRemove {
        path: FatPath,
        must_exist: bool,
    },
    FatMkdir {
        path: FatPath,
    },
    FatLabel {
        block: u64,
        label: Bytes,
    },
    FatTouch {
        path: FatPath,
    },
    FatAttributes {
        path: FatPath,
        bits: u8,
    },
    MbrWrite(Box<Mbr>),
    Trim {
        block: u64,
        count: u64,
    },
    EnvClear(EnvPlace),
    EnvRecover(EnvPlace),
    EnvSet {
        env: EnvPlace,
        name: Bytes,
        value: Bytes,
    },
    EnvUnset {
        env: EnvPlace,
        name: Bytes,
    },
    Error(String),
    Info(String),
}

/// Name, least and most arguments, and whether the function takes a resource's data.
struct Shape(&'static str, usize, usize, bool);

const SHAPES: &[Shape] = &[
    Shape("raw_write", 1, 9, true),
    Shape("raw_memset", 3, 3, false),
    Shape("fat_mkfs", 2, 2, false),
    Shape("fat_write", 2, 2, true),
    Shape("fat_cp", 3, 4, false),
    Shape("fat_mv", 3, 3, false),
    Shape("fat_mv!", 3, 3, false),
    Shape("fat_rm", 2, 2, false),
    Shape("fat_rm!", 2, 2, false),
    Shape("fat_mkdir", 2, 2, false),
    Shape("fat_setlabel", 2, 2, false),
    Shape("fat_touch", 2, 2, false),
    Shape("fat_attrib", 3, 3, false),
    Shape("mbr_write", 1, 1, false),
    Shape("gpt_write", 1, 1, false),
    Shape("trim", 2, 2, false),
    Shape("uboot_clearenv", 1, 1, false),
    Shape("uboot_recover", 1, 1, false),
    Shape("uboot_setenv", 3, 3, false),
    Shape("uboot_unsetenv", 2, 2, false),
    Shape("error", 1, 1, false),
    Shape("info", 1, 1, false),
    Shape("path_write", 1, 1, true),
    Shape("pipe_write", 1, 1, true),
    Shape("execute", 1, 1, false),
    Shape("ubi_volume_write", 1, 1, true),
    Shape("reboot_param", 1, 1, false),
];

/// Largest block number or count: its byte offset must fit.
const BLOCKS_MAX: u64 = 1 << 50;

/// Checks a call and takes its arguments apart. `config` holds the sections that arguments name.
pub(crate) fn compile(call: &[Bytes], place: Place, config: &Section) -> Result<Function, String> {
    let (name, args) = call.split_first().ok_or("an empty call")?;
    let name = text(name);
    let Some(Shape(_, least, most, takes_data)) = SHAPES.iter().find(|shape| shape.0 == name) else {
        return Err("no such function".into());
    };
    if !(*least..=*most).contains(&args.len()) || call.len() > caps::CALL_WORDS_MAX {
        return Err(format!(
            "{} arguments were given, {least} to {most} are needed",
            args.len()
        ));
    }
    if *takes_data && place != Place::Resource {
        return Err("only on-resource has data for it".into());
    }
    Args { args, config }.function(&name)
}

impl Function {
    /// Whether the function takes the resource's data.
    pub(crate) fn takes_data(&self) -> bool {
        matches!(self, Self::RawWrite { .. } | Self::FatWrite { .. })
    }

    /// Units of progress; `data` and `full` are the resource's lengths without and with holes.
    pub(crate) fn units(&self, data: u64, full: u64) -> u64 {
        match self {
            Self::RawWrite { .. } => data,
            Self::FatWrite { .. } => full,
            Self::RawMemset { count, .. } => count * BLOCK as u64,
            Self::Trim { count, .. } => count / 256,
            Self::EnvClear(env) | Self::EnvRecover(env) | Self::EnvSet { env, .. } | Self::EnvUnset { env, .. } => {
                env.len as u64 * if env.second.is_some() { 2 } else { 1 }
            }
            Self::Error(_) | Self::Info(_) => 0,
            _ => BLOCK as u64,
        }
    }
}

struct Args<'a> {
    args: &'a [Bytes],
    config: &'a Section,
}

impl Args<'_> {
    fn function(&self, name: &str) -> Result<Function, String> {
        Ok(match name {
            "raw_write" if self.args.len() > 1 => return Err("encryption is not supported".into()),
            "raw_write" => Function::RawWrite { block: self.block(0)? },
            "raw_memset" => {
                let (count, value) = (self.count(1)?, self.number(2, 255)?);
                Function::RawMemset {
                    block: self.block(0)?,
                    count,
                    value: value as u8,
                }
            }
            _ if name.starts_with("fat_") => self.fat(name)?,
            "mbr_write" => Function::MbrWrite(Box::new(Mbr::new(self.section("mbr")?)?)),
            "trim" => Function::Trim {
                block: self.block(0)?,
                count: self.count(1)?,
            },
            _ if name.starts_with("uboot_") => self.uboot(name)?,
            "error" => Function::Error(text(&self.word(0)?)),
            "info" => Function::Info(text(&self.word(0)?)),
            "gpt_write" => return Err("GUID partition tables are not supported".into()),
            "reboot_param" => return Err("this function is not supported".into()),
            _ => return Err("functions that reach outside of the target are refused".into()),
        })
    }

    fn fat(&self, name: &str) -> Result<Function, String> {
        Ok(match name {
            "fat_mkfs" => Function::FatMkfs {
                block: self.block(0)?,
                count: self.count(1)?,
            },
            "fat_write" => Function::FatWrite { to: self.path()? },
            "fat_cp" if self.args.len() == 4 => Function::FatCopy {
                from: self.path()?,
                to: (self.block(2)?, self.word(3)?),
            },
            "fat_cp" => Function::FatCopy {
                from: self.path()?,
                to: (self.block(0)?, self.word(2)?),
            },
            "fat_mv" | "fat_mv!" => {
                let (block, from, to) = (self.block(0)?, self.word(1)?, self.word(2)?);
                Function::FatMove {
                    block,
                    from,
                    to,
                    replace: name.ends_with('!'),
                }
            }
            "fat_rm" | "fat_rm!" => Function::FatRemove {
                path: self.path()?,
                must_exist: name.ends_with('!'),
            },
            "fat_mkdir" => Function::FatMkdir { path: self.path()? },
            "fat_setlabel" => Function::FatLabel {
                block: self.block(0)?,
                label: self.word(1)?,
            },
            "fat_touch" => Function::FatTouch { path: self.path()? },
            "fat_attrib" => {
                let bits = attribute_bits(&self.word(2)?).ok_or("attributes are the letters R, H and S")?;
                Function::FatAttributes {
                    path: self.path()?,
                    bits,
                }
            }
            _ => return Err("no such function".into()),
        })
    }

    fn uboot(&self, name: &str) -> Result<Function, String> {
        Ok(match name {
            "uboot_clearenv" => Function::EnvClear(self.env()?),
            "uboot_recover" => Function::EnvRecover(self.env()?),
            "uboot_setenv" => Function::EnvSet {
                env: self.env()?,
                name: self.word(1)?,
                value: self.word(2)?,
            },
            "uboot_unsetenv" => Function::EnvUnset {
                env: self.env()?,
                name: self.word(1)?,
            },
            _ => return Err("no such function".into()),
        })
    }

    fn word(&self, at: usize) -> Result<Bytes, String> {
        self.args
            .get(at)
            .cloned()
            .ok_or_else(|| "an argument is missing".into())
    }

    fn number(&self, at: usize, max: u64) -> Result<u64, String> {
        let word = self.word(at)?;
        let value = parse_u64(&word).filter(|value| *value <= max);
        value.ok_or_else(|| format!("'{}' is not a number up to {max}", text(&word)))
    }

    fn block(&self, at: usize) -> Result<u64, String> {
        self.number(at, BLOCKS_MAX)
    }

    fn count(&self, at: usize) -> Result<u64, String> {
        let count = self.number(at, u64::from(u32::MAX))?;
        if count == 0 {
            Err("the count must be at least 1".into())
        } else {
            Ok(count)
        }
    }

    fn path(&self) -> Result<FatPath, String> {
        Ok((self.block(0)?, self.word(1)?))
    }

    fn section(&self, kind: &str) -> Result<&Section, String> {
        let title = self.word(0)?;
        self.config
            .find(kind, &title)
            .ok_or_else(|| format!("there is no {kind} '{}'", text(&title)))
    }

    fn env(&self) -> Result<EnvPlace, String> {
        env_place(self.section("uboot-environment")?)
    }
}

/// Reads a `uboot-environment` section.
pub(crate) fn env_place(section: &Section) -> Result<EnvPlace, String> {
    let block = |name: &str| match section.text(name).filter(|word| !word.is_empty()) {
        None => Ok(None),
        Some(word) => parse_u64(word)
            .filter(|block| *block <= BLOCKS_MAX)
            .map(Some)
            .ok_or_else(|| format!("uboot-environment: {name} must be a block number")),
    };
    let count = section
        .number("block-count")
        .and_then(|count| usize::try_from(count).ok());
    let len = count
        .and_then(|count| count.checked_mul(BLOCK))
        .filter(|len| (1..=caps::UBOOT_ENV_MAX).contains(len));
    let len = len.ok_or("uboot-environment: block-count is missing or too large")?;
    let first = block("block-offset")?.ok_or("uboot-environment: block-offset is missing")?;
    Ok(EnvPlace {
        block: first,
        len,
        second: block("block-offset-redund")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::Env, metaconf};

    fn compiled(words: &[&str], place: Place) -> Result<Function, String> {
        let conf = "uboot-environment env { block-offset=16 block-count=16 } uboot-environment huge { block-offset=1 block-count=99999999 }";
        let config = metaconf::read(conf.as_bytes(), &Env::new()).unwrap();
        let call: Vec<Bytes> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        compile(&call, place, &config)
    }

    #[test]
    fn arguments_are_checked_before_anything_runs() {
        let good: [&[&str]; 4] = [
            &["raw_memset", "010", "1", "0xff"],
            &["fat_rm", "1", "x"],
            &["uboot_clearenv", "env"],
            &["info", ""],
        ];
        for call in good {
            compiled(call, Place::Init).unwrap();
        }
        let bad: [&[&str]; 13] = [
            &[],
            &["raw_wipe"],
            &["raw_write", "1"],
            &["raw_memset", "1", "0", "1"],
            &["raw_memset", "1", "1", "256"],
            &["raw_memset", "1", "1x", "1"],
            &["trim", "99999999999999999", "1"],
            &["uboot_clearenv", "other"],
            &["uboot_clearenv", "huge"],
            &["mbr_write", "none"],
            &["execute", "rm"],
            &["fat_attrib", "1", "x", "Q"],
            &["info", "a", "b"],
        ];
        for call in bad {
            assert!(compiled(call, Place::Init).is_err(), "{call:?}");
        }
        assert_eq!(
            compiled(&["raw_write", "010"], Place::Resource),
            Ok(Function::RawWrite { block: 8 })
        );
        assert!(compiled(&["raw_write", "1", "cipher=x"], Place::Resource).is_err());
    }
}
