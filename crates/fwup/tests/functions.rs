//! What functions and requirements do that the vectors do not show: on the library, as a device's agent uses it.

#![cfg(test)]

use std::{
    cell::RefCell,
    ffi::OsStr,
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt as _,
    path::Path,
    rc::Rc,
};

use muster_fwup::{
    Applied, ApplyOptions, Archive, BlockTarget, CreateOptions, Env, Error, ErrorKind, Host, HostSink, MemoryTarget,
    Outlet, create_from_str,
};

const HEAD: &str = "meta-product = test\n";

fn archive(config: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let config = format!("{HEAD}{config}");
    create_from_str(&config, Path::new(""), &Env::new(), &CreateOptions::default(), &mut out).unwrap();
    out
}

fn run(config: &str, target: &mut impl BlockTarget, options: &ApplyOptions<'_>) -> Result<Applied, Error> {
    Archive::open(&archive(config)[..], &[], &Env::new())?.apply(target, "t", options, &mut |_| ())
}

/// A host that only writes down what it is asked for.
#[derive(Clone, Debug, Default)]
struct Diary {
    lines: Rc<RefCell<Vec<String>>>,
    refuses: bool,
}

impl Diary {
    fn note(&self, line: String) -> io::Result<()> {
        self.lines.borrow_mut().push(line);
        if self.refuses {
            Err(io::Error::other("not today"))
        } else {
            Ok(())
        }
    }
}

impl Host for Diary {
    fn execute(&self, command: &OsStr) -> io::Result<()> {
        self.note(format!("execute {}", command.display()))
    }

    fn open(&self, outlet: Outlet<'_>) -> io::Result<Box<dyn HostSink>> {
        self.note(format!("open {outlet:?}"))?;
        Ok(Box::new(Page(self.clone(), Vec::new())))
    }
}

struct Page(Diary, Vec<u8>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl HostSink for Page {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0
            .note(format!("end {}", String::from_utf8_lossy(&self.1).replace('\0', "0")))
    }
}

const OUTSIDE: &str = "file-resource a { contents = \"abc\" } file-resource b { contents = \"def\" }\n\
    file-resource c { contents = \"ghi\" }\n\
    task t { on-init { raw_memset(0, 1, 1) execute(\"one\") } on-resource a { path_write(\"/a\") }\n\
    on-resource b { pipe_write(\"b\") } on-resource c { ubi_volume_write(\"/dev/ubi0_1\") } on-finish { execute(\"two\") } }";

#[test]
fn host_is_asked_in_the_order_of_the_task() {
    let diary = Diary::default();
    let options = ApplyOptions {
        host: Some(&diary),
        ..ApplyOptions::default()
    };
    run(OUTSIDE, &mut MemoryTarget::new(512), &options).unwrap();
    let want = [
        "execute one",
        "open File(\"/a\")",
        "end abc",
        "open Command(\"b\")",
        "end def",
        "open UbiVolume { path: \"/dev/ubi0_1\", len: 3 }",
        "end ghi",
        "execute two",
    ];
    assert_eq!(*diary.lines.borrow(), want);
}

#[test]
fn without_a_host_the_task_is_refused_by_name_before_the_first_byte() {
    let mut target = MemoryTarget::new(512);
    let error = run(OUTSIDE, &mut target, &ApplyOptions::default()).unwrap_err();
    assert_eq!(
        (error.kind(), error.target_was_written()),
        (ErrorKind::NotAllowed, false)
    );
    assert!(error.to_string().starts_with("on-init: execute: "), "{error}");
    // also when it stands only where errors are handled
    let config = "task t { on-init { raw_memset(0, 1, 1) } on-error { execute(\"x\") } }";
    let error = run(config, &mut target, &ApplyOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("on-error: execute: "), "{error}");
    assert_eq!(target, MemoryTarget::new(512));
    // a task that is not chosen may say what it wants
    let config = "task other { on-init { execute(\"x\") } } task t { on-init { info(\"\") } }";
    run(config, &mut target, &ApplyOptions::default()).unwrap();
}

#[test]
fn a_host_that_fails_stops_the_task_and_takes_back_what_waits() {
    let diary = Diary {
        refuses: true,
        ..Diary::default()
    };
    let options = ApplyOptions {
        host: Some(&diary),
        ..ApplyOptions::default()
    };
    let mut target = MemoryTarget::new(512);
    let error = run(OUTSIDE, &mut target, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FunctionFailed);
    assert_eq!(error.cause().to_string(), "execute(one) failed: not today");
    assert!(error.to_string().starts_with("on-init: execute(one)"), "{error}");
    assert_eq!(target, MemoryTarget::new(512));
}

