//! The options: one table, of which the parser and `--help` are made.

use std::{ffi::OsString, path::PathBuf};

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
    /// Print the cards that were found.
    Detect,
    /// Print the card that would be written to.
    Choose,
    Help,
    Version,
}

/// What the command line says.
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
    pub(crate) numbers: bool,
    pub(crate) quiet: bool,
    pub(crate) verify_writes: Option<bool>,
    pub(crate) minimize_writes: bool,
    pub(crate) enable_trim: bool,
    pub(crate) max_blocks: Option<u64>,
    pub(crate) keep_mounts: bool,
    pub(crate) allow_unsafe: bool,
    pub(crate) accept_card: bool,
    pub(crate) reboot_param: Option<PathBuf>,
    pub(crate) progress_low: Option<u8>,
    pub(crate) progress_high: Option<u8>,
    pub(crate) level: Option<u8>,
    /// The archive that a delta is made from.
    pub(crate) delta: Option<PathBuf>,
    pub(crate) drop_unused: bool,
    pub(crate) sparse_check: Option<PathBuf>,
    pub(crate) sparse_check_size: Option<u64>,
    /// Words that belong to no option.
    pub(crate) rest: Vec<OsString>,
}

/// What an option does. The functions say where a value goes.
#[derive(Clone, Copy)]
pub(crate) enum Set {
    /// Takes no value; gets the letter by which it was called, or a blank.
    Flag(fn(&mut Args, char)),
    Path(fn(&mut Args) -> &mut Option<PathBuf>),
    Paths(fn(&mut Args) -> &mut Vec<PathBuf>),
    Text(fn(&mut Args) -> &mut Option<String>),
    Texts(fn(&mut Args) -> &mut Vec<String>),
    Number(fn(&mut Args) -> &mut Option<u64>),
    Percent(fn(&mut Args) -> &mut Option<u8>),
}

/// An option.
pub(crate) struct Spec {
    /// The letters by which it is called; mostly one or none.
    pub(crate) letters: &'static str,
    /// Its long name; empty when there is none.
    pub(crate) long: &'static str,
    pub(crate) set: Set,
    /// What the help calls its value.
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
}

/// Options that belong together, under a headline.
pub(crate) struct Group(pub(crate) &'static str, pub(crate) &'static [Spec]);

/// An option without a value.
const fn flag(letters: &'static str, long: &'static str, set: fn(&mut Args, char), help: &'static str) -> Spec {
    value(letters, long, Set::Flag(set), "", help)
}

const fn value(letters: &'static str, long: &'static str, set: Set, value: &'static str, help: &'static str) -> Spec {
    Spec {
        letters,
        long,
        set,
        value,
        help,
    }
}

