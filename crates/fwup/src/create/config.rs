//! What the calls and sections of a config mean while an archive is made.

use std::path::{Path, PathBuf};

use super::{eval::eval, input::Input};
use crate::{
    apply::functions::env_place,
    caps,
    env::Env,
    gpt::Gpt,
    mbr::{Mbr, to_hex},
    metaconf::{Bytes, Host, Included, Section, Value, parse_u64, text},
};

/// Requirements and how many arguments they take.
const REQUIREMENTS: [(&str, usize); 7] = [
    ("require-partition-offset", 2),
    ("require-uboot-variable", 3),
    ("require-path-on-device", 2),
    ("require-path-at-offset", 2),
    ("require-fat-file-exists", 2),
    ("require-fat-file-match", 3),
    ("require-execute", 1),
];

/// The state while a config is read.
pub(super) struct Config {
    env: Env,
    /// The folders of the files that are being read, the innermost last.
    folders: Vec<PathBuf>,
    read: usize,
    pub(super) inputs: Vec<Input>,
}

impl Config {
    pub(super) fn new(env: &Env, folder: &Path) -> Self {
        Self {
            env: env.clone(),
            folders: vec![folder.to_owned()],
            read: 0,
            inputs: Vec::new(),
        }
    }

    fn folder(&self) -> &Path {
        self.folders.last().map_or(Path::new(""), PathBuf::as_path)
    }

    fn define(&mut self, name: &str, args: &[Bytes]) -> Result<(), String> {
        let [variable, value] = args else {
            return Err(format!("{name}() needs a name and a value"));
        };
        let variable = text(variable);
        if !name.ends_with('!') && self.env.get(&variable).is_some() {
            return Ok(());
        }
        let value = if name.starts_with("define-eval") {
            eval(value)?.to_string().into_bytes()
        } else {
            value.clone()
        };
        self.env.set_bytes(&variable, value);
        Ok(())
    }

    fn include(&mut self, args: &[Bytes]) -> Result<Included, String> {
        let [path] = args else {
            return Err("include() needs a path".into());
        };
        let path = self.folder().join(text(path));
        let file = path.display().to_string();
        let text = std::fs::read(&path).map_err(|error| format!("{file}: {error}"))?;
        self.read += text.len();
        if self.read > caps::CONFIG_MAX {
            return Err(format!("{file}: the config is too large"));
        }
        self.folders.push(path.parent().unwrap_or(Path::new("")).to_owned());
        Ok(Included { file, text })
    }

    fn mbr(&self, section: &mut Section) -> Result<(), String> {
        if let Some(path) = section.text("bootstrap-code-host-path") {
            let path = self.folder().join(text(path));
            let code = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            section.set("bootstrap-code", Value::Text(to_hex(&code)));
        }
        Mbr::new(section).map(|_| ())
    }
}

/// A call as a list of words: how many, then the words (format §2.3).
fn listed(name: &str, args: Vec<Bytes>) -> Result<Vec<Bytes>, String> {
    let count = args.len() + 1;
    if count > caps::CALL_WORDS_MAX {
        return Err(format!("{name}() has too many arguments"));
    }
    Ok([count.to_string().into_bytes(), name.as_bytes().to_vec()]
        .into_iter()
        .chain(args)
        .collect())
}

impl Host for Config {
    fn env(&self) -> &Env {
        &self.env
    }

    fn strict(&self) -> bool {
        true
    }

    fn call(&mut self, section: &mut Section, name: &str, mut args: Vec<Bytes>) -> Result<Option<Included>, String> {
        match (section.spec.name, name) {
            (_, "include") => return self.include(&args).map(Some),
            (_, "define" | "define!" | "define-eval" | "define-eval!") => self.define(name, &args)?,
            ("task", _) => {
                if !REQUIREMENTS.contains(&(name, args.len())) {
                    return Err(format!("{name}() is no requirement with {} arguments", args.len()));
                }
                section.append("reqlist", listed(name, args)?);
            }
            ("on-init" | "on-finish" | "on-error" | "on-resource", _) => {
                if name == "fat_write" && args.len() == 1 {
                    args.push(section.title.clone());
                }
                section.append("funlist", listed(name, args)?);
            }
            _ => return Err(format!("no function {name} is known here")),
        }
        Ok(None)
    }

    fn include_ended(&mut self) {
        self.folders.pop();
    }

    fn closed(&mut self, section: &mut Section) -> Result<(), String> {
        match section.spec.name {
            "file-resource" => {
                let input = Input::new(section, self.folder())?;
                if input.is_file() {
                    let name = input.resource.replace(['-', '/', '.'], "_");
                    self.env.set(format!("FWUP_SIZE_{name}"), input.full_len.to_string());
                }
                self.inputs.push(input);
            }
            "mbr" => self.mbr(section)?,
            "uboot-environment" => {
                env_place(section)?;
            }
            "gpt" => {
                fold_boot_flags(section)?;
                Gpt::new(section)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// `boot = true` of a GPT's partition is one of its flags.
fn fold_boot_flags(gpt: &mut Section) -> Result<(), String> {
    for partition in &mut gpt.children {
        if partition.flag("boot") {
            let flags = partition
                .text("flags")
                .map_or(Some(0), parse_u64)
                .ok_or("flags must be a number")?;
            partition.set("flags", Value::Text(format!("{:#x}", flags | 4).into_bytes()));
        }
    }
    Ok(())
}
