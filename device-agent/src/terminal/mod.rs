//! A shell on a pseudo terminal, for the console and the extension `local_shell`.
//!
//! A terminal becomes a process's own only in that process and before its program runs. So the agent runs itself as
//! `on-terminal PROGRAM…` there, which takes the terminal over and becomes the program ([`take_over`]); a library's user
//! whose own binary is the agent handles that command the same way.

mod decode;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::decode::Decoder;

/// Output is read in pieces of this.
const READ_BYTES: usize = 4096;
/// Input that the shell does not read is kept up to this, and dropped beyond.
const UNREAD_MAX: usize = 64 * 1024;
/// Inputs that wait for the task.
const INPUTS_MAX: usize = 32;
/// What is still written when the shell has ended is waited for so long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What is given to a terminal.
#[derive(Debug)]
pub enum Input {
    /// Key strokes.
    Text(String),
    /// The size of the window.
    Window {
        /// Lines.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// A signal for the shell and everything in its process group.
    Kill(Signal),
}

/// What comes from a terminal.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Text; bytes that are none are replaced.
    Text(String),
    /// The shell has ended: its code, or minus the signal that ended it.
    Ended(i64),
}

/// A shell; dropped, it is hung up on and killed.
#[derive(Debug)]
pub struct Terminal {
    input: mpsc::Sender<Input>,
    task: JoinHandle<()>,
    group: Option<Pid>,
}

impl Terminal {
    /// Starts a program on a terminal of this size. What it writes goes to `output`, and waits where that is full.
    ///
    /// # Errors
    /// When there is no terminal, or the program cannot be run.
    pub fn start(program: &[String], rows: u16, cols: u16, output: mpsc::Sender<Output>) -> io::Result<Self> {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        resize(&master, rows, cols)?;
        rustix::fs::fcntl_setfl(&master, rustix::fs::fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        let child = spawn(program, slave)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let (input, inputs) = mpsc::channel(INPUTS_MAX);
        #[expect(
            deprecated,
            reason = "a file keeps its descriptor; the way that is not deprecated is unsafe code"
        )]
        let master = AsyncFd::new(File::from(master))?;
        Ok(Self {
            input,
            task: tokio::spawn(run(master, child, inputs, output)),
            group,
        })
    }

    /// Gives it something; what does not fit is dropped, as a terminal that nobody reads does.
    pub fn give(&self, input: Input) {
        if let Input::Kill(signal) = input {
            self.kill(signal);
        } else if self.input.try_send(input).is_err() {
            tracing::debug!("terminal takes no input");
        }
    }

    fn kill(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An error says that it is gone already.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.kill(Signal::SIGHUP);
        self.kill(Signal::SIGKILL);
        self.task.abort();
    }
}

/// Becomes `program`, with the terminal on standard input as its own; returns only where that fails.
pub fn take_over(program: &[OsString]) -> io::Error {
    let Some((first, arguments)) = program.split_first() else {
        return io::Error::from(io::ErrorKind::InvalidInput);
    };
    if let Err(cause) = nix::unistd::setsid() {
        return cause.into();
    }
    if let Err(cause) = rustix::process::ioctl_tiocsctty(io::stdin()) {
        return cause.into();
    }
    std::process::Command::new(first).args(arguments).exec()
}

fn spawn(program: &[String], slave: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    for variable in crate::notify::VARIABLES {
        command.env_remove(variable);
    }
    if std::env::var_os("TERM").is_none() {
        command.env("TERM", "xterm");
    }
    command
        .arg("on-terminal")
        .args(program)
        .stdin(Stdio::from(slave.try_clone()?))
        .stdout(Stdio::from(slave.try_clone()?))
        .stderr(Stdio::from(slave))
        .kill_on_drop(true)
        .spawn()
}

fn resize(master: impl rustix::fd::AsFd, rows: u16, cols: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}

/// The task of one terminal.
async fn run(master: AsyncFd<File>, mut child: Child, mut inputs: mpsc::Receiver<Input>, output: mpsc::Sender<Output>) {
    let mut unread: VecDeque<u8> = VecDeque::new();
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; READ_BYTES];
    let status = loop {
        tokio::select! {
            text = read(&master, &mut buffer, &mut decoder, &output) => {
                if !text {
                    break child.wait().await;
                }
            }
            input = inputs.recv() => match input {
                Some(Input::Text(text)) => {
                    let room = UNREAD_MAX.saturating_sub(unread.len());
                    unread.extend(text.bytes().take(room));
                }
                Some(Input::Window { rows, cols }) => {
                    if let Err(cause) = resize(master.get_ref(), rows, cols) {
                        tracing::debug!(error = %cause, "terminal not resized");
                    }
                }
                Some(Input::Kill(_)) => {}
                None => return,
            },
            () = write(&master, &mut unread), if !unread.is_empty() => {}
            status = child.wait() => {
                // What it wrote last may still be on its way.
                let rest = async { while read(&master, &mut buffer, &mut decoder, &output).await {} };
                let _ = tokio::time::timeout(LAST_WORDS, rest).await;
                break status;
            }
        }
    };
    let _ = output.send(Output::Ended(status.map_or(-1, code))).await;
}

/// Reads once and passes it on; false at the end. Nothing is read while nobody takes it.
async fn read(master: &AsyncFd<File>, buffer: &mut [u8], decoder: &mut Decoder, output: &mpsc::Sender<Output>) -> bool {
    let Ok(permit) = output.reserve().await else {
        return false;
    };
    let read = loop {
        let Ok(mut ready) = master.readable().await else {
            return false;
        };
        if let Ok(read) = ready.try_io(|master| master.get_ref().read(buffer)) {
            break read;
        }
    };
    match read {
        // A terminal without a program answers with EIO.
        Ok(0) | Err(_) => false,
        Ok(length) => {
            let text = decoder.decode(buffer.get(..length).unwrap_or_default());
            if !text.is_empty() {
                permit.send(Output::Text(text));
            }
            true
        }
    }
}

/// Writes what the shell takes now.
async fn write(master: &AsyncFd<File>, unread: &mut VecDeque<u8>) {
    let Ok(mut ready) = master.writable().await else {
        unread.clear();
        return;
    };
    let bytes = unread.make_contiguous();
    match ready.try_io(|master| master.get_ref().write(bytes)) {
        Ok(Ok(written)) => drop(unread.drain(..written)),
        Ok(Err(_)) => unread.clear(),
        Err(_) => {}
    }
}

fn code(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt;
    let signal = status.signal().map(|signal| -i64::from(signal));
    status.code().map(i64::from).or(signal).unwrap_or(-1)
}
