//! Reading the words of the command line.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use super::options::{Args, Command, Set, Spec, specs};

type Words<'a> = &'a mut dyn Iterator<Item = OsString>;

impl Args {
    /// Reads the words of the command line. Letters may be joined, a value may follow its option at once; long names may
    /// be cut as long as they stay clear; `--` ends the options.
    ///
    /// # Errors
    /// What cannot be understood. What came before it has been read.
    pub(crate) fn read(&mut self, words: impl IntoIterator<Item = OsString>) -> Result<(), String> {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_bytes() {
                b"--" => self.rest.extend(words.by_ref()),
                [b'-', b'-', ..] => self.long(&text(word)?, &mut words)?,
                [b'-', _, ..] => self.letters(word.as_bytes(), &mut words)?,
                _ => self.rest.push(word),
            }
        }
        self.settle()
    }

    fn letters(&mut self, word: &[u8], words: Words<'_>) -> Result<(), String> {
        for (at, letter) in word.iter().map(|letter| char::from(*letter)).enumerate().skip(1) {
            let name = format!("-{letter}");
            let spec = specs().find(|spec| spec.letters.contains(letter));
            let spec = spec.ok_or_else(|| format!("{name} is no option"))?;
            if let Set::Flag(set) = spec.set {
                set(self, letter);
                continue;
            }
            let joined = word.get(at + 1..).filter(|rest| !rest.is_empty());
            let joined = joined.map(|rest| OsString::from_vec(rest.to_vec()));
            return self.value(spec, &name, joined, words);
        }
        Ok(())
    }

    fn long(&mut self, word: &str, words: Words<'_>) -> Result<(), String> {
        let word = word.trim_start_matches('-');
        let (name, joined) = word
            .split_once('=')
            .map_or((word, None), |(name, value)| (name, Some(value)));
        let spec = find_long(name)?;
        let name = format!("--{}", spec.long);
        match (spec.set, joined) {
            (Set::Flag(set), None) => {
                set(self, ' ');
                Ok(())
            }
            (Set::Flag(_), Some(_)) => Err(format!("{name} takes no value")),
            (_, joined) => self.value(spec, &name, joined.map(OsString::from), words),
        }
    }

    /// Puts an option's value in its place: the one joined to it, or the next word.
    fn value(&mut self, spec: &Spec, name: &str, joined: Option<OsString>, words: Words<'_>) -> Result<(), String> {
        let value = joined.or_else(|| words.next());
        let value = value.ok_or_else(|| format!("{name} needs a value"))?;
        let named = |reason: String| format!("{name}: {reason}");
        match spec.set {
            Set::Flag(_) => {}
            Set::Path(place) => *place(self) = Some(value.into()),
            Set::Paths(place) => place(self).push(value.into()),
            Set::Text(place) => *place(self) = Some(text(value).map_err(named)?),
            Set::Texts(place) => place(self).push(text(value).map_err(named)?),
            Set::Number(place) => *place(self) = Some(number(value).map_err(named)?),
            Set::Percent(place) => *place(self) = Some(percent(value).map_err(named)?),
        }
        Ok(())
    }

    /// What follows from all words together.
    fn settle(&mut self) -> Result<(), String> {
        if self.progress_low.unwrap_or(0) > self.progress_high.unwrap_or(100) {
            return Err("--progress-low is above --progress-high".into());
        }
        if self.quiet && self.numbers {
            return Err("-n asks for progress, -q for none".into());
        }
        if self.delta.is_some() && self.input.is_none() {
            self.input = self.rest.pop().map(PathBuf::from);
        } else if self.command.is_none() && self.input.is_none() && self.rest.len() == 1 {
            // an archive alone is written to the card that is found
            self.command = Some(Command::Apply);
            self.input = self.rest.pop().map(PathBuf::from);
            self.task.get_or_insert_with(|| "complete".to_owned());
        }
        match self.rest.first() {
            Some(word) => Err(format!("'{}' is no option", word.display())),
            None => Ok(()),
        }
    }
}

