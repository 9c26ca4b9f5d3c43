//! Reading fwup's options: short ones may be joined, long ones may have their value behind `=`.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Apply,
    Create,
    Metadata,
    List,
    Verify,
    Sign,
    Generate,
    Version,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Show {
    #[default]
    Bar,
    Numbers,
    Nothing,
}

/// The options.
#[derive(Clone, Debug, Default)]
pub(crate) struct Args {
    pub(crate) command: Option<Command>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) input: Option<PathBuf>,
    pub(crate) output: Option<PathBuf>,
    pub(crate) target: Option<PathBuf>,
    pub(crate) task: Option<String>,
    pub(crate) metadata_key: Option<String>,
    pub(crate) public_key_files: Vec<PathBuf>,
    pub(crate) public_keys: Vec<String>,
    pub(crate) private_key_file: Option<PathBuf>,
    pub(crate) private_key: Option<String>,
    pub(crate) framing: bool,
    pub(crate) exit_handshake: bool,
    pub(crate) show: Show,
    pub(crate) verify_writes: Option<bool>,
    pub(crate) minimize_writes: bool,
    pub(crate) max_blocks: Option<u64>,
    pub(crate) progress_low: Option<u8>,
    pub(crate) progress_high: Option<u8>,
    pub(crate) level: Option<u8>,
}

/// Long options and the short ones that they stand for.
const LONG: [(&str, &str); 18] = [
    ("apply", "a"),
    ("create", "c"),
    ("metadata", "m"),
    ("list", "l"),
    ("verify", "V"),
    ("sign", "S"),
    ("gen-keys", "g"),
    ("framing", "F"),
    ("quiet", "q"),
    ("no-eject", "E"),
    ("no-unmount", "U"),
    ("unmount", "u"),
    ("task", "t"),
    ("private-key-file", "s"),
    ("public-key-file", "p"),
    ("verbose", "v"),
    ("minimize-writes", "Z"),
    ("version", "W"),
];

impl Args {
    /// Reads the words of the command line.
    pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut args = Self::default();
        let mut words = words;
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            match bytes {
                [b'-', b'-', long @ ..] => args.long(long, &mut words)?,
                [b'-', short @ ..] if !short.is_empty() => args.short(short, &mut words)?,
                _ => return Err(format!("'{}' is no option", word.display())),
            }
        }
        Ok(args)
    }

    fn short(&mut self, letters: &[u8], words: &mut dyn Iterator<Item = OsString>) -> Result<(), String> {
        for (at, letter) in letters.iter().enumerate() {
            if b"diotfsp".contains(letter) {
                let rest = &letters[at + 1..];
                let value = if rest.is_empty() {
                    words.next()
                } else {
                    Some(OsStr::from_bytes(rest).to_owned())
                };
                let value = value.ok_or_else(|| format!("-{} needs a value", char::from(*letter)))?;
                return self.valued(*letter, value);
            }
            self.flag(*letter)?;
        }
        Ok(())
    }

    fn flag(&mut self, letter: u8) -> Result<(), String> {
        let command = match letter {
            b'a' => Command::Apply,
            b'c' => Command::Create,
            b'm' => Command::Metadata,
            b'l' => Command::List,
            b'V' => Command::Verify,
            b'S' => Command::Sign,
            b'g' => Command::Generate,
            b'W' => Command::Version,
            _ => return self.setting(letter),
        };
        self.command = Some(command);
        Ok(())
    }

    fn setting(&mut self, letter: u8) -> Result<(), String> {
        match letter {
            b'F' => self.framing = true,
            b'n' => self.show = Show::Numbers,
            b'q' => self.show = Show::Nothing,
            b'Z' => self.minimize_writes = true,
            b'1'..=b'9' => self.level = Some(letter - b'0'),
            // unmounting, ejecting and asking are left to the caller
            b'u' | b'U' | b'v' | b'y' | b'z' | b'D' | b'E' => {}
            _ => return Err(format!("-{} is no option", char::from(letter))),
        }
        Ok(())
    }

    fn valued(&mut self, letter: u8, value: OsString) -> Result<(), String> {
        match letter {
            b'd' => self.target = Some(value.into()),
            b'i' => self.input = Some(value.into()),
            b'o' => self.output = Some(value.into()),
            b'f' => self.config = Some(value.into()),
            b's' => self.private_key_file = Some(value.into()),
            b'p' => self.public_key_files.push(value.into()),
            _ => self.task = Some(text(value)?),
        }
        Ok(())
    }

    fn long(&mut self, long: &[u8], words: &mut dyn Iterator<Item = OsString>) -> Result<(), String> {
        let split = long.iter().position(|byte| *byte == b'=');
        let (name, joined) = split.map_or((long, None), |at| (&long[..at], Some(&long[at + 1..])));
        let name = String::from_utf8_lossy(name).into_owned();
        let short = LONG
            .iter()
            .find(|(long, _)| *long == name)
            .map(|(_, short)| short.as_bytes());
        if let Some([letter]) = short
            && !b"tsp".contains(letter)
        {
            return self.flag(*letter);
        }
        match name.as_str() {
            "exit-handshake" => self.exit_handshake = true,
            "verify-writes" => self.verify_writes = Some(true),
            "no-verify-writes" => self.verify_writes = Some(false),
            "no-minimize-writes" => self.minimize_writes = false,
            "enable-trim" => {}
            "unsafe" => {
                return Err("--unsafe is not supported: functions that reach outside of the target are refused".into());
            }
            _ => {
                let value = joined
                    .map(|value| OsStr::from_bytes(value).to_owned())
                    .or_else(|| words.next());
                let value = value.ok_or_else(|| format!("--{name} needs a value"))?;
                return match short {
                    Some([letter]) => self.valued(*letter, value),
                    _ => self.long_valued(&name, value),
                };
            }
        }
        Ok(())
    }

    fn long_valued(&mut self, name: &str, value: OsString) -> Result<(), String> {
        let value = text(value)?;
        let number = || value.parse::<u64>().map_err(|_| format!("--{name} needs a number"));
        let percent = || Ok::<_, String>(Some(number()?.min(100) as u8));
        match name {
            "public-key" => self.public_keys.push(value),
            "private-key" => self.private_key = Some(value),
            "metadata-key" => self.metadata_key = Some(value),
            "max-size" => self.max_blocks = Some(number()?),
            "progress-low" => self.progress_low = percent()?,
            "progress-high" => self.progress_high = percent()?,
            "reboot-param-path" | "sparse-check" | "sparse-check-size" => {}
            _ => return Err(format!("--{name} is no option")),
        }
        Ok(())
    }
}

fn text(value: OsString) -> Result<String, String> {
    value
        .into_string()
        .map_err(|value| format!("'{}' is not UTF-8", value.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn options_are_read_joined_and_apart() {
        let args = parse("-aq -d img -tupgrade --public-key K --public-key=L -9 --max-size 5").unwrap();
        assert_eq!(args.command, Some(Command::Apply));
        assert_eq!(
            (args.show, args.level, args.max_blocks),
            (Show::Nothing, Some(9), Some(5))
        );
        assert_eq!(args.task.as_deref(), Some("upgrade"));
        assert_eq!(args.public_keys, ["K", "L"]);
        let args = parse("--apply --no-unmount --task upgrade --private-key-file=x").unwrap();
        assert_eq!(args.task.as_deref(), Some("upgrade"));
        assert!(args.private_key_file.is_some());
        for bad in ["-a -d", "--unsafe", "--what", "x", "-X", "--max-size x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
