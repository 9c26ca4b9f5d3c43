//! The program as people and programs use it: what the vectors of format §11 leave open.

#![cfg(test)]

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use muster_fwup::{CreateOptions, Env, create_from_str};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-fwup");

/// A folder with an archive, from which the program is called.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("data.bin"), vec![7; 300_000]).unwrap();
        let out = fs::File::create(dir.path().join("x.fw")).unwrap();
        create_from_str(config, dir.path(), &Env::new(), &CreateOptions::default(), out).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(line.split_whitespace()).current_dir(&self.dir);
        command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line}: {said}");
        said
    }

    fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        said
    }
}

const PLAIN: &str = "file-resource data.bin { host-path = data.bin }\n\
    task complete { on-init { info(\"hello\") } on-resource data.bin { raw_write(8) } on-finish { raw_memset(0, 1, 1) } }\n\
    task broken { on-resource data.bin { raw_write(8) } on-finish { error(\"broken on purpose\") } }";

#[test]
fn without_words_it_teaches_and_fails() {
    let desk = Desk::new(PLAIN);
    let said = desk.fails("");
    assert!(
        said.contains("Usage: muster-fwup [OPTION]") && said.contains("--task NAME"),
        "{said}"
    );
    assert_eq!(desk.ok("--help"), said);
    assert_eq!(desk.ok("-h"), said);
    assert_eq!(desk.ok("--version"), "1.16.0\n");
    assert!(desk.fails("--bogus").starts_with("fwup: --bogus is no option"));
    assert!(desk.fails("-q").starts_with("fwup: say what to do"));
}

#[test]
fn it_goes_by_the_name_that_it_is_called() {
    let desk = Desk::new(PLAIN);
    symlink(PROGRAM, desk.path("fwup")).unwrap();
    let said = Command::new(desk.path("fwup")).arg("--help").output().unwrap().stdout;
    assert!(String::from_utf8(said).unwrap().contains("Usage: fwup [OPTION]"));
    // a program that is started without any name at all
    let said = Command::new(PROGRAM).arg0("").arg("--version").output().unwrap().stdout;
    assert_eq!(said, b"1.16.0\n");
}

#[test]
fn a_person_sees_a_bar_and_how_it_ended() {
    let desk = Desk::new(PLAIN);
    let said = desk.ok("-a -i x.fw -d img -t complete");
    assert!(
        said.starts_with("\r  0% [                                    ]"),
        "{said:?}"
    );
    assert!(said.contains("\nfwup: hello\n"), "{said:?}");
    assert!(
        said.contains("\r100% [====================================] "),
        "{said:?}"
    );
    assert!(
        said.contains(" in / 393.22 KB out \nSuccess!\nElapsed time: "),
        "{said:?}"
    );

    let output = desk.run("-a -i x.fw -d img -t broken");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), &b"\n"[..]));
    assert!(output.stdout.ends_with(b"fwup: broken on purpose\n"));
    let output = desk.run("-a -q -i x.fw -d img -t broken");
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"fwup: broken on purpose\n"[..], &b""[..])
    );
}

#[test]
fn an_archive_alone_looks_for_a_card_and_never_guesses() {
    let desk = Desk::new(PLAIN);
    // a file that is named is no card that must be found
    desk.ok("-q -d img x.fw");
    assert_eq!(desk.read("img")[4096..304_096], vec![7; 300_000]);
    assert!(desk.fails("-q x.fw y.fw").contains("'x.fw' is no option"));
    assert!(desk.fails("-a -q x.fw").contains("'x.fw' is no option"));
}

#[test]
fn writes_are_verified_and_saved_where_asked() {
    let desk = Desk::new(PLAIN);
    desk.ok("-a -q -i x.fw -d img -t complete --verify-writes");
    let image = desk.read("img");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let age = |time| {
        let file = fs::File::options().write(true).open(desk.path("img")).unwrap();
        file.set_modified(time).unwrap();
    };
    let modified = || fs::metadata(desk.path("img")).unwrap().modified().unwrap();
    age(old);
    desk.ok("-a -q -i x.fw -d img -t complete --minimize-writes");
    assert_eq!(modified(), old, "nothing differs, so nothing is written");
    desk.ok("-a -q -i x.fw -d img -t complete --no-minimize-writes");
    assert_ne!(modified(), old);
    assert!(desk.read("img") == image);
    // what cannot be read back is not verified
    desk.ok("-a -q -i x.fw -d /dev/null -t complete --verify-writes --minimize-writes");
    assert!(
        desk.ok("-a -q -i x.fw -d img -t complete --enable-trim")
            .contains("of no use on a file")
    );
}