pub(crate) const GROUPS: &[Group] = &[
    Group(
        "What to do",
        &[
            flag(
                "a",
                "apply",
                |args, _| args.command = Some(Command::Apply),
                "write firmware: run a task (-t) of an archive on a file or device (-d)",
            ),
            flag(
                "c",
                "create",
                |args, _| args.command = Some(Command::Create),
                "make an archive (-o) from a config (-f)",
            ),
            flag(
                "m",
                "metadata",
                |args, _| args.command = Some(Command::Metadata),
                "print what an archive says about itself",
            ),
            flag(
                "l",
                "list",
                |args, _| args.command = Some(Command::List),
                "print the tasks of an archive",
            ),
            flag(
                "V",
                "verify",
                |args, _| args.command = Some(Command::Verify),
                "check an archive's signature, lengths and hashes",
            ),
            flag(
                "S",
                "sign",
                |args, _| args.command = Some(Command::Sign),
                "sign an archive (-i, -o) with a private key (-s)",
            ),
            value(
                "",
                "delta",
                Set::Path(|args| &mut args.delta),
                "OLD",
                "make a delta (-o) that turns the firmware OLD into ARCHIVE (or -i)",
            ),
            flag(
                "g",
                "gen-keys",
                |args, _| args.command = Some(Command::Generate),
                "make a key pair: fwup-key.pub and fwup-key.priv, or as -o says",
            ),
            flag(
                "D",
                "detect",
                |args, _| args.command = Some(Command::Detect),
                "print the memory cards that are attached, and their sizes in bytes",
            ),
            flag(
                "z",
                "",
                |args, _| args.command = Some(Command::Choose),
                "print the memory card that would be written to without -d",
            ),
            value(
                "",
                "sparse-check",
                Set::Path(|args| &mut args.sparse_check),
                "PATH",
                "find out whether files at a path can have holes",
            ),
            flag(
                "h",
                "help",
                |args, _| args.command = Some(Command::Help),
                "print this text",
            ),
            flag(
                "",
                "version",
                |args, _| args.command = Some(Command::Version),
                "print the level of the format that is understood",
            ),
        ],
    ),
    Group(
        "On what",
        &[
            value(
                "i",
                "",
                Set::Path(|args| &mut args.input),
                "FILE",
                "the archive to read; - or nothing for standard input",
            ),
            value(
                "o",
                "",
                Set::Path(|args| &mut args.output),
                "FILE",
                "the archive to write; - or nothing for standard output",
            ),
            value(
                "f",
                "",
                Set::Path(|args| &mut args.config),
                "FILE",
                "the config of -c (fwup.conf); - for standard input",
            ),
            value(
                "d",
                "",
                Set::Path(|args| &mut args.target),
                "PATH",
                "the file or device to write to; a file is made, and grows",
            ),
            value(
                "t",
                "task",
                Set::Text(|args| &mut args.task),
                "NAME",
                "the task: the first whose name begins so and whose requirements hold",
            ),
            value(
                "",
                "metadata-key",
                Set::Text(|args| &mut args.metadata_key),
                "NAME",
                "with -m: print only this value, for example meta-uuid",
            ),
            flag(
                "y",
                "",
                |args, _| args.accept_card = true,
                "do not ask before a card that was found is written to",
            ),
        ],
    ),
    Group(
        "Keys",
        &[
            value(
                "p",
                "public-key-file",
                Set::Paths(|args| &mut args.public_key_files),
                "FILE",
                "accept only archives that this key signed; up to ten may be given",
            ),
            value(
                "",
                "public-key",
                Set::Texts(|args| &mut args.public_keys),
                "KEY",
                "the same, with the key itself",
            ),
            value(
                "s",
                "private-key-file",
                Set::Path(|args| &mut args.private_key_file),
                "FILE",
                "sign with this key",
            ),
            value(
                "",
                "private-key",
                Set::Text(|args| &mut args.private_key),
                "KEY",
                "the same, with the key itself",
            ),
        ],
    ),
    Group(
        "How it is written",
        &[
            flag(
                "u",
                "unmount",
                |args, _| args.keep_mounts = false,
                "unmount what is mounted from the device first (default)",
            ),
            flag(
                "U",
                "no-unmount",
                |args, _| args.keep_mounts = true,
                "leave mounts alone",
            ),
            flag(
                "",
                "verify-writes",
                |args, _| args.verify_writes = Some(true),
                "read back what was written (default for devices)",
            ),
            flag(
                "",
                "no-verify-writes",
                |args, _| args.verify_writes = Some(false),
                "do not (default for files)",
            ),
            flag(
                "",
                "minimize-writes",
                |args, _| args.minimize_writes = true,
                "read first, and do not write what is the same already",
            ),
            flag(
                "",
                "no-minimize-writes",
                |args, _| args.minimize_writes = false,
                "write without reading first (default)",
            ),
            flag(
                "",
                "enable-trim",
                |args, _| args.enable_trim = true,
                "tell a device which blocks are of no use any more",
            ),
            value(
                "",
                "max-size",
                Set::Number(|args| &mut args.max_blocks),
                "BLOCKS",
                "the target ends after so many blocks of 512 bytes",
            ),
            flag(
                "",
                "unsafe",
                |args, _| args.allow_unsafe = true,
                "let firmware run commands and write files here: trust whoever signed it",
            ),
            value(
                "",
                "reboot-param-path",
                Set::Path(|args| &mut args.reboot_param),
                "FILE",
                "the file that reboot_param writes, for the next boot",
            ),
            flag("E", "eject", |_, _| (), "accepted: Linux needs no ejecting"),
            flag("", "no-eject", |_, _| (), "accepted"),
        ],
    ),
    Group(
        "What is said",
        &[
            flag(
                "n",
                "",
                |args, _| args.numbers = true,
                "progress as lines with a percentage",
            ),
            flag("q", "quiet", |args, _| args.quiet = true, "no progress"),
            flag("v", "verbose", |_, _| (), "accepted: errors always say all there is"),
            value(
                "",
                "progress-low",
                Set::Percent(|args| &mut args.progress_low),
                "PERCENT",
                "the first percentage (0)",
            ),
            value(
                "",
                "progress-high",
                Set::Percent(|args| &mut args.progress_high),
                "PERCENT",
                "the last percentage (100)",
            ),
            flag(
                "F",
                "framing",
                |args, _| args.framing = true,
                "speak in frames, for programs",
            ),
            flag(
                "",
                "exit-handshake",
                |args, _| args.exit_handshake = true,
                "at the end say 0x1a and the status, and wait for the end of input",
            ),
        ],
    ),
    Group(
        "How archives are made",
        &[
            flag(
                "123456789",
                "",
                |args, level| args.level = level.to_digit(10).map(|level| level as u8),
                "compression, from fast to small (9)",
            ),
            flag(
                "",
                "drop-unused",
                |args, _| args.drop_unused = true,
                "with --delta: leave out what no task beginning with -t (upgrade) uses",
            ),
            value(
                "",
                "sparse-check-size",
                Set::Number(|args| &mut args.sparse_check_size),
                "BYTES",
                "with --sparse-check: size of the hole (4096)",
            ),
        ],
    ),
];

/// All options.
pub(crate) fn specs() -> impl Iterator<Item = &'static Spec> + Clone {
    GROUPS.iter().flat_map(|group| group.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice_and_none_is_missing() {
        let mut names: Vec<String> = specs().map(|spec| spec.long.to_owned()).collect();
        names.extend(specs().flat_map(|spec| spec.letters.chars()).map(String::from));
        names.retain(|name| !name.is_empty());
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        // what format §11.2 and the manual of fwup list
        let letters = "acdDEfFghilmnopqsStuUvVyz123456789".chars().map(String::from);
        let long = "apply create detect eject enable-trim exit-handshake framing gen-keys help list max-size metadata \
            metadata-key minimize-writes no-eject no-minimize-writes no-unmount no-verify-writes private-key \
            private-key-file progress-high progress-low public-key public-key-file quiet reboot-param-path sign \
            sparse-check sparse-check-size task unmount unsafe verbose verify verify-writes version";
        for name in letters.chain(long.split(' ').map(String::from)) {
            assert!(names.binary_search(&name).is_ok(), "{name}");
        }
    }
}
