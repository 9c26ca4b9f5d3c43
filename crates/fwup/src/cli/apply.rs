//! `-a`: applying an archive.

use std::{
    fs,
    io::{self, Read},
    ops::Range,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use muster_fwup::{ApplyOptions, Archive, BlockTarget, Event, FileTarget, Host};

use super::{Failure, cards, commands, host::Machine, input, mounts, options::Args, output::Output};

/// Applies a task of an archive.
pub(crate) fn apply(args: &Args, output: &mut Output) -> Result<String, Failure> {
    let task = args.task.as_deref().ok_or("-t names the task to apply")?;
    let path = match &args.target {
        Some(path) => path.clone(),
        None => choose_card(args, output)?,
    };
    let (read, written) = (Count::default(), Count::default());
    let reader = CountedSource(input::open(args)?, read.clone());
    let archive = Archive::open(reader, &commands::public_keys(args)?, &commands::environment())?;
    let existed = path.exists();
    let target = open_target(&path, args, output)?;
    let options = ApplyOptions {
        progress_low: args.progress_low.unwrap_or(0),
        progress_high: args.progress_high.unwrap_or(100),
        verify_writes: target.is_storage() && args.verify_writes.unwrap_or(target.is_device()),
        minimize_writes: target.is_storage() && args.minimize_writes,
        host: args.allow_unsafe.then_some(&Machine as &dyn Host),
        reboot_param: Some(args.reboot_param.clone().unwrap_or_else(default_reboot_param)),
    };
    let mut target = CountedTarget(target, written.clone());
    let mut observer = |event| match event {
        Event::Progress(percent) => output.progress(percent, read.get(), written.get()),
        Event::Info(text) => output.info(&text),
    };
    match archive.apply(&mut target, task, &options, &mut observer) {
        Ok(_) => {
            output.applied();
            Ok(String::new())
        }
        Err(error) => {
            if !existed && !error.target_was_written() {
                // a file that was made for nothing; if it cannot be removed the error is still the archive's
                let _ = fs::remove_file(&path);
            }
            output.not_applied();
            Err(error.cause().to_string().into())
        }
    }
}

/// Where systemd looks for the parameter, or where the reboot helpers of small systems do.
fn default_reboot_param() -> PathBuf {
    let systemd = Path::new("/run/systemd");
    let folder = if systemd.is_dir() { systemd } else { Path::new("/run") };
    folder.join("reboot-param")
}

fn choose_card(args: &Args, output: &mut Output) -> Result<PathBuf, Failure> {
    let card = cards::only()?;
    if !args.accept_card {
        if args.input.as_ref().is_none_or(|path| path.as_os_str() == "-") {
            let path = card.path.display();
            return Err(format!("nobody can be asked whether to write to {path} while standard input is the archive: say -y, or name it with -d").into());
        }
        let answer = output.ask(&format!(
            "Write to the card of {} at {}? [y/N] ",
            super::output::size(card.size),
            card.path.display()
        ))?;
        if !answer.trim().eq_ignore_ascii_case("y") {
            return Err("nothing was written".into());
        }
    }
    Ok(card.path)
}

fn open_target(path: &Path, args: &Args, output: &mut Output) -> Result<FileTarget, Failure> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    if let Ok(found) = fs::metadata(path) {
        if found.file_type().is_block_device() && !args.keep_mounts {
            mounts::unmount_all(path)?;
        }
        if found.is_file() && found.permissions().mode() & 0o222 == 0 {
            // root could write it all the same, which is hardly meant
            return Err(format!("{}: the file is read-only", path.display()).into());
        }
    }
    let mut target = FileTarget::create(path).map_err(failed)?;
    if args.enable_trim {
        if target.is_device() {
            target = target.with_trim();
        } else {
            output.info("--enable-trim is of no use on a file");
        }
    }
    if let Some(blocks) = args.max_blocks {
        target = target.with_max_size(blocks.checked_mul(512).ok_or("--max-size is too large")?);
    }
    Ok(target)
}

/// Bytes that passed by.
#[derive(Clone, Debug, Default)]
struct Count(Arc<AtomicU64>);

impl Count {
    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts what was read of the archive.
struct CountedSource(Box<dyn Read + Send>, Count);

impl Read for CountedSource {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buf)?;
        self.1.add(count);
        Ok(count)
    }
}

/// Counts what was written to the target.
struct CountedTarget(FileTarget, Count);

impl BlockTarget for CountedTarget {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.1.add(buf.len());
        self.0.write_at(offset, buf)
    }

    fn size(&self) -> io::Result<Option<u64>> {
        self.0.size()
    }

    fn hard_end(&self) -> Option<u64> {
        self.0.hard_end()
    }

    fn trim(&mut self, range: Range<u64>) -> io::Result<bool> {
        self.0.trim(range)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