#[test]
fn targets_that_are_hardly_meant_are_refused() {
    let desk = Desk::new(PLAIN);
    fs::write(desk.path("img"), "precious").unwrap();
    let mut permissions = fs::metadata(desk.path("img")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(desk.path("img"), permissions).unwrap();
    assert!(desk.fails("-a -q -i x.fw -d img -t complete").contains("read-only"));
    assert_eq!(desk.read("img"), b"precious");
    assert!(
        desk.fails("-a -q -i x.fw -d /dev/no-such-device -t complete")
            .contains("/dev/no-such-device")
    );
    assert!(!Path::new("/dev/no-such-device").exists());
    desk.fails("-a -q -i x.fw -d . -t complete");
    desk.fails("-a -q -i x.fw -d no/folder/img -t complete");
    desk.fails("-a -q -i none.fw -d img2 -t complete");
    desk.fails("-a -q -i x.fw -d img2 -t none");
    assert!(!desk.path("img2").exists(), "a file that was made for nothing is gone");
}

const HOST: &str = "file-resource data.bin { host-path = data.bin }\n\
    task complete { on-init { raw_memset(0, 1, 1) execute(\"echo noise; echo more; cat\") }\n\
        on-resource data.bin { pipe_write(\"cat > piped; echo noise\") } }\n\
    task fails { on-init { raw_memset(0, 1, 2) } on-resource data.bin { pipe_write(\"cat >/dev/null; exit 3\") } }\n\
    task kills { on-resource data.bin { pipe_write(\"exec <&-; exit 0\") } }\n\
    task path { on-resource data.bin { path_write(\"no/folder/file\") } }\n\
    task ubi { on-resource data.bin { ubi_volume_write(\"data.bin\") } }\n\
    task asks { require-execute(\"test -e yes\") on-init { raw_memset(0, 1, 3) } }\n\
    task asks-not { on-init { raw_memset(0, 1, 4) } }";

#[test]
fn firmware_reaches_outside_only_when_it_may() {
    let desk = Desk::new(HOST);
    fs::write(desk.path("img"), [0; 512]).unwrap();
    for (task, function) in [
        ("complete", "execute"),
        ("fails", "pipe_write"),
        ("path", "path_write"),
        ("ubi", "ubi_volume"),
    ] {
        let said = desk.fails(&format!("-a -q -i x.fw -d img -t {task}"));
        assert!(said.contains(function) && said.contains("--unsafe"), "{said}");
        assert_eq!(desk.read("img"), [0; 512], "{task}");
    }
    assert!(!desk.path("piped").exists());

    // what commands say does not get between the frames
    let output = desk.run("-a -F --unsafe -i x.fw -d img -t complete");
    let frames = Frames::parse(&output.stdout);
    assert_eq!(frames.last().unwrap(), &("OK".to_owned(), 0, String::new()));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "noise\nmore\nnoise\n");
    assert_eq!(desk.read("piped"), vec![7; 300_000]);

    for (task, reason) in [
        ("fails", "exit status: 3"),
        ("kills", "roken pipe"),
        ("path", "No such file"),
        ("ubi", "Inappropriate ioctl"),
    ] {
        let said = desk.fails(&format!("-a -q --unsafe -i x.fw -d img -t {task}"));
        assert!(said.contains(reason), "{task}: {said}");
    }
    // what was written before a command failed is taken back
    assert_eq!(desk.read("img")[..512], [1; 512]);
    assert_eq!(desk.read("data.bin"), vec![7; 300_000], "a file that is no UBI volume");
}

#[test]
fn a_command_can_be_a_requirement() {
    let desk = Desk::new(HOST);
    let first = |options: &str| {
        desk.ok(&format!("-a -q -i x.fw -d img -t asks {options}"));
        desk.read("img")[0]
    };
    assert_eq!(first("--unsafe"), 4);
    fs::write(desk.path("yes"), "").unwrap();
    assert_eq!(first("--unsafe"), 3);
    assert_eq!(first(""), 4, "without --unsafe no command is run");
}