/// The option with a long name, or the only one whose name begins so.
fn find_long(name: &str) -> Result<&'static Spec, String> {
    let mut near = specs().filter(|spec| !name.is_empty() && spec.long.starts_with(name));
    if let Some(exact) = near.clone().find(|spec| spec.long == name) {
        return Ok(exact);
    }
    match (near.next(), near.next()) {
        (Some(spec), None) => Ok(spec),
        (Some(one), Some(other)) => Err(format!("--{name} may be --{} or --{}", one.long, other.long)),
        _ => Err(format!("--{name} is no option")),
    }
}

fn text(value: OsString) -> Result<String, String> {
    value
        .into_string()
        .map_err(|value| format!("'{}' is not UTF-8", value.display()))
}

/// A number, decimal or behind `0x`.
fn number(value: OsString) -> Result<u64, String> {
    let value = text(value)?;
    let parsed = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => value.parse(),
    };
    parsed.map_err(|_| format!("'{value}' is not a number"))
}

fn percent(value: OsString) -> Result<u8, String> {
    let percent = number(value)?;
    u8::try_from(percent)
        .ok()
        .filter(|percent| *percent <= 100)
        .ok_or_else(|| format!("{percent} is more than 100"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        let mut args = Args::default();
        args.read(line.split_whitespace().map(OsString::from))?;
        Ok(args)
    }

    #[test]
    fn options_are_read_joined_and_apart() {
        let args = parse("-aq -d img -tupgrade --public-key K --public-key=L -9 --max-size 0x10").unwrap();
        assert_eq!(args.command, Some(Command::Apply));
        assert_eq!((args.quiet, args.level, args.max_blocks), (true, Some(9), Some(16)));
        assert_eq!(args.task.as_deref(), Some("upgrade"));
        assert_eq!(args.public_keys, ["K", "L"]);
        let args = parse("--apply --no-unmount --task upgrade --private-key-file=x --unsafe").unwrap();
        assert_eq!(args.task.as_deref(), Some("upgrade"));
        assert!(args.private_key_file.is_some() && args.keep_mounts && args.allow_unsafe);
        assert!(!parse("-Uu").unwrap().keep_mounts);
        for bad in [
            "-a -d",
            "--what",
            "-a x",
            "x y",
            "-X",
            "--max-size x",
            "--max-size",
            "--apply=1",
            "--progress-high 101",
            "--progress-low 60 --progress-high 50",
            "--=x",
            "-n -q",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_delta_is_made_of_two_archives() {
        let args = parse("--delta old.fw new.fw -o out.fw").unwrap();
        let paths = [args.delta, args.input, args.output].map(|path| path.unwrap());
        assert_eq!(paths, ["old.fw", "new.fw", "out.fw"].map(PathBuf::from));
        assert!(parse("--delta old.fw new.fw other.fw").is_err());
    }

    #[test]
    fn an_archive_alone_is_to_be_applied() {
        let args = parse("-q x.fw -y").unwrap();
        assert_eq!(
            (args.command, args.task.as_deref()),
            (Some(Command::Apply), Some("complete"))
        );
        assert_eq!(args.input, Some("x.fw".into()));
        assert_eq!(parse("-- -x.fw").unwrap().input, Some("-x.fw".into()));
        assert_eq!(parse("x.fw -t other").unwrap().task.as_deref(), Some("other"));
    }

    #[test]
    fn long_names_may_be_cut_while_they_are_clear() {
        assert_eq!(
            parse("--meta").unwrap_err(),
            "--meta may be --metadata or --metadata-key"
        );
        assert_eq!(parse("--metadata").unwrap().command, Some(Command::Metadata));
        assert!(parse("--fram").unwrap().framing);
        assert_eq!(parse("--progress-h=7").unwrap().progress_high, Some(7));
    }
}
