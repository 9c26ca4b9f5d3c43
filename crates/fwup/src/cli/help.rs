//! The text of `--help`.

use std::fmt::Write as _;

use super::options::{GROUPS, Spec};

/// The text; `program` is the name by which the program was called.
pub(crate) fn text(program: &str) -> String {
    let mut out = format!(
        "{program} makes, signs, inspects and applies firmware archives (.fw).\n\n\
         An archive is a ZIP file: meta.conf, which describes tasks, perhaps its signature, and the data. A task says what is\n\
         written where. 'complete' commonly fills an empty card, 'upgrade' the slot of a device that does not run.\n\n\
         Usage: {program} [OPTION]... [ARCHIVE]\n"
    );
    for group in GROUPS {
        // writing to a string cannot fail
        let _ = writeln!(out, "\n{}:", group.0);
        for spec in group.1 {
            let _ = writeln!(out, "  {:<32} {}", call(spec), spec.help);
        }
    }
    let _ = write!(
        out,
        "\nExamples:\n\
         \x20 {program} -c -f fwup.conf -o kiosk.fw                 make an archive\n\
         \x20 {program} -g                                          make keys; keep fwup-key.priv to yourself\n\
         \x20 {program} -S -s fwup-key.priv -i kiosk.fw -o kiosk.signed.fw\n\
         \x20 {program} -m -i kiosk.fw                              see what it is\n\
         \x20 {program} -V -p fwup-key.pub -i kiosk.fw              see whether it is whole, and yours\n\
         \x20 {program} --delta kiosk-1.fw kiosk-2.fw -o delta.fw    make what turns the one into the other\n\
         \x20 {program} -a -t complete -d kiosk.img -i kiosk.fw     make a disk image\n\
         \x20 {program} -a -t complete -d /dev/sdc -i kiosk.fw      write a card\n\
         \x20 {program} kiosk.fw                                    the same, on the only card attached\n\
         \x20 curl URL | {program} -a -t upgrade -d /dev/mmcblk0 -U -p fwup-key.pub\n\
         \nThe status is 0 when everything is done and durable, else 1; the reason is then the last line, or the ER frame.\n\
         A frame of -F is four bytes of length, two letters (OK, ER, WN, PR), two bytes of code (PR: the percentage), text.\n\
         An archive on standard input comes in frames then too: four bytes of length and the data; length 0 is the end.\n"
    );
    out
}

/// How an option is called: `-t, --task NAME`.
fn call(spec: &Spec) -> String {
    let letters = match (spec.letters.chars().next(), spec.letters.chars().next_back()) {
        (Some(first), Some(last)) if first != last => format!("-{first}..-{last}"),
        (Some(letter), _) => format!("-{letter}"),
        _ => String::new(),
    };
    let long = if spec.long.is_empty() {
        String::new()
    } else {
        format!("--{}", spec.long)
    };
    let separator = if letters.is_empty() || long.is_empty() {
        ""
    } else {
        ", "
    };
    format!("{letters}{separator}{long} {}", spec.value)
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_a_line_that_fits() {
        let help = text("fwup");
        for spec in GROUPS.iter().flat_map(|group| group.1) {
            let line = help.lines().find(|line| line.trim_start().starts_with(&call(spec)));
            assert!(line.is_some_and(|line| line.contains(spec.help)), "{}", call(spec));
        }
        for line in help.lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
        assert!(help.contains("Usage: fwup "));
    }
}