#[test]
fn images_end_where_they_must() {
    let desk = Desk::new(PLAIN);
    let said = desk.fails("-a -q -i x.fw -d img -t complete --max-size 500");
    assert!(said.contains("too small"), "{said}");
    desk.ok("-a -q -i x.fw -d img2 -t complete --max-size 0x258");
    assert_eq!(desk.read("img2").len(), 600 * 512);
}

/// The frames of an output.
struct Frames;

impl Frames {
    fn parse(mut bytes: &[u8]) -> Vec<(String, u16, String)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            frames.push(Self::read(&mut bytes));
        }
        frames
    }

    /// Kind, code and text of the next frame.
    fn read(from: &mut dyn std::io::Read) -> (String, u16, String) {
        let mut length = [0; 4];
        from.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut body).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (
            text(&body[..2]),
            u16::from_be_bytes([body[2], body[3]]),
            text(&body[4..]),
        )
    }
}

/// A program that drives ours as the updaters of devices do: frames in, frames out, both at a time.
struct Driver {
    child: Child,
    out: ChildStdout,
}

impl Driver {
    fn start(desk: &Desk, line: &str) -> Self {
        let mut command = desk.command(line);
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        // a program that does not answer must not hold up the tests
        command = Command::new("timeout");
        command.arg("60").arg(PROGRAM).args(args).current_dir(&desk.dir);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        Self { child, out }
    }

    fn send(&mut self, part: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(&(part.len() as u32).to_be_bytes()).unwrap();
        stdin.write_all(part).unwrap();
        stdin.flush().unwrap();
    }

    fn receive(&mut self) -> (String, u16, String) {
        Frames::read(&mut self.out)
    }

    /// Reads the last two bytes, sees that the program waits, lets it go, and returns its status.
    fn shake_hands(mut self) -> i32 {
        let mut hand = [0; 2];
        self.out.read_exact(&mut hand).unwrap();
        assert_eq!(hand[0], 0x1a);
        assert!(
            self.child.try_wait().unwrap().is_none(),
            "it waits for the end of its input"
        );
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap().code().unwrap();
        assert_eq!(i32::from(hand[1]), status);
        let mut rest = Vec::new();
        self.out.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
        status
    }
}

const DRIVEN: &str = "-a --framing --exit-handshake --no-unmount -d img -t complete";

#[test]
fn a_program_hears_of_progress_while_it_still_sends() {
    // bytes that do not compress, so that the archive is longer than what is read ahead
    let config = PLAIN
        .replace("data.bin { host-path", "noise.bin { host-path")
        .replace("= data.bin", "= noise.bin");
    let dir = tempfile::tempdir().unwrap();
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let noise: Vec<u8> = noise.take(400_000).collect();
    fs::write(dir.path().join("noise.bin"), &noise).unwrap();
    let out = fs::File::create(dir.path().join("x.fw")).unwrap();
    let config = config.replace("on-resource data.bin", "on-resource noise.bin");
    create_from_str(&config, dir.path(), &Env::new(), &CreateOptions::default(), out).unwrap();
    let desk = Desk { dir };
    let archive = desk.read("x.fw");

    let mut driver = Driver::start(&desk, DRIVEN);
    let (first, rest) = archive.split_at(200_000);
    first.chunks(1000).for_each(|part| driver.send(part));
    assert_eq!(driver.receive(), ("PR".into(), 0, String::new()));
    let mut percent = 0;
    while percent < 25 {
        match driver.receive() {
            (kind, code, _) if kind == "PR" => percent = code,
            (kind, _, text) => assert_eq!((kind.as_str(), text.as_str()), ("WN", "hello")),
        }
    }
    rest.chunks(1000).for_each(|part| driver.send(part));
    let last = loop {
        match driver.receive() {
            (kind, code, _) if kind == "PR" => assert!(code > percent && code <= 100),
            other => break other,
        }
    };
    assert_eq!(last, ("OK".into(), 0, String::new()));
    assert_eq!(driver.shake_hands(), 0);
    assert!(desk.read("img")[4096..404_096] == noise);
}