#[test]
fn require_execute_asks_the_host() {
    let config = "task t.a { require-execute(\"yes?\") on-init { raw_memset(0, 1, 1) } } task t.b { on-init { raw_memset(0, 1, 2) } }";
    for (refuses, allowed, chosen) in [(false, true, "t.a"), (true, true, "t.b"), (false, false, "t.b")] {
        let diary = Diary {
            refuses,
            ..Diary::default()
        };
        let options = ApplyOptions {
            host: allowed.then_some(&diary as &dyn Host),
            ..ApplyOptions::default()
        };
        let applied = run(config, &mut MemoryTarget::new(512), &options).unwrap();
        assert_eq!(applied.task, chosen);
        assert_eq!(diary.lines.borrow().len(), usize::from(allowed));
    }
    let alone = "task t { require-execute(\"yes?\") }";
    let error = run(alone, &mut MemoryTarget::new(512), &ApplyOptions::default()).unwrap_err();
    assert!(error.to_string().contains("--unsafe"), "{error}");
}

/// A target that logs its writes and flushes, and stops taking writes at one.
#[derive(Default)]
struct Log {
    inner: MemoryTarget,
    steps: Vec<Option<(u64, usize)>>,
    left: Option<usize>,
}

impl BlockTarget for Log {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(1)
                .ok_or_else(|| io::Error::other("the power is gone"))?;
        }
        self.steps.push(Some((offset, buf.len())));
        self.inner.write_at(offset, buf)
    }

    fn size(&self) -> io::Result<Option<u64>> {
        self.inner.size()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.steps.push(None);
        Ok(())
    }
}

#[test]
fn the_reboot_parameter_is_written_when_all_else_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("param");
    let options = ApplyOptions {
        reboot_param: Some(path.clone()),
        ..ApplyOptions::default()
    };
    let config =
        "task t { on-init { reboot_param(\"first\") raw_memset(0, 1, 1) } on-finish { reboot_param(\"0 tryboot\") } }";
    let mut cut = Log {
        left: Some(0),
        ..Log::default()
    };
    run(config, &mut cut, &options).unwrap_err();
    assert!(
        !path.exists(),
        "nothing was written, so the next boot is an ordinary one"
    );
    run(config, &mut Log::default(), &options).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"0 tryboot");

    fs::remove_file(&path).unwrap();
    let fails = "task t { on-init { reboot_param(\"x\") error(\"no\") } on-error { info(\"\") } }";
    run(fails, &mut Log::default(), &options).unwrap_err();
    assert!(!path.exists());
    let rescued = "task t { on-init { error(\"no\") } on-error { reboot_param(\"rescue\") } }";
    run(rescued, &mut Log::default(), &options).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"rescue");

    let error = run(config, &mut Log::default(), &ApplyOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAllowed);
    let nowhere = ApplyOptions {
        reboot_param: Some(dir.path().join("no/folder")),
        ..ApplyOptions::default()
    };
    let error = run(config, &mut Log::default(), &nowhere).unwrap_err();
    assert!(error.to_string().starts_with("reboot_param failed: "), "{error}");
}

const GPT: &str = "gpt g { guid = b443fbeb-2c93-481b-88b3-0ecb0aeba911\n\
    partition 0 { block-offset = 64 block-count = 100 guid = fcc205c8-2f1c-4dcd-bef4-7b209aa15cca\n\
    type = 0fc63daf-8483-4772-8e79-3d69d8477de4 name = COUNT expand = true } }\n\
    mbr m { partition 0 { block-offset = 1 block-count = 63 type = 0xee } }\n\
    task t { on-init { raw_memset(64, 100, 5) gpt_write(g) } } task hybrid { on-init { gpt_write(g) mbr_write(m) } }";

/// Whether the disk has a copy of the table with right sums, and its partition's name.
fn table(disk: &[u8], header: usize) -> Option<String> {
    let number = |at: usize| {
        disk.get(header + at..header + at + 4)
            .map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
    };
    let bytes = disk
        .get(header..header + 92)
        .filter(|bytes| bytes.starts_with(b"EFI PART"))?;
    let mut zeroed = bytes.to_vec();
    zeroed[16..20].fill(0);
    let entries = number(72)? as usize * 512;
    let entries = disk.get(entries..entries + 128 * 128)?;
    let good = crc32fast::hash(&zeroed) == number(16)? && crc32fast::hash(entries) == number(88)?;
    good.then(|| {
        entries[56..128]
            .iter()
            .filter(|byte| **byte != 0)
            .map(|byte| char::from(*byte))
            .collect()
    })
}

#[test]
fn at_every_cut_one_copy_of_a_gpt_is_whole() {
    let (old, new) = (GPT.replace("COUNT", "old"), GPT.replace("COUNT", "new"));
    let mut disk = MemoryTarget::new(1024 * 512);
    run(&old, &mut disk, &ApplyOptions::default()).unwrap();
    let tables = |disk: &[u8]| (table(disk, 512), table(disk, 1023 * 512));
    assert_eq!(tables(&disk.bytes), (Some("old".into()), Some("old".into())));
    let log = |left| Log {
        inner: disk.clone(),
        left,
        ..Log::default()
    };
    let mut whole = log(None);
    run(&new, &mut whole, &ApplyOptions::default()).unwrap();
    assert_eq!(tables(&whole.inner.bytes), (Some("new".into()), Some("new".into())));
    let writes = whole.steps.iter().flatten().count();
    for cut in 0..writes {
        let mut target = log(Some(cut));
        run(&new, &mut target, &ApplyOptions::default()).unwrap_err();
        let (first, second) = tables(&target.inner.bytes);
        assert_eq!(
            first.as_deref(),
            Some("old"),
            "the first copy changes with the last write"
        );
        assert!(second.is_some(), "cut {cut} of {writes}");
    }
    // the copies are told apart by a flush
    let ends = &whole.steps[whole.steps.len() - 4..];
    assert!(
        matches!(ends, [Some((second, _)), None, Some((0, 17408)), None] if *second == 991 * 512),
        "{ends:?}"
    );
}

#[test]
fn a_gpt_that_has_no_room_is_refused_before_anything_is_written() {
    let config = GPT.replace("COUNT", "x");
    for blocks in [1, 34, 100, 196] {
        let mut target = MemoryTarget::new(blocks * 512);
        let error = run(&config, &mut target, &ApplyOptions::default()).unwrap_err();
        assert_eq!(
            (error.kind(), error.target_was_written()),
            (ErrorKind::NotAllowed, false),
            "{blocks}"
        );
        assert!(error.to_string().contains("needs 197 blocks"), "{error}");
        assert_eq!(target, MemoryTarget::new(blocks * 512));
    }
    run(&config, &mut MemoryTarget::new(197 * 512), &ApplyOptions::default()).unwrap();
}

/// Which of two tasks is chosen: `t.yes` with a requirement, or `t.no` without.
fn holds(requirement: &str, config: &str, target: &mut MemoryTarget) -> bool {
    let config =
        format!("{config} task t.yes {{ {requirement} on-init {{ info(x) }} }} task t.no {{ on-init {{ info(x) }} }}");
    run(&config, target, &ApplyOptions::default()).unwrap().task == "t.yes"
}

#[test]
fn partitions_are_where_they_are_required() {
    let mut disk = MemoryTarget::new(512);
    let config = "mbr m { partition 0 { block-offset = 63 block-count = 10 type = 1 } \
        partition 1 { block-offset = 100 block-count = 10 type = 1 } }";
    assert!(
        !holds("require-partition-offset(0, 0)", config, &mut disk),
        "a disk without a table has no partitions"
    );
    run(
        &format!("{config} task t {{ on-init {{ mbr_write(m) }} }}"),
        &mut disk,
        &ApplyOptions::default(),
    )
    .unwrap();
    for (requirement, want) in [
        ("require-partition-offset(0, 63)", true),
        ("require-partition-offset(0, 0x3f)", true),
        ("require-partition-offset(0, 077)", true),
        ("require-partition-offset(0, 64)", false),
        ("require-partition-offset(1, 100)", true),
        ("require-partition-offset(2, 0)", true),
        ("require-partition-offset(4, 0)", false),
        ("require-partition-offset(18446744073709551615, 0)", false),
        ("require-partition-offset(0, 18446744073709551679)", false),
        ("require-partition-offset(zero, 63)", false),
        ("require-partition-offset(0, 63) require-partition-offset(1, 99)", false),
        ("require-partition1-offset = 100", true),
        ("require-partition1-offset = 63", false),
    ] {
        assert_eq!(holds(requirement, config, &mut disk), want, "{requirement}");
    }
}