#[test]
fn a_program_that_gives_up_is_answered() {
    let desk = Desk::new(PLAIN);
    let archive = desk.read("x.fw");
    let mut driver = Driver::start(&desk, DRIVEN);
    driver.send(&archive[..archive.len() / 2]);
    driver.send(&[]);
    let last = loop {
        match driver.receive() {
            (kind, ..) if kind == "PR" || kind == "WN" => {}
            other => break other,
        }
    };
    assert_eq!(last.0, "ER");
    assert!(last.2.contains("ends in the middle"), "{}", last.2);
    assert_eq!(driver.shake_hands(), 1);

    // a call that makes no sense is answered in the same way
    let driver = Driver::start(&desk, "-a --framing --exit-handshake");
    let mut driver = driver;
    assert_eq!(driver.receive().0, "ER");
    assert_eq!(driver.shake_hands(), 1);
}

#[test]
fn a_program_that_is_gone_does_not_stop_the_update() {
    let desk = Desk::new(PLAIN);
    let mut driver = Driver::start(&desk, "-a --framing -d img -t complete -i x.fw");
    drop(driver.out);
    assert!(driver.child.wait().unwrap().success());
    assert_eq!(desk.read("img")[4096..304_096], vec![7; 300_000]);
}

#[test]
fn other_commands_answer_in_one_frame() {
    let desk = Desk::new(PLAIN);
    for line in ["-m", "-l", "-V"] {
        let plain = desk.ok(&format!("{line} -i x.fw"));
        let framed = desk.run(&format!("{line} -i x.fw -F")).stdout;
        assert_eq!(Frames::parse(&framed), [("OK".to_owned(), 0, plain)]);
    }
    let framed = Frames::parse(&desk.run("-V -i data.bin -F").stdout);
    assert_eq!((framed.len(), framed[0].0.as_str()), (1, "ER"));
}

#[test]
fn a_delta_is_made_and_applied() {
    const SLOTS: &str = r#"
        meta-product = "board"
        meta-version = "${VERSION}"
        file-resource data.bin { host-path = "data.bin" }
        task complete { on-resource data.bin { raw_write(64) } }
        task upgrade {
            on-resource data.bin {
                delta-source-raw-offset = 64
                delta-source-raw-count = 1024
                raw_write(2000)
            }
        }
    "#;
    let desk = Desk::new("");
    fs::write(desk.path("fwup.conf"), SLOTS).unwrap();
    let create = |version: &str, data: &[u8]| {
        fs::write(desk.path("data.bin"), data).unwrap();
        let mut command = desk.command(&format!("-c -f fwup.conf -o {version}.fw"));
        assert!(command.env("VERSION", version).status().unwrap().success());
    };
    let old: Vec<u8> = (0..300_000_u32)
        .flat_map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[..1].to_vec())
        .collect();
    let mut new = old.clone();
    new.splice(5000..5100, *b"another hundred bytes, or fewer");
    create("1", &old);
    create("2", &new);

    let table = desk.ok("--delta 1.fw 2.fw -o delta.fw");
    assert!(table.contains("data.bin") && table.contains("patch of "), "{table}");
    assert!(table.contains("needs fwup 1.6.0"), "{table}");
    assert!(desk.read("delta.fw").len() < desk.read("2.fw").len() / 10);
    desk.ok("-V -i delta.fw");
    assert_eq!(desk.ok("-m -i delta.fw"), desk.ok("-m -i 2.fw"));
    desk.ok("-a -q -t complete -d disk.img -i 1.fw");
    desk.ok("-a -q -t upgrade -d disk.img -i delta.fw");
    assert!(desk.read("disk.img")[2000 * 512..].starts_with(&new));

    let said = desk.fails("--delta 2.fw 2.fw -o none.fw");
    assert!(said.contains("no delta can be made: no resource has changed"), "{said}");
    assert!(!desk.path("none.fw").exists());
    for (line, why) in [
        ("--delta 1.fw", "name the new archive"),
        ("--delta 1.fw 2.fw", "-o names the delta"),
        ("--delta gone.fw 2.fw -o none.fw", "gone.fw: "),
    ] {
        let said = desk.fails(line);
        assert!(said.contains(why), "{line}: {said}");
    }
}