#[test]
fn files_are_there_when_they_are_required() {
    let mut disk = MemoryTarget::new(0);
    // the pattern lies across the borders of what is read at a time
    let mut text = "x".repeat(4090);
    text.push_str("needle in a haystack");
    let config = format!(
        "file-resource f {{ contents = \"{text}\" }} task t {{ on-init {{ fat_mkfs(10, 500) fat_mkdir(10, dir) }} \
        on-resource f {{ fat_write(10, \"dir/file.txt\") }} }}"
    );
    run(&config, &mut disk, &ApplyOptions::default()).unwrap();
    let long = "y".repeat(muster_fwup::caps::FAT_PATTERN_MAX);
    let most = "x".repeat(muster_fwup::caps::FAT_PATTERN_MAX - 10);
    for (requirement, want) in [
        ("require-fat-file-exists(10, \"dir/file.txt\")", true),
        ("require-fat-file-exists(10, \"/DIR/FILE.TXT\")", true),
        ("require-fat-file-exists(10, dir)", false),
        ("require-fat-file-exists(10, none)", false),
        ("require-fat-file-exists(11, \"dir/file.txt\")", false),
        ("require-fat-file-exists(18446744073709551615, x)", false),
        ("require-fat-file-exists(36028797018963968, x)", false),
        ("require-fat-file-exists(ten, x)", false),
        ("require-fat-file-match(10, \"dir/file.txt\", needle)", true),
        (
            "require-fat-file-match(10, \"dir/file.txt\", \"xneedle in a hay\")",
            true,
        ),
        ("require-fat-file-match(10, \"dir/file.txt\", \"\")", true),
        ("require-fat-file-match(10, none, \"\")", false),
        ("require-fat-file-match(10, \"dir/file.txt\", Needle)", false),
        (&format!("require-fat-file-match(10, \"dir/file.txt\", {most})"), true),
        (&format!("require-fat-file-match(10, \"dir/file.txt\", {long})"), false),
    ] {
        let before = disk.clone();
        assert_eq!(holds(requirement, "", &mut disk), want, "{requirement}");
        assert_eq!(disk, before, "looking changes nothing");
    }
}

#[test]
fn paths_are_compared_with_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = MemoryTarget::new(512);
    for requirement in [
        "require-path-on-device(\"/\", \"/dev/null\")",
        "require-path-on-device(\"/none\", \"/dev/null\")",
        "require-path-at-offset(\"/none\", 0)",
        "require-path-at-offset(\"/proc\", 0)",
        "require-path-at-offset(\"/\", word)",
    ] {
        assert!(!holds(requirement, "", &mut disk), "{requirement}");
    }
    // where the tests lie on a partition, its own offset holds
    let device = fs::metadata(dir.path()).unwrap().dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let start = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/start"));
    let requirement = |block: &str| format!("require-path-at-offset(\"{}\", {block})", dir.path().display());
    match start {
        Ok(start) => assert!(holds(&requirement(start.trim()), "", &mut disk)),
        Err(_) => assert!(!holds(&requirement("0"), "", &mut disk)),
    }
}

#[test]
fn an_encrypted_write_differs_only_where_it_lies() {
    let secret = "00112233445566778899aabbccddeeff102132435465768798a9bacbdcedfe0f";
    let config = |block: u64, cipher: &str| {
        format!(
            "file-resource f {{ contents = \"{}\" }} task t {{ on-resource f {{ raw_write({block}{cipher}) }} }}",
            "secret ".repeat(300)
        )
    };
    let write = |block, cipher: &str| {
        let mut target = MemoryTarget::new(0);
        run(&config(block, cipher), &mut target, &ApplyOptions::default()).unwrap();
        target.bytes[block as usize * 512..][..5 * 512].to_vec()
    };
    let cipher = format!(", \"cipher=aes-cbc-plain,secret={secret}\"");
    let here = write(3, &cipher);
    assert_eq!(write(300, &cipher), here, "sectors count from where the write begins");
    assert!(!here.windows(6).any(|bytes| bytes == b"secret"));
    assert_ne!(here[..512], write(3, "")[..512]);
    let mut target = MemoryTarget::new(0);
    let config = config(3, "").replace(
        "raw_write(3)",
        "raw_write(3, \"cipher=aes-cbc-plain\", \"secret=\\${KEY}\")",
    );
    let bytes = archive(&config);
    let open = |env: &Env| Archive::open(&bytes[..], &[], env).unwrap();
    let error = open(&Env::new())
        .apply(&mut target, "t", &ApplyOptions::default(), &mut |_| ())
        .unwrap_err();
    assert_eq!((error.kind(), target.bytes.len()), (ErrorKind::BadFunction, 0));
    let mut env = Env::new();
    env.set("KEY", secret);
    open(&env)
        .apply(&mut target, "t", &ApplyOptions::default(), &mut |_| ())
        .unwrap();
    assert_eq!(target.bytes[3 * 512..8 * 512], here);
}
